"""What a database is reached by: a pool or a connection, opened and checked on first use."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import psycopg
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH_MIGRATIONS
from psycopg import Connection, Pipeline
from psycopg_pool import ConnectionPool, PoolTimeout

from langgraph_sessions.database import failures, pools
from langgraph_sessions.database.base_connections import BaseConnections, forked, missing
from langgraph_sessions.database.pools import endpoint
from langgraph_sessions.database.source import NO_AUTOCOMMIT, Source
from langgraph_sessions.plans import Done, Plan, T, drive, proceed
from langgraph_sessions.sql import schema

Conn = Connection[Any] | ConnectionPool[Connection[Any]]


class Connections(BaseConnections[Conn, Pipeline]):
    """The way to a PostgreSQL database, for synchronous use."""

    _kinds = (Connection, ConnectionPool)
    _new_pool = staticmethod(pools.pool)
    _new_lock = staticmethod(threading.Lock)

    def __init__(self, conn: str | Conn | None, pipe: Pipeline | None = None, **options: Any):
        """Choose the database; it is opened on first use. Takes and raises as the base."""
        super().__init__(conn, pipe, **options)
        pool = None if self._source.given else cast(ConnectionPool[Any], self.conn)
        self._closer = weakref.finalize(self, _close, pool, self._source)

    def _make_locks(self) -> None:
        self._opening = threading.Lock()
        self._changed = threading.Condition()  # Guards the outage and what is held in it.
        self._closing = threading.Event()
        self._probing = threading.Lock()

    def forked(self) -> None:
        """Be of use to a forked child only if nothing was opened, or held, before."""
        self._make_locks()
        if self._was_used():
            self._is_forked = True
            # What it would say good-bye to are the parent's connections.
            self._closer.detach()

    def refuse_fork(self) -> None:
        """Raise `SessionError` in a process that was forked from one that had it open."""
        if self._is_forked:
            raise forked()

    # --- Opening -----------------------------------------------------------------------------

    def ready(self) -> None:
        """Open what is ours and see to the tables, the first time.

        Raises:
            SessionError: The tables are missing and `auto_setup` is off, they are newer than
                this package, the embedded server cannot be started, or this process was
                forked from the one that opened the connections.
            ValueError: The connection is not in autocommit mode.
            psycopg.OperationalError: There is no such server or database, or no way in.
        """
        self.refuse_fork()
        if self._is_ready:
            return
        with self._opening:
            if self._is_ready:
                return
            self._open()
            with self._checked_connection() as conn:
                if not result(conn, schema.is_current(LANGGRAPH_MIGRATIONS)):
                    if not self._auto_setup:
                        raise missing(conn)
                    self._migrate(conn)
            self._is_ready = True

    def setup(self) -> None:
        """Create or upgrade the tables, whatever `auto_setup` says. Raises as `ready`."""
        self.refuse_fork()
        with self._opening:
            self._open()
            with self._checked_connection() as conn:
                self._migrate(conn)
            self._is_ready = True

    @contextmanager
    def _checked_connection(self) -> Iterator[Connection[Any]]:
        with self.connection() as conn:
            if not conn.autocommit:
                raise ValueError(NO_AUTOCOMMIT)
            yield conn

    def _migrate(self, conn: Connection[Any]) -> None:
        if self.pipe:
            self.pipe.sync()
        with conn.transaction():
            result(conn, schema.migrate(LANGGRAPH_MIGRATIONS))

    def _open(self) -> None:
        if self._is_open:
            return
        assert isinstance(self.conn, ConnectionPool)
        if self._source.server:
            self.conn.conninfo = self._source.server.start()
        # A pool keeps to itself why it cannot connect, and tries for as long as it may.
        self.connect().close()
        self._is_open = True
        self.conn.open()

    def connect(self) -> Connection[Any]:
        """Open another connection, for the caller to close.

        Raises:
            ValueError: How to is known to a function of the caller's alone.
            psycopg.OperationalError: There is no such server or database, or no way in.
        """
        found = endpoint(self.conn)
        if found is None:
            raise ValueError("conn must be a pool whose conninfo and kwargs are no functions")
        conninfo, options = found
        return psycopg.connect(conninfo, **options)

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """Lend a connection."""
        with self.lock:
            if isinstance(self.conn, ConnectionPool):
                with self._living(self.conn) as conn:
                    yield conn
            else:
                try:
                    yield self.conn
                finally:
                    if self.pipe:
                        self.pipe.sync()

    @contextmanager
    def _living(self, pool: ConnectionPool[Connection[Any]]) -> Iterator[Connection[Any]]:
        """Lend a connection of *pool*'s that is not known to be dead."""
        with pool.connection() as conn:
            error = pools.trouble(conn)
            if error is None:
                yield conn
                return
        # So may all of them be: they are replaced, if there is still a server.
        if not self._reaches(error):
            raise error
        with pool.connection() as conn:
            yield conn

    def _reaches(self, failure: BaseException | None = None) -> bool:
        """Say whether a new connection can be made, after *failure*.

        If so, the pool is rid of its old ones, unless that was that none was free.

        Raises:
            psycopg.OperationalError: A server answers, but lets nobody in.
        """
        found = endpoint(self.conn)
        if found is None:
            return True
        asked = time.monotonic()
        with self._probing:
            if self._probed_at < asked:  # Else it was answered while this waited.
                self._reached = _probe(*found)
                self._probed_at = time.monotonic()
                if self._reached and self._is_open and not isinstance(failure, PoolTimeout):
                    cast(ConnectionPool[Any], self.conn).drain()
            return self._reached


def result(conn: Connection[Any], plan: Plan[T]) -> T:
    """Drive a plan of statements alone on *conn*."""
    return cast(T, cast(Done, drive(conn, plan, proceed(plan))).value)


def _probe(conninfo: str, options: dict[str, Any]) -> bool:
    """Say whether a connection can be made.

    Raises:
        psycopg.OperationalError: A server answers, but lets nobody in.
    """
    for _ in range(2):  # It may have come up between the two questions.
        try:
            psycopg.connect(conninfo, **options).close()
        except psycopg.OperationalError as error:
            refusal = error
        else:
            return True
        if not failures.is_up(conninfo):
            return False
    if anywhere := failures.any_server(conninfo):
        with suppress(psycopg.OperationalError):
            psycopg.connect(anywhere, **options).close()
            return False  # Such as a standby, before it is promoted.
    raise refusal


def _close(pool: ConnectionPool[Any] | None, source: Source) -> None:
    if pool is not None:
        pool.close()
    if source.server:
        source.server.release()
