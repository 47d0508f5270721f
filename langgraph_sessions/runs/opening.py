"""Plans that open the thread of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypedDict

from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import Session
from langgraph_sessions.plans import Plan
from langgraph_sessions.runs.active import IDLE, ActiveRun
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, new_thread_ids
from langgraph_sessions.sql.opening import (
    ContinueThread,
    FindCurrent,
    FindNext,
    OpenCurrent,
    OpenNew,
    OpenNobodys,
    OpenReserved,
    OpenThread,
    OpenTrusted,
)

Row = Mapping[str, Any]


class Opened(NamedTuple):
    """An opened thread: its run, `None` without a user, and its row.

    With *select*, PostgreSQL's row has the columns of a checkpoint, NULL where there is none; a
    row from memory never has them.
    """

    run: ActiveRun | None
    row: Row


class _Asked(TypedDict):
    user_id: str | None
    agent: str | None
    checkpoint_ns: str
    checkpoint_id: str | None


def find_thread(request: Request) -> Plan[ActiveRun | None]:
    """Find the thread that *request* reads, without making one.

    Raises:
        SessionNotFoundError: The thread is another user's, or a user's and none was given, or
            the user has no current session.
    """
    if request.user_id is None or request.thread_id is not None:
        return (yield from open_thread(request, None)).run
    for row in (yield FindCurrent(**_asked(request))):
        return _opened(request, row).run
    raise SessionNotFoundError(request.user_id)


def find_next(request: Request, factory: ThreadIdFactory) -> Plan[str]:
    """Return the thread to which a run of *request* would go, without setting it aside.

    Raises:
        SessionNotFoundError: The thread is another user's.
    """
    if request.thread_id is not None:
        yield from open_thread(request, None)
        return request.thread_id
    assert request.user_id is not None
    new, other = yield from new_thread_ids(factory, request.user_id)
    kind = OpenThread if request.new_session else FindNext
    (row,) = yield kind(**_asked(request), thread_id=new)
    if _is_new(row) or (not request.new_session and _goes_on(request, row)):
        return str(row["asked_thread_id"])
    return other


def open_run(request: Request, factory: ThreadIdFactory, select: str | None) -> Plan[Opened]:
    """Find the thread that *request* is for, and load its checkpoint with *select*, if given.

    Raises:
        SessionNotFoundError: The thread is another user's, or a user's and none was given.
    """
    if request.user_id is None or request.thread_id is not None:
        return (yield from open_thread(request, select))
    if request.new_session:
        return (yield from _open_new(request, request.user_id, factory, select))
    return (yield from _open_current(request, request.user_id, factory, select))


def open_thread(request: Request, select: str | None) -> Plan[Opened]:
    """Open the thread that *request* names. Raises as `open_run`."""
    kind: type[OpenThread | OpenNobodys] = OpenThread
    if request.user_id is None:
        kind = OpenTrusted if request.trusted else OpenNobodys
    (row,) = yield kind(**_asked(request), thread_id=request.thread_id, select=select)
    if request.trusted:
        request = replace(request, user_id=_owner(row))
    if not _may_use(request, row):
        raise _not_found(request)
    return _opened(request, row)


def continue_thread(request: Request, run: ActiveRun, select: str | None) -> Plan[Opened]:
    """Open the thread of *run*, which is under way and goes on. Raises as `open_run`."""
    (row,) = yield ContinueThread(**_asked(request), thread_id=request.thread_id, select=select)
    if not _may_use(request, row):
        raise _not_found(request)
    return Opened(run, row)


def _not_found(request: Request) -> SessionNotFoundError:
    """Return the refusal, in the words in which a checkpoint is missed where there is no thread."""
    return SessionNotFoundError(request.user_id, request.thread_id, request.checkpoint_id)


def _open_new(
    request: Request, user_id: str, factory: ThreadIdFactory, select: str | None
) -> Plan[Opened]:
    for thread_id in (yield from new_thread_ids(factory, user_id)):
        (row,) = yield OpenNew(**_asked(request), thread_id=thread_id, select=select)
        if _is_new(row):
            return _opened(request, row)
    raise AssertionError("a random thread id is in use")


def _open_current(
    request: Request, user_id: str, factory: ThreadIdFactory, select: str | None
) -> Plan[Opened]:
    asked = _asked(request)
    for row in (yield OpenCurrent(**asked, select=select)):
        return _opened(request, row)
    taken = None
    new, other = yield from new_thread_ids(factory, user_id)
    for thread_id in (new, new, other):  # The first may find another one reserved, and taken.
        (row,) = yield OpenReserved(**asked, thread_id=thread_id, taken=taken, select=select)
        # New, or just made by another run of the user's; else the id was taken meanwhile.
        if _is_new(row) or _goes_on(request, row):
            return _opened(request, row)
        taken = row["asked_thread_id"]
    raise AssertionError("a random thread id is in use")


def _asked(request: Request) -> _Asked:
    return {
        "user_id": request.user_id,
        "agent": request.agent,
        "checkpoint_ns": request.checkpoint_ns,
        "checkpoint_id": request.checkpoint_id,
    }


def _is_new(row: Row) -> bool:
    return row["session_id"] is None and row["newest_thread_id"] is None


def _may_use(request: Request, row: Row) -> bool:
    """Say whether the thread is the user's, and the agent's if one asks.

    One without a session is when it is new, or when its newest checkpoint names them; the
    first save then adopts it.
    """
    if row["session_id"] is not None and request.agent not in (None, row["session_agent"]):
        return False
    return _owner(row) == request.user_id or _is_new(row)


def _goes_on(request: Request, row: Row) -> bool:
    """Say whether it is an active session of the user's."""
    return _may_use(request, row) and bool(row["session_is_active"])


def _owner(row: Row) -> str | None:
    owner: str | None = row["session_user_id"] or row["newest_user_id"]
    return owner


def _opened(request: Request, row: Row) -> Opened:
    if request.user_id is None:
        return Opened(None, row)
    known = row["session_id"] is not None
    session = Session.from_row(row, "session_") if known else _draft(request, row)
    run = ActiveRun.start(request, session, known=known)
    if known:
        run.words.note(row["session_title_source"], row["session_titler_tries"])
    run.claim.seen = row["last_save"]
    run.status = row["session_status"] or IDLE
    return Opened(run, row)


def _draft(request: Request, row: Row) -> Session:
    """Return the session that the run's first save is going to make."""
    assert request.user_id is not None
    return Session.draft(
        request.user_id,
        row["asked_thread_id"],
        title=request.title or request.default_title,
        is_active=request.is_active is not False,
        agent=request.agent,
        preferences=row["preferences"],
    )
