"""What the savers and managers stand on: connections, the tables, and running plans.

A `Database` is shared by a saver, its copies and its manager, so that there is one lock,
one pool and one set-up between them.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import Any, Final, cast

import psycopg
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH_MIGRATIONS
from psycopg import AsyncConnection, AsyncPipeline, Connection, Pipeline
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions import _arguments, _schema
from langgraph_sessions._drive import Call, Done, Plan, T, adrive, drive, proceed
from langgraph_sessions._source import NO_AUTOCOMMIT, Path, Source
from langgraph_sessions.errors import SessionError

Conn = Connection[Any] | ConnectionPool[Connection[Any]]
AsyncConn = AsyncConnection[Any] | AsyncConnectionPool[AsyncConnection[Any]]

# Not prepared: behind a pooler that knows nothing of prepared statements, one client's
# could answer another's query.
CONNECTION_OPTIONS: Final = {"autocommit": True, "prepare_threshold": None}


def _missing(conninfo: str) -> SessionError:
    return SessionError(
        f"the tables of langgraph-sessions are missing or out of date in {conninfo}: call "
        "setup() once, or leave auto_setup on"
    )


def _where(conn: Connection[Any] | AsyncConnection[Any]) -> str:
    return f"database {conn.info.dbname!r} at {conn.info.host or 'localhost'}"


class Database:
    """A PostgreSQL database for synchronous use.

    Attributes:
        conn: The connection or pool.
        pipe: The pipeline that the connection is in, if any.
        lock: Held during a use of a single connection; of a pool, no lock at all.
    """

    def __init__(
        self,
        conn: str | Conn | None,
        pipe: Pipeline | None = None,
        *,
        path: Path | None = None,
        pool_size: int = 10,
        auto_setup: bool = True,
    ) -> None:
        """Choose the database; it is opened on first use. Raises as `Source`."""
        pool_size = _arguments.number("pool_size", pool_size, 1)
        source = Source(conn, path, (Connection, ConnectionPool))
        self.conn: Conn = source.given or ConnectionPool(
            source.conninfo,
            kwargs=CONNECTION_OPTIONS,
            min_size=1,
            max_size=pool_size,
            open=False,
            name="langgraph-sessions",
        )
        self.pipe = pipe
        is_pool = isinstance(self.conn, ConnectionPool)
        self.lock: AbstractContextManager[Any] = nullcontext() if is_pool else threading.Lock()
        self._source = source
        self._auto_setup = _arguments.boolean("auto_setup", auto_setup)
        self._opening = threading.Lock()
        self._is_open = source.given is not None
        self._is_ready = False
        pool = None if source.given else cast(ConnectionPool[Any], self.conn)
        self._closer = weakref.finalize(self, _close, pool, source, os.getpid())

    def ready(self) -> None:
        """Open what is ours and see to the tables, the first time.

        Raises:
            SessionError: The tables are missing and `auto_setup` is off, they are newer than
                this package, or the embedded server cannot be started.
            ValueError: The connection is not in autocommit mode.
            psycopg.OperationalError: There is no such server or database, or no way in.
        """
        if self._is_ready:
            return
        with self._opening:
            if self._is_ready:
                return
            self._open()
            with self._checked_connection() as conn:
                if not _result(conn, _schema.is_current(LANGGRAPH_MIGRATIONS)):
                    if not self._auto_setup:
                        raise _missing(_where(conn))
                    self._migrate(conn)
            self._is_ready = True

    def setup(self) -> None:
        """Create or upgrade the tables, whatever `auto_setup` says. Raises as `ready`."""
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
            _result(conn, _schema.migrate(LANGGRAPH_MIGRATIONS))

    def _open(self) -> None:
        if self._is_open:
            return
        assert isinstance(self.conn, ConnectionPool)
        if self._source.server:
            self._source.conninfo = self.conn.conninfo = self._source.server.start()
        # A pool keeps to itself why it cannot connect, and tries for half a minute.
        psycopg.connect(self._source.conninfo, autocommit=True).close()
        self.conn.open()
        self._is_open = True

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

    def run(self, plan: Plan[T]) -> T:
        """Run *plan*. Raises what it raises, and as `ready`."""
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
        """Run a plan of statements alone in one transaction. Raises as `run`."""
        self.ready()
        with self.connection() as conn:
            if self.pipe:
                self.pipe.sync()
            with conn.transaction():
                return _result(conn, plan)

    def close(self) -> None:
        """Close what this opened, and nothing else."""
        self._closer()


def _result(conn: Connection[Any], plan: Plan[T]) -> T:
    """Drive a plan of statements alone on *conn*."""
    return cast(T, cast(Done, drive(conn, plan, proceed(plan))).value)


def _close(pool: ConnectionPool[Any] | None, source: Source, opener: int) -> None:
    if opener != os.getpid():
        return  # A forked child: what it would say good-bye to are its parent's connections.
    if pool is not None:
        pool.close()
    if source.server:
        source.server.release()


async def _aresult(conn: AsyncConnection[Any], plan: Plan[T]) -> T:
    """Async version of `_result`."""
    return cast(T, cast(Done, await adrive(conn, plan, proceed(plan))).value)


class AsyncDatabase:
    """Async version of `Database`."""

    def __init__(
        self,
        conn: str | AsyncConn | None,
        pipe: AsyncPipeline | None = None,
        *,
        path: Path | None = None,
        pool_size: int = 10,
        auto_setup: bool = True,
    ) -> None:
        """Async version of `Database.__init__`."""
        pool_size = _arguments.number("pool_size", pool_size, 1)
        source = Source(conn, path, (AsyncConnection, AsyncConnectionPool))
        self.conn: AsyncConn = source.given or AsyncConnectionPool(
            source.conninfo,
            kwargs=CONNECTION_OPTIONS,
            min_size=1,
            max_size=pool_size,
            open=False,
            name="langgraph-sessions",
        )
        self.pipe = pipe
        is_pool = isinstance(self.conn, AsyncConnectionPool)
        self.lock: AbstractAsyncContextManager[Any] = nullcontext() if is_pool else asyncio.Lock()
        self._source = source
        self._auto_setup = _arguments.boolean("auto_setup", auto_setup)
        self._opening = asyncio.Lock()
        self._is_open = source.given is not None
        self._is_ready = False

    async def ready(self) -> None:
        """Async version of `Database.ready`."""
        if self._is_ready:
            return
        async with self._opening:
            if self._is_ready:
                return
            await self._open()
            async with self._checked_connection() as conn:
                if not await _aresult(conn, _schema.is_current(LANGGRAPH_MIGRATIONS)):
                    if not self._auto_setup:
                        raise _missing(_where(conn))
                    await self._migrate(conn)
            self._is_ready = True

    async def setup(self) -> None:
        """Async version of `Database.setup`."""
        async with self._opening:
            await self._open()
            async with self._checked_connection() as conn:
                await self._migrate(conn)
            self._is_ready = True

    @asynccontextmanager
    async def _checked_connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        async with self.connection() as conn:
            if not conn.autocommit:
                raise ValueError(NO_AUTOCOMMIT)
            yield conn

    async def _migrate(self, conn: AsyncConnection[Any]) -> None:
        if self.pipe:
            await self.pipe.sync()
        async with conn.transaction():
            await _aresult(conn, _schema.migrate(LANGGRAPH_MIGRATIONS))

    async def _open(self) -> None:
        if self._is_open:
            return
        assert isinstance(self.conn, AsyncConnectionPool)
        if self._source.server:
            conninfo = await asyncio.to_thread(self._source.server.start)
            self._source.conninfo = self.conn.conninfo = conninfo
        probe = await AsyncConnection.connect(self._source.conninfo, autocommit=True)
        await probe.close()
        await self.conn.open()
        self._is_open = True

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Async version of `Database.connection`."""
        async with self.lock:
            if isinstance(self.conn, AsyncConnectionPool):
                async with self.conn.connection() as conn:
                    yield conn
            else:
                try:
                    yield self.conn
                finally:
                    if self.pipe:
                        await self.pipe.sync()

    async def run(self, plan: Plan[T]) -> T:
        """Async version of `Database.run`."""
        await self.ready()
        step = proceed(plan)
        while not isinstance(step, Done):
            if isinstance(step, Call):
                step = proceed(plan, step.function())
            else:
                async with self.connection() as conn:
                    step = await adrive(conn, plan, step)
        return cast(T, step.value)

    async def run_atomically(self, plan: Plan[T]) -> T:
        """Async version of `Database.run_atomically`."""
        await self.ready()
        async with self.connection() as conn:
            if self.pipe:
                await self.pipe.sync()
            async with conn.transaction():
                return await _aresult(conn, plan)

    async def close(self) -> None:
        """Async version of `Database.close`."""
        if self._source.given is None:
            assert isinstance(self.conn, AsyncConnectionPool)
            await self.conn.close()
        if self._source.server:
            self._source.server.release()
