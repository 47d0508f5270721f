"""Runs that wait for each other: one lock for a session, over all processes."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from langgraph_sessions import checks
from langgraph_sessions.database.deeds import Deed
from langgraph_sessions.database.running import Running
from langgraph_sessions.models import Session
from langgraph_sessions.plans import Execute, Plan
from langgraph_sessions.runs.opening import open_run
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.thread_ids import ThreadIdFactory
from langgraph_sessions.sql.sessions import LockSession, SetLockTimes


class Turn:
    """A wait for a session's lock.

    The lock belongs to a transaction, so that a crashed holder's is freed by the server, and
    poolers that lend a connection for a transaction at a time do not pass it on.
    """

    def __init__(
        self,
        user_id: object,
        thread_id: object,
        timeout: object,
        factory: ThreadIdFactory,
        agent: str | None,
    ) -> None:
        """Wait for at most *timeout* seconds, for ever if it is `None`."""
        configurable = {"user_id": user_id, "thread_id": thread_id}
        self._request = Request.of({"configurable": configurable}, agent=agent)
        self._timeout = (
            None if timeout is None else checks.seconds("timeout", timeout, checks.LONGEST_WAIT)
        )
        self._until = None if self._timeout is None else time.monotonic() + self._timeout
        self._factory = factory

    def take_deed(self, database: Running[Any, Any]) -> Deed[tuple[Any, Session]]:
        """Wait for the session; return the connection, whose end frees it, and the session.

        Raises:
            SessionNotFoundError: The thread is another user's.
            TimeoutError: It was not free in time.
            SessionsUnavailableError: The database is away.
        """
        return database.durably_deed(lambda: self._take(database))

    def _take(self, database: Running[Any, Any]) -> Deed[tuple[Any, Session]]:
        session = yield from self._find(database)
        conn = yield from database.connect_deed()
        try:
            locked = None
            # The current session may be another one since the wait for it began.
            while locked != session.thread_id:
                yield from database.drive_deed(conn, self.lock(session))
                locked = session.thread_id
                session = yield from self._find(database)
        except BaseException:
            yield conn.close
            raise
        return conn, session

    def _find(self, database: Running[Any, Any]) -> Deed[Session]:
        return database.run_deed(self.find(), database.answer_once_deed)

    def find(self) -> Plan[Session]:
        """Return the session to be locked: a draft if there is none yet.

        Raises:
            SessionNotFoundError: The thread is another user's.
        """
        run = (yield from open_run(self._request, self._factory, None)).run
        assert run is not None
        return run.session

    def lock(self, session: Session) -> Plan[None]:
        """Lock *session*, in a transaction begun for it.

        Raises:
            TimeoutError: It was not free in time.
        """
        left = 0 if self._until is None else max(1, int((self._until - time.monotonic()) * 1000))
        yield Execute("ROLLBACK")  # Release the lock on the session before, if any.
        yield Execute("BEGIN")
        yield SetLockTimes(f"{left}ms")
        try:
            yield LockSession(session.thread_id)
        except psycopg.errors.LockNotAvailable:
            raise TimeoutError(
                f"session {session.thread_id!r} was not free within {self._timeout} seconds"
            ) from None
