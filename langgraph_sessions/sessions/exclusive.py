"""Runs that wait for each other: one lock for a session, over all processes."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import psycopg
from langchain_core.runnables import RunnableConfig

from langgraph_sessions import checks
from langgraph_sessions.database import pools
from langgraph_sessions.database.deeds import Deed
from langgraph_sessions.database.running import Running
from langgraph_sessions.models import DEFAULT_TITLE, Session
from langgraph_sessions.plans import Execute, Plan
from langgraph_sessions.runs.opening import open_run
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.thread_ids import ThreadIdFactory
from langgraph_sessions.sessions.lines import LINES, Line, Place
from langgraph_sessions.sql.sessions import LockSession, SetLockTimes

MOST_HELD: Final = 5  # Sessions of one user in one process at a time; a connection each.


class Turn:
    """A wait for a session's lock, and what is had then.

    The lock belongs to a transaction, so that a crashed holder's is freed by the server, and
    poolers that lend a connection for a transaction at a time do not pass it on.

    Those of one process wait for each other in a line, without a connection: only the first of
    each session's has one. No user has more than `MOST_HELD`, or these would be all that there are.
    """

    def __init__(
        self,
        user_id: object,
        thread_id: object,
        timeout: object,
        factory: ThreadIdFactory,
        agent: str | None,
        default_title: str = DEFAULT_TITLE,
    ) -> None:
        """Wait for at most *timeout* seconds, for ever if it is `None`."""
        config: RunnableConfig = {"configurable": {"user_id": user_id, "thread_id": thread_id}}
        self._request = Request.of(config, agent=agent, default_title=default_title)
        self._timeout = (
            None if timeout is None else checks.seconds("timeout", timeout, checks.LONGEST_WAIT)
        )
        self._until = None if self._timeout is None else time.monotonic() + self._timeout
        self._factory = factory
        self._pid = os.getpid()
        self._conn: Any = None
        self._places: list[tuple[Line, Place]] = []

    def take_deed(self, database: Running[Any, Any]) -> Deed[Session]:
        """Wait for the session, and return it. However this ends, `leave_deed` is to follow.

        Raises:
            SessionNotFoundError: The thread is another user's.
            TimeoutError: It was not free in time.
            SessionsUnavailableError: The database is away.
        """
        return database.durably_deed(lambda: self._take(database))

    def _take(self, database: Running[Any, Any]) -> Deed[Session]:
        yield from self.leave_deed()  # What a try before had.
        session = yield from self._find(database)
        while True:
            yield from self._stand_in_line(database, session)
            self._conn = yield from database.connect_deed()
            yield from database.drive_deed(self._conn, self.lock(session, database.place.schema))
            # The current session may be another one since the wait for it began.
            found = yield from self._find(database)
            if found.thread_id == session.thread_id:
                return found
            yield from self.leave_deed()
            session = found

    def leave_deed(self) -> Deed[None]:
        """Free the session for the next one; not in a forked child: the parent has it."""
        if self._pid != os.getpid():
            return
        conn, self._conn = self._conn, None
        try:
            if conn is not None:
                yield conn.close
        finally:
            while self._places:
                line, place = self._places.pop()
                line.leave(place)

    def _stand_in_line(self, database: Running[Any, Any], session: Session) -> Deed[None]:
        """Wait until nobody else in this process has *session*, and few others of the user's.

        Raises:
            TimeoutError: It was not so in time.
        """
        user = pools.address(database.conn), database.place.schema, session.user_id
        yield from self._wait_in(LINES.line((*user, session.thread_id), 1), database, session)
        yield from self._wait_in(LINES.line(user, MOST_HELD), database, session)

    def _wait_in(self, line: Line, database: Running[Any, Any], session: Session) -> Deed[None]:
        place = Place()
        self._places.append((line, place))
        line.enter(place)
        if not place.done():
            yield lambda: database.wait_until_done(place, self._left)
        if not place.done():
            raise self._not_free(session)

    @property
    def _left(self) -> float | None:
        """The seconds that are left to wait; `None` for no end of them."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    def _not_free(self, session: Session) -> TimeoutError:
        return TimeoutError(
            f"session {session.thread_id!r} was not free within {self._timeout} seconds"
        )

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

    def lock(self, session: Session, schema: str | None) -> Plan[None]:
        """Lock *session*, whose tables are in *schema*, in a transaction begun for it.

        Raises:
            TimeoutError: It was not free in time.
        """
        left = 0 if self._left is None else max(1, int(self._left * 1000))
        yield Execute("BEGIN")
        yield SetLockTimes(f"{left}ms")
        try:
            yield LockSession(schema, session.user_id, session.thread_id)
        except psycopg.errors.LockNotAvailable:
            raise self._not_free(session) from None
