"""What the savers and managers stand on: connections, the tables, and running plans.

A `Database` is shared by a saver, its copies and its manager, so that there is one lock,
one pool, one set-up and one outage between them.
"""

from __future__ import annotations

import atexit
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
from langgraph_sessions._drive import Call, Done, Fetch, Plan, Run, T, drive, execute, fail, proceed
from langgraph_sessions._held_sessions import unavailable
from langgraph_sessions._journal import Entry
from langgraph_sessions._memory import Memory
from langgraph_sessions._outage import AWAY, HERE, OUTAGE_LIMIT, RETURNING, Outage, endpoint
from langgraph_sessions._source import NO_AUTOCOMMIT, Path, Source
from langgraph_sessions._thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions.errors import ConcurrentRunError, SessionError

Conn = Connection[Any] | ConnectionPool[Connection[Any]]


class Database:
    """A PostgreSQL database for synchronous use.

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
        self.conn: Conn = source.given or _pools.pool(source.conninfo, pool_size)
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
        self._outage = Outage.of(on_outage, outage_limit, retry_for)
        self._make_locks()
        self._recovery: threading.Thread | None = None
        self._probed_at = 0.0
        self._reached = False
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
                with self.conn.connection() as conn:
                    yield conn
            else:
                try:
                    yield self.conn
                finally:
                    if self.pipe:
                        self.pipe.sync()

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

        try:
            return self.either(durably, lambda memory: memory.sessions.answer(step))
        except Unrepeatable as unrepeatable:
            raise cast(psycopg.Error, unrepeatable.__cause__) from None

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
                if self.pipe:
                    self.pipe.sync()
                with conn.transaction():
                    return result(conn, plan)

        self.refuse_fork()
        with self._changed:
            if self._outage.state != HERE:
                raise unavailable() from self._outage.error
        return durably()

    def attempt(self, function: Callable[[], T]) -> T:
        """Call *function*; if a connection breaks in it, again, for `retry_for` seconds.

        Raises what it raises, and at once what a server answers that lets nobody in.
        """
        self.refuse_fork()
        if self._outage.state == AWAY:
            raise psycopg.OperationalError(f"the database is away: {self._outage.error}")
        until = time.monotonic() + self._outage.retry_for
        failure: psycopg.Error | None = None
        for pause in _failures.pauses():
            if failure is None or self._reaches(failure):
                try:
                    return function()
                except psycopg.Error as error:
                    if not self._is_pool or not _failures.is_broken(error):
                        raise
                    failure = error
            if self._outage.state == AWAY or time.monotonic() + pause > until:
                raise failure
            time.sleep(pause)
        raise AssertionError

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

    # --- Outages -----------------------------------------------------------------------------

    @property
    def durable(self) -> bool:
        """Whether what is saved now is saved in the database."""
        return self._outage.state == HERE

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
                if self._outage.state == RETURNING:
                    raise unavailable() from self._outage.error
                if self._outage.state == AWAY:
                    return held(self._outage.memory)
            try:
                return self.attempt(durably)
            except psycopg.Error as error:
                if not self._goes_away(error):
                    raise

    def _goes_away(self, error: psycopg.Error) -> bool:
        """Say whether *error* means that the database is away; if so, it is from now on."""
        if not (self._outage.holds and self._is_pool and _failures.is_broken(error)):
            return False
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
        for pause in _failures.pauses():
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
            while (entry := self._outage.memory.next()) is not None:
                self._write(entry)
        except Exception as error:
            with self._changed:
                self._outage.stay(error)
                self._changed.notify_all()
            return False
        with self._changed:
            self._outage.end()
            self.on_change()
            self._changed.notify_all()
        atexit.unregister(self.close)
        return True

    def _write(self, entry: Entry) -> None:
        """Write what was held; what the database refuses is logged."""
        try:
            if entry.write is None:
                self.run_durably(one_step(entry.item))
            else:
                entry.write(entry.item)
        except ConcurrentRunError:
            # It comes again, for its new session.
            move = self._outage.memory.move(entry.item, self.thread_id_factory)
            self.run_durably(move)
        except Exception as error:
            if _failures.is_broken(error):
                raise
            self._outage.refused(error)
        else:
            self._outage.wrote()

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
    """A statement that must not be executed twice may have been executed."""


def one_step(fetch: Fetch) -> Plan[Any]:
    return (yield fetch)


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
