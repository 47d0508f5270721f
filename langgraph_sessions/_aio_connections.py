"""Async version of `_connections`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any, cast

import psycopg
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH_MIGRATIONS
from psycopg import AsyncConnection, AsyncPipeline
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from langgraph_sessions import _arguments, _failures, _forks, _pools, _schema
from langgraph_sessions._connections import forked, missing
from langgraph_sessions._drive import (
    Done,
    Plan,
    T,
    adrive,
    proceed,
)
from langgraph_sessions._outage import AWAY, HERE, OUTAGE_LIMIT, Outage, endpoint
from langgraph_sessions._source import NO_AUTOCOMMIT, Path, Source
from langgraph_sessions._thread_ids import ThreadIdFactory, default_thread_id

AsyncConn = AsyncConnection[Any] | AsyncConnectionPool[AsyncConnection[Any]]


class AsyncConnections:
    """Async version of `Connections`."""

    def __init__(
        self,
        conn: str | AsyncConn | None,
        pipe: AsyncPipeline | None = None,
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
        source = Source(conn, path, (AsyncConnection, AsyncConnectionPool))
        # Not by way of self: the pool's callback would keep it alive, and open, for ever.
        self._outage = outage = Outage.of(on_outage, outage_limit, retry_for)
        self.conn: AsyncConn = source.given or _pools.async_pool(
            source.conninfo, pool_size, lambda: outage.state == AWAY
        )
        self.pipe = pipe
        self._is_pool = isinstance(self.conn, AsyncConnectionPool)
        self.lock: AbstractAsyncContextManager[Any] = (
            nullcontext() if self._is_pool else asyncio.Lock()
        )
        _arguments.function("thread_id_factory", thread_id_factory)
        self.thread_id_factory = thread_id_factory
        self.on_change: Callable[[], object] = lambda: None
        self._source = source
        self._auto_setup = _arguments.boolean("auto_setup", auto_setup)
        self._is_open = source.given is not None
        self._is_ready = False
        self._is_forked = False  # From a process that had it open already.
        self._loop: asyncio.AbstractEventLoop | None = None  # Where it was opened.
        self._make_locks()
        self._probed_at = 0.0
        self._reached = True
        _forks.watch(self)

    def _make_locks(self) -> None:
        self._opening = asyncio.Lock()
        self._settled = asyncio.Event()  # Not set while what was held is being written.
        self._settled.set()
        self._probing = asyncio.Lock()

    def forked(self) -> None:
        """Async version of `Connections.forked`."""
        self._make_locks()
        self._loop = None
        opened = self._is_open if self._source.given is None else not self.conn.closed
        self._is_forked = self._is_forked or opened or not self.durable

    def refuse_others(self) -> None:
        """Raise in a process, or an event loop, other than that which opened it.

        Raises:
            SessionError: The process was forked from that which did.
            RuntimeError: It is another loop.
        """
        if self._is_forked:
            raise forked()
        self.refuse_other_loop()

    def refuse_other_loop(self) -> None:
        """Raise `RuntimeError` in an event loop other than that which opened it."""
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "this saver belongs to another event loop, as its connections do: make one in "
                "each loop"
            )

    # --- Opening -----------------------------------------------------------------------------

    async def ready(self) -> None:
        """Async version of `Connections.ready`."""
        self.refuse_others()
        if self._is_ready:
            return
        async with self._opening_here():
            if self._is_ready:
                return
            await self._open()
            async with self._checked_connection() as conn:
                if not await aresult(conn, _schema.is_current(LANGGRAPH_MIGRATIONS)):
                    if not self._auto_setup:
                        raise missing(conn)
                    await self._migrate(conn)
            self._is_ready = True

    async def setup(self) -> None:
        """Async version of `Connections.setup`."""
        self.refuse_others()
        async with self._opening_here():
            await self._open()
            async with self._checked_connection() as conn:
                await self._migrate(conn)
            self._is_ready = True

    @asynccontextmanager
    async def _opening_here(self) -> AsyncIterator[None]:
        """Belong to this event loop from now on, unless nothing can be opened."""
        self._loop = asyncio.get_running_loop()
        try:
            async with self._opening:
                yield
        except BaseException:
            if not self._is_open and self.durable:
                self._loop = None
            raise

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
            await aresult(conn, _schema.migrate(LANGGRAPH_MIGRATIONS))

    async def _open(self) -> None:
        if self._is_open:
            return
        assert isinstance(self.conn, AsyncConnectionPool)
        if self._source.server:
            self.conn.conninfo = await asyncio.to_thread(self._source.server.start)
        # A pool keeps to itself why it cannot connect, and tries for as long as it may.
        await (await self.connect()).close()
        self._is_open = True
        await self.conn.open()

    async def connect(self) -> AsyncConnection[Any]:
        """Async version of `Connections.connect`."""
        found = endpoint(self.conn)
        if found is None:
            raise ValueError("conn must be a pool whose conninfo and kwargs are no functions")
        conninfo, options = found
        return await AsyncConnection.connect(conninfo, **options)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Async version of `Connections.connection`."""
        async with self.lock:
            if isinstance(self.conn, AsyncConnectionPool):
                async with self._living(self.conn) as conn:
                    yield conn
            else:
                try:
                    yield self.conn
                finally:
                    if self.pipe:
                        await self.pipe.sync()

    @asynccontextmanager
    async def _living(
        self, pool: AsyncConnectionPool[AsyncConnection[Any]]
    ) -> AsyncIterator[AsyncConnection[Any]]:
        """Async version of `Connections`'s."""
        async with pool.connection() as conn:
            error = await _pools.async_trouble(conn)
            if error is None:
                yield conn
                return
        # So may all of them be: they are replaced, if there is still a server.
        if not await self._reaches(error):
            raise error
        async with pool.connection() as conn:
            yield conn

    async def _reaches(self, failure: BaseException | None = None) -> bool:
        found = endpoint(self.conn)
        if found is None:
            return True
        asked = time.monotonic()
        async with self._probing:
            if self._probed_at < asked:  # Else it was answered while this waited.
                self._reached = await _probe(*found)
                self._probed_at = time.monotonic()
                if self._reached and self._is_open and not isinstance(failure, PoolTimeout):
                    await cast(AsyncConnectionPool[Any], self.conn).drain()
            return self._reached

    @property
    def durable(self) -> bool:
        """Whether what is saved now is saved in the database."""
        return self._outage.state == HERE


async def aresult(conn: AsyncConnection[Any], plan: Plan[T]) -> T:
    """Drive a plan of statements alone on *conn*."""
    return cast(T, cast(Done, await adrive(conn, plan, proceed(plan))).value)


async def _probe(conninfo: str, options: dict[str, Any]) -> bool:
    """Async version of `Connections`'s."""
    for _ in range(2):
        try:
            await (await AsyncConnection.connect(conninfo, **options)).close()
        except psycopg.OperationalError as error:
            refusal = error
        else:
            return True
        if not await asyncio.to_thread(_failures.is_up, conninfo):
            return False
    if anywhere := _failures.any_server(conninfo):
        with suppress(psycopg.OperationalError):
            await (await AsyncConnection.connect(anywhere, **options)).close()
            return False
    raise refusal
