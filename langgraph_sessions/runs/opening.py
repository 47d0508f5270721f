"""Where a run goes: the plan that settles it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, cast

from psycopg.rows import DictRow

from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import DEFAULT_TITLE, Session
from langgraph_sessions.plans import Call, Fetch, Plan
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.thread_ids import FACTORY_ID, ThreadIdFactory, in_use, new_thread_id
from langgraph_sessions.sql import statements


class Opened(NamedTuple):
    """Where a run goes: the run, `None` without a user, and its checkpoint's row, if any."""

    run: ActiveRun | None
    head: DictRow | None


def find_thread(request: Request) -> Plan[ActiveRun | None]:
    """Find the thread that *request* reads, without making one.

    Raises:
        SessionNotFoundError: The thread is another user's, or a user's and none was given, or
            the user has no current session.
    """
    if request.user_id is None or request.thread_id is not None:
        row = yield from _open_thread(request, None, request.thread_id)
        if not _may_use(request, row):
            raise SessionNotFoundError(request.user_id, request.thread_id)
        return _opened(request, row).run
    sql = statements.open_current(None, addressed=False)
    for row in (yield Fetch(sql, _head_params(request), held="read_current")):
        return _opened(request, row).run
    raise SessionNotFoundError(request.user_id)


def open_run(request: Request, factory: ThreadIdFactory, select: str | None) -> Plan[Opened]:
    """Find the thread that *request* is for, and load its checkpoint with *select*, if given.

    Raises:
        SessionNotFoundError: The thread is another user's, or a user's and none was given.
        ValueError: `thread_id_factory` returned an id that is in use.
    """
    if request.user_id is None or request.thread_id is not None:
        row = yield from _open_thread(request, select, request.thread_id)
        if not _may_use(request, row):
            raise SessionNotFoundError(request.user_id, request.thread_id)
        return _opened(request, row)
    if request.new_session:
        thread_id = yield Call(partial(new_thread_id, factory, request.user_id))
        row = yield from _open_thread(request, select, thread_id, held="open_new")
        if not _is_new(row):
            raise in_use(FACTORY_ID, thread_id)
        return _opened(request, row)
    return (yield from _open_current(request, factory, select))


def _open_thread(
    request: Request, select: str | None, thread_id: str | None, held: str = "open_thread"
) -> Plan[DictRow]:
    addressed = request.checkpoint_id is not None
    params = {**_head_params(request), "thread_id": thread_id}
    (row,) = yield Fetch(statements.open_thread(select, addressed=addressed), params, held=held)
    return cast(DictRow, row)


def _is_new(row: DictRow) -> bool:
    return row["session_id"] is None and row["newest_thread_id"] is None


def _may_use(request: Request, row: DictRow) -> bool:
    """Say whether the thread is the user's.

    One without a session is when it is new, or when its newest checkpoint names them; the
    first save then adopts it.
    """
    owner = row["session_user_id"] or row["newest_user_id"]
    return owner == request.user_id or _is_new(row)


def _open_current(request: Request, factory: ThreadIdFactory, select: str | None) -> Plan[Opened]:
    addressed = request.checkpoint_id is not None
    params = _head_params(request)
    sql = statements.open_current(select, addressed=addressed)
    for row in (yield Fetch(sql, params, held="open_current")):
        return _opened(request, row)
    assert request.user_id is not None
    taken = None
    for _ in range(2):
        thread_id = yield Call(partial(new_thread_id, factory, request.user_id))
        reserve = {**params, "new_thread_id": thread_id, "taken": taken}
        sql = statements.open_reserved(select, addressed=addressed)
        (row,) = yield Fetch(sql, reserve, held="open_reserved")
        # New, or just made by another run of the user's; else the id was taken meanwhile.
        if _is_new(row) or (_may_use(request, row) and row["session_is_active"]):
            return _opened(request, row)
        taken = row["asked_thread_id"]
    raise in_use(FACTORY_ID, thread_id)


def _head_params(request: Request) -> dict[str, Any]:
    return {
        "user_id": request.user_id,
        "checkpoint_ns": request.checkpoint_ns,
        "checkpoint_id": request.checkpoint_id,
    }


def _opened(request: Request, row: DictRow) -> Opened:
    head = row if row.get("checkpoint") is not None else None
    if request.user_id is None:
        return Opened(None, head)
    known = row["session_id"] is not None
    session = Session.from_row(row, "session_") if known else _draft(request, row)
    run = ActiveRun.start(request, session, known=known)
    run.untitled = not known or row["session_title_source"] == "default"
    run.unasked = not row["session_titler_called"]
    run.seen = row["session_last_save"]
    return Opened(run, head)


def _draft(request: Request, row: DictRow) -> Session:
    """Return the session that the run's first save is going to make."""
    assert request.user_id is not None
    now = datetime.now(UTC)
    title, active = request.title or DEFAULT_TITLE, request.is_active is not False
    preferences = row["preferences"] or {}
    thread_id = row["asked_thread_id"]
    return Session(0, request.user_id, thread_id, title, now, now, active, {}, None, preferences)
