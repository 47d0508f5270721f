"""`Database`: a PostgreSQL database for synchronous use."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Any, cast

import psycopg
from psycopg import Connection, Pipeline
from psycopg_pool import ConnectionPool

from langgraph_sessions.database import cursors, pools
from langgraph_sessions.database.deeds import Deed, T, do
from langgraph_sessions.database.lending import IDLE
from langgraph_sessions.database.running import UNFIT, Running
from langgraph_sessions.database.source import Source
from langgraph_sessions.plans import (
    Batch,
    Call,
    ExecuteMany,
    Give,
    Plan,
    Question,
    Statement,
    Step,
    drive,
)

Conn = Connection[Any] | ConnectionPool[Connection[Any]]


class Database(Running[Conn, Pipeline]):
    """A PostgreSQL database, shared by a saver, its copies and its manager.

    There is one lock, one pool and one set-up between them.
    """

    _kinds = (Connection, ConnectionPool)
    _new_pool = staticmethod(pools.pool)
    _new_lock = staticmethod(threading.Lock)

    def __init__(self, conn: str | Conn | None, pipe: Pipeline | None = None, **options: Any):
        """Choose the database; it is opened on first use. Takes and raises as the base."""
        super().__init__(conn, pipe, **options)
        pool = None if self._source.given else cast(ConnectionPool[Any], self.conn)
        self._closer = weakref.finalize(self, _close, pool, self._source)

    def run(self, plan: Plan[T]) -> T:
        """Run *plan*, step by step; each question is asked again while connections break.

        Raises:
            Exception: What the plan raises, and psycopg's errors that it does not catch.
            SessionError, ValueError, psycopg.Error: As `ready`.
        """
        return drive(plan, self._answer)

    def _answer(self, step: Step) -> Any:
        """Answer *step*: as a rule at the first try, which needs no deed. Raises as `run`."""
        if isinstance(step, Call):
            return step()
        assert not isinstance(step, Give), "this plan wants `stream`"
        failure = None
        needs_deed = self.pipe or self._is_forked or self.place.are_distributed
        if self._is_there and step.repeatable and not needs_deed:
            try:
                if (found := self._try(step)) is not UNFIT:
                    return found
            except psycopg.errors.FeatureNotSupported:
                pass  # Citus may have distributed the tables: the deed looks.
            except psycopg.Error as error:
                if not self._may_go_again(error):
                    raise
                failure = error
        return do(self.answer_deed(step, failure))

    def _try(self, question: Question) -> Any:
        """Answer *question*; `UNFIT` if its connection is to be seen to first."""
        if self._is_pool:
            return self._try_pooled(question, cast(Any, self.conn))
        with self.lock:
            conn: Any = self.conn
            return self._answered(conn, question) if self.place.knows(conn) else UNFIT

    def _try_pooled(self, question: Question, pool: ConnectionPool[Any]) -> Any:
        """As `_with_pooled`, with a connection of which there is nothing to be said."""
        conn = pool.getconn()
        try:
            if pools.has_news(conn) or not self.place.knows(conn):
                return UNFIT
            found = self._answered(conn, question)
            if conn.pgconn.transaction_status != IDLE and not conn.closed:
                conn.commit()
        except BaseException:
            with suppress(psycopg.Error):
                conn.rollback()
            raise
        else:
            return found
        finally:
            pool.putconn(conn)

    def _answered(self, conn: Any, question: Question) -> Any:
        """Answer *question* on *conn*."""
        if isinstance(question, Statement):
            return self._execute(conn, question)
        if isinstance(question, Batch):
            return self._execute_batch(conn, question)
        if question.atomic:
            return do(self._answer_on(question, conn))
        return drive(question.plan(), partial(self._answered, conn))

    def stream(self, plan: Plan[None]) -> Iterator[Any]:
        """Run *plan*, and yield what it gives. Raises as `run`."""
        while True:
            gives, value = do(self.advance_deed(plan, self.answer_deed))
            if not gives:
                return
            yield value

    def attempt(self, function: Callable[[], T]) -> T:
        """Call *function*, which does its own I/O; again while connections break in it."""
        return do(self.durably_deed(lambda: self._ready_and(function)))

    def _ready_and(self, function: Callable[[], T]) -> Deed[T]:
        yield from self.ready_deed()
        return cast(T, (yield function))

    def setup(self, *, citus: bool = False) -> None:
        """Create or upgrade the tables, whatever `auto_setup` says. Raises as `ready`.

        With *citus*, they are distributed over its nodes.
        """
        do(self.setup_deed(citus=citus))

    def ready(self) -> None:
        """On first use, open the pool and see to the tables.

        Raises:
            SessionError: The tables are missing and `auto_setup` is off, they are newer than
                this package, are gone or somebody else's, a search path leads past them, the
                embedded server cannot be started, or this process was forked from the one that
                opened the connections.
            ValueError: The connection is not in autocommit mode.
            psycopg.OperationalError: There is no such server or database, or it refuses the login.
        """
        do(self.ready_deed())

    def close(self) -> None:
        """Close what this opened, and nothing else."""
        self._closer()

    def forked(self) -> None:
        """Note a fork: unusable in the child if anything was open, or held."""
        super().forked()
        if self._is_forked:
            # It would close the parent process's connections.
            self._closer.detach()

    # --- How it is done ----------------------------------------------------------------------

    def _make_locks(self) -> None:
        self._opening = threading.Lock()
        self._probing = threading.Lock()

    def refuse_others(self) -> None:
        """Raise `SessionError` in a process that was forked from one that had it open."""
        self.refuse_fork()

    def _connect(self, conninfo: str, **options: Any) -> Connection[Any]:
        return psycopg.connect(conninfo, **options)

    def _block(self, function: Callable[[], T]) -> T:
        return function()

    def _trouble(self, conn: Connection[Any]) -> psycopg.Error | None:
        return pools.trouble(conn)

    def _take(self, pool: ConnectionPool[Any]) -> Connection[Any]:
        conn: Connection[Any] = pool.getconn()
        return conn

    def _give_back(self, pool: ConnectionPool[Any], conn: Connection[Any]) -> None:
        pool.putconn(conn)

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait_until_done(self, future: Future[Any], seconds: float | None) -> None:
        """Wait until *future* is done, or so many seconds, and leave it as it is."""
        wait([future], seconds)

    def _call(self, call: Call) -> Any:
        return call()

    def _atomically(self, conn: Connection[Any], deed: Deed[T]) -> T:
        with conn.transaction():
            return do(deed)

    def _execute(self, conn: Connection[Any], statement: Statement) -> list[Any]:
        cursor = _executed(conn, statement)
        if not statement.returns_rows:
            return []
        rows = cursor.fetchall()
        if statement.often and statement.are_large(rows):
            cursors.forget(conn, statement.sql)
        return rows

    def _execute_batch(self, conn: Connection[Any], batch: Batch) -> list[Any]:
        if self.pipe:
            for statement in batch.statements:
                cursor = _executed(conn, statement)
            self.pipe.sync()
        else:
            with conn.pipeline() if pools.HAS_PIPELINE else conn.transaction():
                for statement in batch.statements:
                    cursor = _executed(conn, statement)
        return cursor.fetchall() if statement.returns_rows else []


def _executed(conn: Connection[Any], statement: Statement) -> psycopg.Cursor[Any]:
    """Execute a statement, and return its cursor."""
    sql = statement.sql
    cursor: psycopg.Cursor[Any] = cursors.cursor(conn, statement, sql)
    if isinstance(statement, ExecuteMany):
        cursor.executemany(cursors.text(sql), statement.rows)
        return cursor
    params = statement.params
    if statement.often and cursors.are_large(params):
        cursors.forget(conn, sql)
    cursor.execute(cursors.text(sql), params)
    return cursor


def _close(pool: ConnectionPool[Any] | None, source: Source) -> None:
    if pool is not None:
        pool.close()
    if source.server:
        source.server.release()
