"""Async version of `database.connections`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import psycopg
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH_MIGRATIONS
from psycopg import AsyncConnection, AsyncPipeline
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from langgraph_sessions.database import failures, pools
from langgraph_sessions.database.base_connections import BaseConnections, forked, missing
from langgraph_sessions.database.pools import endpoint
from langgraph_sessions.database.source import NO_AUTOCOMMIT
from langgraph_sessions.plans import Done, Plan, T, adrive, proceed
from langgraph_sessions.sql import schema

AsyncConn = AsyncConnection[Any] | AsyncConnectionPool[AsyncConnection[Any]]


class AsyncConnections(BaseConnections[AsyncConn, AsyncPipeline]):
    """Async version of `Connections`."""

    _kinds = (AsyncConnection, AsyncConnectionPool)
    _new_pool = staticmethod(pools.async_pool)
    _new_lock = staticmethod(asyncio.Lock)

    _loop: asyncio.AbstractEventLoop | None = None  # Where it was opened.

    def _make_locks(self) -> None:
        self._opening = asyncio.Lock()
        self._settled = asyncio.Event()  # Not set while what was held is being written.
        self._settled.set()
        self._probing = asyncio.Lock()

    def forked(self) -> None:
        """Be of use to a forked child only if nothing was opened, or held, before."""
        self._make_locks()
        self._loop = None
        self._is_forked = self._is_forked or self._was_used()

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
                if not await aresult(conn, schema.is_current(LANGGRAPH_MIGRATIONS)):
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
            await aresult(conn, schema.migrate(LANGGRAPH_MIGRATIONS))

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
            error = await pools.async_trouble(conn)
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
        if not await asyncio.to_thread(failures.is_up, conninfo):
            return False
    if anywhere := failures.any_server(conninfo):
        with suppress(psycopg.OperationalError):
            await (await AsyncConnection.connect(anywhere, **options)).close()
            return False
    raise refusal
