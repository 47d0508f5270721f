"""What a database is reached by: a pool or a connection, opened and checked on first use."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, cast

import psycopg
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH_MIGRATIONS
from psycopg import Connection, Pipeline
from psycopg_pool import ConnectionPool, PoolTimeout

from langgraph_sessions import _arguments, _failures, _forks, _pools, _schema
from langgraph_sessions._drive import Done, Plan, T, drive, proceed
from langgraph_sessions._outage import AWAY, HERE, OUTAGE_LIMIT, Outage, endpoint
from langgraph_sessions._source import NO_AUTOCOMMIT, Path, Source
from langgraph_sessions._thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions.errors import SessionError

Conn = Connection[Any] | ConnectionPool[Connection[Any]]


class Connections:
    """The way to a PostgreSQL database, for synchronous use.

    Attributes:
        conn: The connection or pool.
        pipe: The pipeline that the connection is in, if any.
        lock: Held during a use of a single connection; of a pool, no lock at all.
        thread_id_factory: Makes the thread ids of new sessions.
        on_change: Called when the database goes away, and when it is back.
    """

    def __init__(
        self,
        conn: str | Conn | None,
        pipe: Pipeline | None = None,
        *,
        path: Path | None = None,
        pool_size: int = 10,
        auto_setup: bool = True,
        thread_id_factory: ThreadIdFactory = default_thread_id,
        on_outage: str = "memory",
        outage_limit: int = OUTAGE_LIMIT,
        retry_for: float = 5.0,
    ) -> None:
        """Choose the database; it is opened on first use. Raises as `Source`."""
        pool_size = _arguments.number("pool_size", pool_size, 1)
        source = Source(conn, path, (Connection, ConnectionPool))
        # Not by way of self: the pool's callback would keep it alive, and open, for ever.
        self._outage = outage = Outage.of(on_outage, outage_limit, retry_for)
        self.conn: Conn = source.given or _pools.pool(
            source.conninfo, pool_size, lambda: outage.state == AWAY
        )
        self.pipe = pipe
        self._is_pool = isinstance(self.conn, ConnectionPool)
        self.lock: AbstractContextManager[Any] = (
            nullcontext() if self._is_pool else threading.Lock()
        )
        _arguments.function("thread_id_factory", thread_id_factory)
        self.thread_id_factory = thread_id_factory
        self.on_change: Callable[[], object] = lambda: None
        self._source = source
        self._auto_setup = _arguments.boolean("auto_setup", auto_setup)
        self._is_open = source.given is not None
        self._is_ready = False
        self._is_forked = False  # From a process that had it open already.
        self._make_locks()
        self._probed_at = 0.0
        self._reached = True
        pool = None if source.given else cast(ConnectionPool[Any], self.conn)
        self._closer = weakref.finalize(self, _close, pool, source)
        _forks.watch(self)

    def _make_locks(self) -> None:
        self._opening = threading.Lock()
        self._changed = threading.Condition()  # Guards the outage and what is held in it.
        self._closing = threading.Event()
        self._probing = threading.Lock()

    def forked(self) -> None:
        """Be of use to a forked child only if nothing was opened, or held, before."""
        self._make_locks()
        opened = self._is_open if self._source.given is None else not self.conn.closed
        if opened or not self.durable:
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
                if not result(conn, _schema.is_current(LANGGRAPH_MIGRATIONS)):
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
            result(conn, _schema.migrate(LANGGRAPH_MIGRATIONS))

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
            error = _pools.trouble(conn)
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

    @property
    def durable(self) -> bool:
        """Whether what is saved now is saved in the database."""
        return self._outage.state == HERE


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
        if not _failures.is_up(conninfo):
            return False
    if anywhere := _failures.any_server(conninfo):
        with suppress(psycopg.OperationalError):
            psycopg.connect(anywhere, **options).close()
            return False  # Such as a standby, before it is promoted.
    raise refusal


def _close(pool: ConnectionPool[Any] | None, source: Source) -> None:
    if pool is not None:
        pool.close()
    if source.server:
        source.server.release()


def forked() -> SessionError:
    """Return the error for connections that were opened before this process was forked."""
    return SessionError(
        "this saver was opened before the process was forked, and connections cannot be shared "
        "with a parent: make, or first use, one in each worker"
    )


def missing(conn: Connection[Any] | psycopg.AsyncConnection[Any]) -> SessionError:
    """Return the error for a database without our tables."""
    where = f"database {conn.info.dbname!r} at {conn.info.host or 'localhost'}"
    return SessionError(
        f"the tables of langgraph-sessions are missing or out of date in {where}: call "
        "setup() once, or leave auto_setup on"
    )
