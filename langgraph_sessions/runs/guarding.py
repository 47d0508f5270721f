"""What is saved is sent with its guard, and what that refuses is told as our errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from langgraph_sessions.errors import ConcurrentRunError, SessionNotFoundError
from langgraph_sessions.plans import Batch, Plan, Statement
from langgraph_sessions.sql import saving
from langgraph_sessions.sql.functions import CONFLICT, NOT_FOUND
from langgraph_sessions.sql.saving import Beside, Guard, LockNewThread, LockThread, PutSession

Row = Mapping[str, Any]


def guarded(guard: Guard, saved: Sequence[Statement]) -> Plan[list[Row]]:
    """Send what is *saved* with its *guard*; return that one's rows.

    Raises:
        SessionNotFoundError: The thread is not that user's; nothing was saved.
        ConcurrentRunError: Another run saved to it meanwhile; nothing was saved.
    """
    try:
        rows: list[Row] = yield whole(guard, saved)
    except psycopg.Error as error:
        raise refusal(error, guard) from None
    return rows


def whole(guard: Guard, saved: Sequence[Statement]) -> Beside | Batch:
    """Return what is *saved* with its *guard* as one: a statement, or a batch of many rows."""
    if saving.fits(saved):
        return Beside(guard, saved)
    return Batch([*_locks(guard), *saved, Beside(guard, ())])


def _locks(guard: Guard) -> list[Statement]:
    """Return what locks, first of all, what *guard* looks at: nobody's thread has no row."""
    if guard.user_id is None:
        return []
    row = LockThread(guard.thread_id)
    makes = isinstance(guard, PutSession) and not guard.known
    return [LockNewThread(guard.thread_id), row] if makes else [row]


def refusal(error: psycopg.Error, guard: Guard) -> Exception:
    """Return our error for what *guard* refused; any other *error* as it is."""
    if error.sqlstate == NOT_FOUND:
        return SessionNotFoundError(guard.user_id, guard.thread_id)
    if error.sqlstate == CONFLICT:
        return ConcurrentRunError(guard.thread_id)
    if isinstance(error, psycopg.errors.ProgramLimitExceeded) and "index row" in str(error):
        return ValueError("thread_id, checkpoint_ns and task_id are too long together")
    return error
