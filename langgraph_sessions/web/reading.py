"""The pages that only read."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final, cast

from starlette.requests import Request

from langgraph_sessions.checks import EVERYBODY
from langgraph_sessions.errors import SessionError, SessionNotFoundError
from langgraph_sessions.models import Session, SessionPage
from langgraph_sessions.sessions.aio_manager import AsyncAgentSessionManager
from langgraph_sessions.types import SessionStatus
from langgraph_sessions.web import lanes
from langgraph_sessions.web.asking import choice, given, needed, number
from langgraph_sessions.web.family import family
from langgraph_sessions.web.speaking import shown
from langgraph_sessions.web.stretches import SESSIONS, Stretch, stretch
from langgraph_sessions.web.views import View, address

PAGE: Final = 25
TRAIL: Final = 20  # How many pages back "Newer" remembers, in the address.
FILTERS: Final = ("title", "user", "agent", "status", "active")
MESSAGES: Final = 100
CHECKPOINTS: Final = 50
# What is said, above the page that follows, of what was done: nothing of an address is shown.
DONE: Final = {
    "renamed": "The session was renamed.",
    "deactivated": "The session was deactivated.",
    "reactivated": "The session is active again.",
    "forked": "This is the copy.",
    "deleted": "The session was deleted, with all its messages.",
}


async def sessions(manager: AsyncAgentSessionManager, request: Request) -> View:
    """Everybody's sessions, or those that some filters select."""
    query = request.query_params
    asked = given(query, "user")
    user = EVERYBODY if asked is None else asked
    searched = await stretch(manager, user, query)
    page = await manager.list_sessions(
        user,
        title=given(query, "title"),
        agent=given(query, "agent"),
        status=cast("SessionStatus | None", given(query, "status")),  # It is checked there.
        active=choice(query, "active"),
        updated_after=searched.after,
        updated_before=searched.before,
        limit=PAGE,
        cursor=given(query, "cursor"),
    )
    filters = {name: query.get(name, "") for name in FILTERS}
    context = {
        "page": page,
        "filters": filters,
        "is_filtered": any(filters.values()),
        "done": DONE.get(query.get("done", "")),
    }
    return View("sessions", {**context, **_pages(request, page, searched, filters)})


def _pages(
    request: Request, page: SessionPage, searched: Stretch, filters: dict[str, str]
) -> dict[str, str | int | None]:
    """Return the addresses of the pages around *page*."""
    cursor = given(request.query_params, "cursor")
    trail = request.query_params.getlist("trail")
    within = {**filters, "after": searched.after, "before": searched.before}
    newer = older = farther = None
    if cursor:  # The page before is that of the last cursor on the trail, or the first.
        newer = address("/", **within, cursor=trail[-1] if trail else None, trail=trail[:-1])
    if page.next_cursor:
        behind = [*trail, *([cursor] if cursor else [])][-TRAIL:]
        older = address("/", **within, cursor=page.next_cursor, trail=behind)
    elif searched.next_before:
        farther = address("/", **filters, before=searched.next_before)
    newest = address("/", **filters) if trail or searched.before else None
    return {
        **{"newer": newer, "older": older, "newest": newest, "farther": farther},
        "searched": SESSIONS,
    }


async def conversation(manager: AsyncAgentSessionManager, request: Request) -> View:
    """A session's messages, all or up to a checkpoint; the last of them, if there are many."""
    session, about = await _session(manager, request)
    checkpoint = given(request.query_params, "checkpoint")
    until = number(request.query_params, "until")
    try:
        said = await manager.get_messages(
            session.user_id, session.thread_id, checkpoint_id=checkpoint
        )
    except SessionNotFoundError:
        raise
    except SessionError as error:
        return View("conversation", {**about, "unreadable": str(error)}, 500)
    end = len(said) if until is None else min(until, len(said))
    start = max(0, end - MESSAGES)
    context = {
        "checkpoint": checkpoint,
        "messages": [shown(message) for message in said[start:end]],
        "start": start,
        "end": end,
        "count": len(said),
        "later": min(end + MESSAGES, len(said)),
        "unreadable": None,
    }
    return View("conversation", {**about, **context})


async def checkpoints(manager: AsyncAgentSessionManager, request: Request) -> View:
    """A session's checkpoints as a tree, and the sessions that it was forked from and into."""
    session, about = await _session(manager, request)
    before = given(request.query_params, "before")
    found = await manager.list_checkpoints(
        session.user_id, session.thread_id, limit=CHECKPOINTS + 1, before=before
    )
    more = len(found) > CHECKPOINTS
    context = {
        "rows": lanes.rows(found[:CHECKPOINTS], more=more),
        "before": before,
        "older": found[CHECKPOINTS - 1].checkpoint_id if more else None,
        "family": await family(manager, session),
    }
    return View("checkpoints", {**about, **context})


async def deletion(manager: AsyncAgentSessionManager, request: Request) -> View:
    """Ask whether a session is to be deleted."""
    _, about = await _session(manager, request)
    return View("delete", about)


async def _session(
    manager: AsyncAgentSessionManager, request: Request
) -> tuple[Session, dict[str, Any]]:
    """Return the session that a request names, and what its pages show of it.

    Raises:
        SessionNotFoundError: There is none, or it is another user's.
        ValueError: No user or thread is named.
    """
    query = request.query_params
    session = await manager.get_session(needed(query, "user"), needed(query, "thread"))
    session = await _with_status(manager, session)
    return session, {
        "session": session,
        "where": {"user": session.user_id, "thread": session.thread_id},
        "metadata": json.dumps(session.metadata, indent=2, ensure_ascii=False),
        "done": DONE.get(query.get("done", "")),
    }


async def _with_status(manager: AsyncAgentSessionManager, session: Session) -> Session:
    """Return *session* as a list has it, where its status is told, if it is still in its place."""
    try:
        after = session.updated_at + timedelta(microseconds=1)
    except OverflowError:
        return session
    listed = await manager.list_sessions(session.user_id, updated_before=after, limit=3)
    return next((each for each in listed if each.thread_id == session.thread_id), session)
