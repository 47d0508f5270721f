"""A statement to be queued beside what the parent's `put` and `put_writes` save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg.rows import DictRow

from langgraph_sessions.errors import ConcurrentRunError, SessionNotFoundError
from langgraph_sessions.plans import Fetch
from langgraph_sessions.sql import functions, statements


@dataclass(slots=True)
class Joined:
    """A statement that shares a save's transaction and round trip.

    The savers' `_cursor` executes it after the parent's statements, on a cursor of its own:
    its error then surfaces when the pipeline is left, where psycopg raises it, and not while
    more is being sent, where psycopg would log a second one.
    """

    fetch: Fetch
    cursor: psycopg.Cursor[DictRow] | psycopg.AsyncCursor[DictRow] | None = None


# How a save's statement reaches `_cursor`, which the parent's methods call without it.
_current: ContextVar[Joined | None] = ContextVar("langgraph_sessions_joined", default=None)


def current() -> Joined | None:
    """Return the statement to join to the save under way in this thread or task."""
    return _current.get()


@contextmanager
def joined(fetch: Fetch) -> Iterator[Joined]:
    """Join *fetch* to the save in this block.

    Raises:
        SessionNotFoundError: The thread is not that user's; nothing was saved.
        ConcurrentRunError: Another run saved to it meanwhile; nothing was saved.
    """
    statement = Joined(fetch)
    params = cast(Mapping[str, Any], fetch.params)
    token = _current.set(statement)
    try:
        yield statement
    except psycopg.Error as error:
        if error.sqlstate == functions.NOT_FOUND:
            raise SessionNotFoundError(params["user_id"], params["thread_id"]) from None
        if error.sqlstate == functions.CONFLICT:
            raise ConcurrentRunError(params["thread_id"]) from None
        raise
    finally:
        _current.reset(token)


def guard_nobody(thread_id: str) -> Fetch:
    """Return the statement that refuses a save without a user to a thread that is somebody's."""
    nobody: dict[str, Any] = {
        "user_id": None,
        "thread_id": thread_id,
        "known": False,
        "checked": False,
        "save": None,
        "seen": None,
        "base": None,
    }
    return Fetch(statements.GUARD_THREAD, nobody)
