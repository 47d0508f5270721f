"""The session manager's operations, one plan for each.

Arguments are checked when a plan is made, before the database is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from psycopg.types.json import Jsonb

from langgraph_sessions import checks
from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import DEFAULT_TITLE, Session, SessionPage
from langgraph_sessions.plans import Call, Fetch, Plan
from langgraph_sessions.runs.opening import open_run
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.thread_ids import FACTORY_ID, ThreadIdFactory, in_use, new_thread_id
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.sql import statements

UPDATABLE: Final = ("title", "is_active", "metadata")


def create(
    user_id: object, title: object, thread_id: object, metadata: object, factory: ThreadIdFactory
) -> Plan[Session]:
    """Insert a session, which becomes current by being the newest."""
    name = checks.title(title)
    return _create(
        {
            "user_id": checks.user_id(user_id),
            "thread_id": _optional_thread_id(thread_id),
            "title": name,
            "title_source": _title_source(name),
            "metadata": Jsonb({} if metadata is None else checks.metadata(metadata)),
            "at": None,
        },
        factory,
    )


def _create(params: dict[str, Any], factory: ThreadIdFactory) -> Plan[Session]:
    # While the database is away, nobody knows what a given id has there.
    name, held = "thread_id", None
    if params["thread_id"] is None:
        held = "create"
        params["thread_id"] = yield Call(partial(new_thread_id, factory, params["user_id"]))
        name = FACTORY_ID
    for row in (yield Fetch(statements.CREATE_SESSION, params, repeatable=False, held=held)):
        return Session.from_row(row)
    raise in_use(name, params["thread_id"])


def _title_source(title: str) -> str:
    """Say who titled it: a session that was left at the default may yet be titled."""
    return "default" if title == DEFAULT_TITLE else "user"


def get_or_create(user_id: object, title: object, factory: ThreadIdFactory) -> Plan[Session]:
    """Return the current session; else make one, the same one as a run at this moment makes."""
    asked = Request.of({"configurable": {"user_id": user_id}})
    return _get_or_create(asked, checks.title(title), factory)


def _get_or_create(asked: Request, title: str, factory: ThreadIdFactory) -> Plan[Session]:
    run = (yield from open_run(asked, factory, None)).run
    assert run is not None
    if run.known:
        return replace(run.session, _preferences={})
    run.title = title if _title_source(title) == "user" else None
    # Not as a run's first save: of a session that a run made meanwhile, nothing changes.
    params = {**run.put_params(None), "first": False}
    (row,) = yield Fetch(statements.PUT_SESSION, params, held="put_session")
    return Session.from_row(row)


def get_current(user_id: object) -> Plan[Session]:
    """Return the current session."""
    return _session("current", statements.GET_CURRENT, user_id)


def get(user_id: object, thread_id: object) -> Plan[Session]:
    """Return a certain session."""
    return _session("get", statements.GET_SESSION, user_id, checks.text("thread_id", thread_id))


def switch(user_id: object, thread_id: object) -> Plan[Session]:
    """Make a session current, and active."""
    checked = checks.text("thread_id", thread_id)
    return _session("switch", statements.SWITCH_SESSION, user_id, checked, {"at": None})


def update(user_id: object, updates: object, thread_id: object) -> Plan[Session]:
    """Change a session."""
    if not isinstance(updates, Mapping):
        raise TypeError(f"updates must be a dict, not {type(updates).__name__}")
    for key in updates:
        if key not in UPDATABLE:
            raise ValueError(f"updates has {key!r}; allowed are {', '.join(UPDATABLE)}")
    checked = {
        "title": checks.title(updates["title"]) if "title" in updates else None,
        "is_active": checks.boolean("is_active", updates["is_active"])
        if "is_active" in updates
        else None,
        "metadata": Jsonb(checks.metadata(updates["metadata"])) if "metadata" in updates else None,
    }
    return _session(
        "update", statements.UPDATE_SESSION, user_id, _optional_thread_id(thread_id), checked
    )


def _session(
    held: str,
    sql: str,
    user_id: object,
    thread_id: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> Plan[Session]:
    """Return the session that *sql* gives; without one, raise `SessionNotFoundError`."""
    user = checks.user_id(user_id)
    params = {"user_id": user, "thread_id": thread_id, **(params or {})}
    return _one(Fetch(sql, params, held=held))


def _one(fetch: Fetch) -> Plan[Session]:
    for row in (yield fetch):
        return Session.from_row(row)
    assert isinstance(fetch.params, Mapping)
    raise SessionNotFoundError(fetch.params["user_id"], fetch.params["thread_id"])


def _optional_thread_id(thread_id: object) -> str | None:
    return None if thread_id is None else checks.text("thread_id", thread_id)


def deactivate(user_id: object, thread_id: object) -> Plan[int]:
    """Deactivate one session, or all of the user's; return how many."""
    user = checks.user_id(user_id)
    params = {"user_id": user, "thread_id": _optional_thread_id(thread_id)}
    return _number(
        Fetch(statements.DEACTIVATE_SESSIONS, params, repeatable=False, held="deactivate")
    )


def has(user_id: object) -> Plan[int]:
    """Say, by 1 or 0, whether the user has an active session."""
    params = {"user_id": checks.user_id(user_id)}
    return _number(Fetch(statements.HAS_SESSION, params, held="has"))


def _number(fetch: Fetch) -> Plan[int]:
    (row,) = yield fetch
    return int(row["count"])


def delete(user_id: object, thread_id: object) -> Plan[None]:
    """Delete a session and its thread."""
    return _delete(checks.user_id(user_id), checks.text("thread_id", thread_id))


def _delete(user_id: str, thread_id: str) -> Plan[None]:
    if not (yield from delete_threads([thread_id], user_id)):
        raise SessionNotFoundError(user_id, thread_id)


def delete_threads(thread_ids: list[str], user_id: str | None = None) -> Plan[int]:
    """Delete threads with their sessions, of *user_id* only if given; count the sessions."""
    params = {"thread_ids": thread_ids, "user_id": user_id}
    return _number(Fetch(statements.DELETE_THREADS, params, repeatable=False))


def list_page(listing: Listing, limit: object) -> Plan[SessionPage]:
    """Return a page of *listing*: *limit* sessions and, if there are more, where they begin."""
    return _list_page(listing, checks.limit(limit))


def _list_page(listing: Listing, limit: int) -> Plan[SessionPage]:
    sql = statements.list_sessions(listing.conditions, limited=True)
    rows = yield Fetch(sql, {**listing.params, "limit": limit + 1})
    sessions = tuple(Session.from_row(row) for row in rows[:limit])
    more = len(rows) > limit
    return SessionPage(sessions, listing.cursor_after(sessions[-1]) if more else None)


def list_all(listing: Listing) -> Plan[list[Session]]:
    """Return every session of *listing*."""
    rows = yield Fetch(statements.list_sessions(listing.conditions, limited=False), listing.params)
    return [Session.from_row(row) for row in rows]


def count(listing: Listing) -> Plan[int]:
    """Count the sessions of *listing*."""
    return _number(Fetch(statements.count_sessions(listing.conditions), listing.params))
