"""What the savers and managers stand on: connections, the tables, and running plans.

A `Database` is shared by a saver, its copies and its manager, so that there is one lock,
one pool, one set-up and one outage between them.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import psycopg

from langgraph_sessions.database import failures
from langgraph_sessions.database.connections import Connections, result
from langgraph_sessions.database.pools import endpoint
from langgraph_sessions.errors import ConcurrentRunError, SessionError
from langgraph_sessions.outage.journal import Entry
from langgraph_sessions.outage.memory import Memory
from langgraph_sessions.outage.sessions import refuse
from langgraph_sessions.outage.state import AWAY, HERE, RETURNING
from langgraph_sessions.plans import Call, Done, Fetch, Plan, Run, T, drive, execute, fail, proceed
from langgraph_sessions.sql import statements


class Database(Connections):
    """A PostgreSQL database for synchronous use: plans run on it, and outages are bridged."""

    _recovery: threading.Thread | None = None

    # --- Running -----------------------------------------------------------------------------

    def run(self, plan: Plan[T]) -> T:
        """Run *plan*, step by step: while the database is away, with what is in memory.

        Raises what the plan raises, and as `either`.
        """
        step = proceed(plan)
        while not isinstance(step, Done):
            if isinstance(step, Call):
                step = proceed(plan, step.function())
                continue
            try:
                rows = self._fetch(step)
            except psycopg.Error as error:
                step = fail(plan, error)
            else:
                step = proceed(plan, rows)
        return cast(T, step.value)

    def _fetch(self, step: Fetch | Run) -> Any:
        def durably() -> Any:
            self.ready()
            with self.connection() as conn:
                try:
                    return execute(conn, step)
                except psycopg.Error as error:
                    if isinstance(step, Fetch) and not step.repeatable:
                        raise Unrepeatable from error
                    raise

        return self.either(durably, lambda memory: memory.sessions.answer(step))

    def run_durably(self, plan: Plan[T]) -> T:
        """Run *plan* in the database, once. Raises what it raises, and as `ready`."""
        self.ready()
        step = proceed(plan)
        while not isinstance(step, Done):
            if isinstance(step, Call):
                step = proceed(plan, step.function())
            else:
                with self.connection() as conn:
                    step = drive(conn, plan, step)
        return cast(T, step.value)

    def run_atomically(self, plan: Plan[T]) -> T:
        """Run a plan of statements alone in one transaction, once. Raises as `either`."""

        def durably() -> T:
            self.ready()
            with self.connection() as conn:
                try:
                    if self.pipe:
                        self.pipe.sync()
                    with conn.transaction():
                        return result(conn, plan)
                except psycopg.Error as error:
                    raise Unrepeatable from error

        return self.either(durably, refuse)

    def attempt(self, function: Callable[[], T]) -> T:
        """Call *function*; if a connection breaks in it, again, for `retry_for` seconds.

        Raises what it raises, and at once what a server answers that lets nobody in.
        """
        self.refuse_fork()
        if self._outage.state == AWAY:
            raise psycopg.OperationalError(f"the database is away: {self._outage.error}")
        failure: psycopg.Error | None = None
        until = 0.0
        for pause in failures.pauses():
            # Where no server answered last time, the pool would only be waited for.
            if (failure is None and self._reached) or self._reaches(failure):
                try:
                    return function()
                except psycopg.Error as error:
                    if not self._is_pool or not failures.is_broken(error):
                        raise
                    failure = error
            failure = failure or psycopg.OperationalError("the database does not answer")
            # From the first failure on: waiting for a free connection is none.
            until = until or time.monotonic() + self._outage.retry_for
            if self._outage.state == AWAY or time.monotonic() + pause > until:
                raise failure
            time.sleep(pause)
        raise AssertionError

    # --- Outages -----------------------------------------------------------------------------

    def either(self, durably: Callable[[], T], held: Callable[[Memory], T]) -> T:
        """Do something *durably*, as `attempt`, or in memory while the database is away.

        Raises:
            SessionsUnavailableError: The database is away, and it cannot be done in memory.
            psycopg.OperationalError: The database is away, and `on_outage` is `"raise"`.
            SessionError: As `refuse_fork`.
        """
        self.refuse_fork()
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._outage.state != RETURNING, self._outage.retry_for
                )
                # Whoever has waited long enough goes on in memory; what that adds is written, too.
                if self._outage.state != HERE:
                    return held(self._outage.memory)
            try:
                return self.attempt(durably)
            except Unrepeatable as unrepeatable:
                raise cast(psycopg.Error, unrepeatable.__cause__) from None
            except psycopg.Error as error:
                if not self._goes_away(error):
                    raise

    def _goes_away(self, error: psycopg.Error) -> bool:
        """Say whether *error* means that the database is away; if so, it is from now on."""
        if not (self._outage.holds and self._is_pool and failures.is_broken(error)):
            return False
        if self._closing.is_set():
            return False  # There is nobody left to write what would be held.
        with self._changed:
            if self._outage.state != HERE:
                return True
        if endpoint(self.conn) is None or self._reaches(error):
            return False
        with self._changed:
            if self._outage.state == HERE:
                self._outage.begin(error)
                self.on_change()
                atexit.register(self.close)
                self._recovery = threading.Thread(
                    target=self._recover, name="langgraph-sessions-recovery", daemon=True
                )
                self._recovery.start()
        return True

    def _recover(self) -> None:
        """Wait for the database, and write what was said meanwhile."""
        for pause in failures.pauses():
            if self._closing.wait(pause) or self._returns():
                return

    def _returns(self) -> bool:
        """Say whether the database is back, and all that was held is written."""
        try:
            if not self._reaches():
                return False
            with self._changed:
                self._outage.state = RETURNING
            self.ready()
            while (entry := self._next()) is not None:
                self._write(entry)
        except Exception as error:
            with self._changed:
                self._outage.stay(error)
                self._changed.notify_all()
            return False
        atexit.unregister(self.close)
        return True

    def _next(self) -> Entry | None:
        """Return what is to be written next; when that is nothing, the outage is over."""
        with self._changed:
            entry = self._outage.memory.next()
            if entry is None:
                self._outage.end()
                self.on_change()
                self._changed.notify_all()
            return entry

    def _write(self, entry: Entry) -> None:
        """Write what was held; what the database refuses is logged."""
        try:
            if not self._write_or_move(entry):
                with self._changed:
                    self._outage.wrote()
        except Exception as error:
            if failures.is_passing(error):
                raise
            with self._changed:
                self._outage.refused(error)

    def _write_or_move(self, entry: Entry) -> bool:
        """Write *entry*; say whether its run goes elsewhere: then it comes again.

        It does if another process went on with its thread meanwhile.
        """
        try:
            if entry.write is None:
                self.run_durably(one_step(entry.item))
            else:
                entry.write(entry.item)
        except ConcurrentRunError:
            move = self._outage.memory.move(entry.item, self.thread_id_factory)
            self.run_durably(move)
            return True
        return False

    def close(self) -> None:
        """Close what this opened, and nothing else; what is held is written if that can be."""
        self._closing.set()
        if self._recovery is not None and not self._is_forked:
            atexit.unregister(self.close)
            self._recovery.join()
            self._recovery = None
            if not self.durable and not self._returns():
                self._outage.lose()
        self._closer()


class Unrepeatable(Exception):
    """What must not be done twice may have been done; the cause says what went wrong."""


def one_step(fetch: Fetch) -> Plan[None]:
    """Execute a statement that changes something.

    Raises:
        SessionError: There was nothing to change, or the new thread's id is in use.
    """
    if (yield fetch):
        return
    # A try that nothing was heard of may have created it.
    if fetch.sql != statements.CREATE_SESSION or not (
        yield Fetch(statements.GET_SESSION, fetch.params)
    ):
        raise SessionError("the session is gone, or its thread id is in use")
