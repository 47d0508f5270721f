"""The session manager's operations on a user's sessions, one plan for each.

Arguments are checked when a plan is made, before the database is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import psycopg
from langchain_core.runnables import RunnableConfig

from langgraph_sessions import checks, json_checks
from langgraph_sessions.errors import SessionNotFoundError, quoted
from langgraph_sessions.models import DEFAULT_TITLE, Session
from langgraph_sessions.plans import Plan, Statement, T
from langgraph_sessions.runs.guarding import refusal
from langgraph_sessions.runs.opening import find_next, open_run
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, in_use, new_thread_ids
from langgraph_sessions.sql import functions
from langgraph_sessions.sql.sessions import (
    ClaimTitle,
    CreateGivenSession,
    CreateSession,
    DeactivateSessions,
    GetCurrent,
    GetSession,
    HasSession,
    SetModelTitle,
    SwitchSession,
    UpdateSession,
)
from langgraph_sessions.titles.answers import title_in
from langgraph_sessions.titles.text import shorten

UPDATABLE: Final = ("title", "is_active", "metadata")


def create(
    user_id: object,
    title: object,
    thread_id: object,
    metadata: object,
    factory: ThreadIdFactory,
    agent: str | None,
    default_title: str = DEFAULT_TITLE,
) -> Plan[Session]:
    """Insert a session, which becomes current; without a title it gets *default_title*."""
    user, given = checks.user_id(user_id), _optional_thread_id(thread_id)
    named = _titled(title, default_title)
    data, _ = ({}, []) if metadata is None else json_checks.changes(metadata)
    return _create(user, named or default_title, named is not None, given, data, factory, agent)


def _create(
    user_id: str,
    title: str,
    is_titled: bool,
    given: str | None,
    metadata: dict[str, Any],
    factory: ThreadIdFactory,
    agent: str | None,
) -> Plan[Session]:
    kind = CreateSession if given is None else CreateGivenSession
    thread_ids = (yield from new_thread_ids(factory, user_id)) if given is None else (given,)
    for thread_id in thread_ids:
        for row in (
            yield kind(
                user_id=user_id,
                thread_id=thread_id,
                title=title,
                title_source="user" if is_titled else "default",
                metadata=metadata,
                agent=agent,
            )
        ):
            return Session.from_row(row)
    raise in_use("thread_id", thread_ids[0])


def _titled(title: object, default_title: str) -> str | None:
    """Return the title that is given; `None` if that is the default: it may yet be titled."""
    named = None if title is None else checks.title(title)
    return None if named == default_title else named


def get_or_create(
    user_id: object,
    title: object,
    factory: ThreadIdFactory,
    agent: str | None,
    default_title: str = DEFAULT_TITLE,
) -> Plan[Session]:
    """Return the current session; else make one, the same one as a run at this moment makes."""
    config: RunnableConfig = {"configurable": {"user_id": user_id}}
    asked = Request.of(config, agent=agent, default_title=default_title)
    return _get_or_create(asked, _titled(title, default_title), factory)


def _get_or_create(asked: Request, title: str | None, factory: ThreadIdFactory) -> Plan[Session]:
    run = (yield from open_run(asked, factory, None)).run
    assert run is not None
    if run.known:
        return replace(run.session)  # Which is no run's: without the preferences.
    run.title = title
    # Not as a run's first save: of a session that a run made meanwhile, nothing changes.
    put = run.put(None, first=False)
    try:
        (row,) = yield put
    except psycopg.Error as error:
        raise refusal(error, put) from None
    return Session.from_row(row)


def get_current(user_id: object, agent: str | None) -> Plan[Session]:
    """Return the current session."""
    user = checks.user_id(user_id)
    return _one(GetCurrent(user, agent), user)


def get(
    user_id: object, thread_id: object, agent: str | None, kind: type[GetSession] = GetSession
) -> Plan[Session]:
    """Return a certain session."""
    user, thread = checks.user_id(user_id), checks.thread_id(thread_id)
    return _one(kind(user, thread, agent), user, thread)


def switch(user_id: object, thread_id: object, agent: str | None) -> Plan[Session]:
    """Make a session current, and active."""
    user, thread = checks.user_id(user_id), checks.thread_id(thread_id)
    return _one(SwitchSession(user, thread, agent), user, thread)


def run_config(
    user_id: object,
    thread_id: object,
    new_session: object,
    title: object,
    make_current: object,
    factory: ThreadIdFactory,
    agent: str | None,
) -> Plan[RunnableConfig]:
    """Return the config of a run that would go where these say, with its thread."""
    asked: dict[str, Any] = {
        "user_id": user_id,
        "thread_id": thread_id,
        "new_session": new_session,
        "title": title,
        "make_current": make_current,
    }
    return _run_config(Request.of({"configurable": asked}, agent=agent), factory)


def _run_config(request: Request, factory: ThreadIdFactory) -> Plan[RunnableConfig]:
    thread_id = yield from find_next(request, factory)
    configurable: dict[str, Any] = {"user_id": request.user_id, "thread_id": thread_id}
    if request.title is not None:
        configurable["title"] = request.title
    if request.make_current is False:
        configurable["make_current"] = False
    return {"configurable": configurable}


def update(user_id: object, updates: object, thread_id: object, agent: str | None) -> Plan[Session]:
    """Change a session."""
    if not isinstance(updates, Mapping):
        raise TypeError(f"updates must be a dict, not {type(updates).__name__}")
    for key in updates:
        if key not in UPDATABLE:
            raise ValueError(f"updates has {quoted(key)}; allowed are {', '.join(UPDATABLE)}")
    checked: dict[str, Any] = {}
    if "title" in updates:
        checked["title"] = checks.title(updates["title"])
    if "is_active" in updates:
        checked["is_active"] = checks.boolean("is_active", updates["is_active"])
    if "metadata" in updates:
        checked["metadata"], checked["removed"] = json_checks.changes(updates["metadata"])
    user, thread = checks.user_id(user_id), _optional_thread_id(thread_id)
    statement = UpdateSession(user_id=user, thread_id=thread, agent=agent, **checked)
    return bounded(_one(statement, user, thread), "metadata")


def bounded(plan: Plan[T], name: str) -> Plan[T]:
    """Run *plan*; raise `ValueError` where it merges too much into what *name* stands for."""
    try:
        return (yield from plan)
    except psycopg.Error as error:
        if error.sqlstate == functions.TOO_LARGE:
            raise json_checks.too_large(name) from None
        raise


def _one(statement: Statement, user_id: str, thread_id: str | None = None) -> Plan[Session]:
    """Return the session that *statement* gives; without one, raise `SessionNotFoundError`."""
    for row in (yield statement):
        return Session.from_row(row)
    raise SessionNotFoundError(user_id, thread_id)


def _optional_thread_id(thread_id: object) -> str | None:
    return None if thread_id is None else checks.thread_id(thread_id)


def deactivate(user_id: object, thread_id: object, agent: str | None) -> Plan[int]:
    """Deactivate one session, or all of the user's; return how many."""
    user, thread = checks.user_id(user_id), _optional_thread_id(thread_id)
    return _number(DeactivateSessions(user, thread, agent))


def has(user_id: object, agent: str | None) -> Plan[int]:
    """Say, by 1 or 0, whether the user has an active session."""
    return _number(HasSession(checks.user_id(user_id), agent))


def _number(statement: Statement) -> Plan[int]:
    (row,) = yield statement
    return int(row["count"])


def claim_title(thread_id: str, agent: str | None) -> Plan[bool]:
    """Say whether the caller is the one to call a titler for a session."""
    return bool((yield ClaimTitle(thread_id, agent)))


def set_title(thread_id: str, title: str) -> Plan[Session | None]:
    """Set a model's title, unless somebody gave one meanwhile.

    Raises:
        ValueError: There is no title in *title*.
    """
    short = shorten(title_in(title))
    if not short:
        raise ValueError("titler returned no title")
    for row in (yield SetModelTitle(thread_id, short)):
        return Session.from_row(row)
    return None
