"""Async version of `_database`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any, cast

import psycopg
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH_MIGRATIONS
from psycopg import AsyncConnection, AsyncPipeline
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from langgraph_sessions import _arguments, _failures, _forks, _pools, _schema
from langgraph_sessions._database import Unrepeatable, forked, missing, one_step
from langgraph_sessions._drive import (
    Call,
    Done,
    Fetch,
    Plan,
    Run,
    T,
    adrive,
    aexecute,
    fail,
    proceed,
)
from langgraph_sessions._held_sessions import unavailable
from langgraph_sessions._journal import Entry
from langgraph_sessions._memory import Memory
from langgraph_sessions._outage import AWAY, HERE, OUTAGE_LIMIT, RETURNING, Outage, endpoint
from langgraph_sessions._source import NO_AUTOCOMMIT, Path, Source
from langgraph_sessions._thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions.errors import ConcurrentRunError

AsyncConn = AsyncConnection[Any] | AsyncConnectionPool[AsyncConnection[Any]]


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
        thread_id_factory: ThreadIdFactory = default_thread_id,
        on_outage: str = "memory",
        outage_limit: int = OUTAGE_LIMIT,
        retry_for: float = 5.0,
    ) -> None:
        """Choose the database; it is opened on first use. Raises as `Source`."""
        pool_size = _arguments.number("pool_size", pool_size, 1)
        source = Source(conn, path, (AsyncConnection, AsyncConnectionPool))
        self.conn: AsyncConn = source.given or _pools.async_pool(source.conninfo, pool_size)
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
        self._outage = Outage.of(on_outage, outage_limit, retry_for)
        self._make_locks()
        self._recovery: asyncio.Task[None] | None = None
        self._probed_at = 0.0
        self._reached = False
        _forks.watch(self)

    def _make_locks(self) -> None:
        self._opening = asyncio.Lock()
        self._settled = asyncio.Event()  # Not set while what was held is being written.
        self._settled.set()
        self._probing = asyncio.Lock()

    def forked(self) -> None:
        """Async version of `Database.forked`."""
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
        """Async version of `Database.ready`."""
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
        """Async version of `Database.setup`."""
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
        """Async version of `Database.connect`."""
        found = endpoint(self.conn)
        if found is None:
            raise ValueError("conn must be a pool whose conninfo and kwargs are no functions")
        conninfo, options = found
        return await AsyncConnection.connect(conninfo, **options)

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

    # --- Running -----------------------------------------------------------------------------

    async def run(self, plan: Plan[T]) -> T:
        """Async version of `Database.run`."""
        step = proceed(plan)
        while not isinstance(step, Done):
            if isinstance(step, Call):
                step = proceed(plan, step.function())
                continue
            try:
                rows = await self._fetch(step)
            except psycopg.Error as error:
                step = fail(plan, error)
            else:
                step = proceed(plan, rows)
        return cast(T, step.value)

    async def _fetch(self, step: Fetch | Run) -> Any:
        async def durably() -> Any:
            await self.ready()
            async with self.connection() as conn:
                try:
                    return await aexecute(conn, step)
                except psycopg.Error as error:
                    if isinstance(step, Fetch) and not step.repeatable:
                        raise Unrepeatable from error
                    raise

        try:
            return await self.either(durably, lambda memory: memory.sessions.answer(step))
        except Unrepeatable as unrepeatable:
            raise cast(psycopg.Error, unrepeatable.__cause__) from None

    async def run_durably(self, plan: Plan[T]) -> T:
        """Async version of `Database.run_durably`."""
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

        async def durably() -> T:
            await self.ready()
            async with self.connection() as conn:
                if self.pipe:
                    await self.pipe.sync()
                async with conn.transaction():
                    return await aresult(conn, plan)

        self.refuse_others()
        if self._outage.state != HERE:
            raise unavailable() from self._outage.error
        return await durably()

    async def attempt(self, function: Callable[[], Awaitable[T]]) -> T:
        """Async version of `Database.attempt`."""
        self.refuse_others()
        if self._outage.state == AWAY:
            raise psycopg.OperationalError(f"the database is away: {self._outage.error}")
        until = time.monotonic() + self._outage.retry_for
        failure: psycopg.Error | None = None
        for pause in _failures.pauses():
            if failure is None or await self._reaches(failure):
                try:
                    return await function()
                except psycopg.Error as error:
                    if not self._is_pool or not _failures.is_broken(error):
                        raise
                    failure = error
            if self._outage.state == AWAY or time.monotonic() + pause > until:
                raise failure
            await asyncio.sleep(pause)
        raise AssertionError

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

    # --- Outages -----------------------------------------------------------------------------

    @property
    def durable(self) -> bool:
        """Whether what is saved now is saved in the database."""
        return self._outage.state == HERE

    async def either(self, durably: Callable[[], Awaitable[T]], held: Callable[[Memory], T]) -> T:
        """Async version of `Database.either`."""
        self.refuse_others()
        while True:
            if not self._settled.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._settled.wait(), self._outage.retry_for)
            if self._outage.state == RETURNING:
                raise unavailable() from self._outage.error
            if self._outage.state == AWAY:
                return held(self._outage.memory)
            try:
                return await self.attempt(durably)
            except psycopg.Error as error:
                if not await self._goes_away(error):
                    raise

    async def _goes_away(self, error: psycopg.Error) -> bool:
        if not (self._outage.holds and self._is_pool and _failures.is_broken(error)):
            return False
        if self._outage.state != HERE:
            return True
        if endpoint(self.conn) is None or await self._reaches(error):
            return False
        if self._outage.state == HERE:
            self._loop = asyncio.get_running_loop()  # Where what is held will be written.
            self._outage.begin(error)
            self.on_change()
            self._recovery = asyncio.create_task(self._recover())
        return True

    async def _recover(self) -> None:
        for pause in _failures.pauses():
            await asyncio.sleep(pause)
            if await self._returns():
                return

    async def _returns(self) -> bool:
        try:
            if not await self._reaches():
                return False
            self._outage.state = RETURNING
            self._settled.clear()
            await self.ready()
            while (entry := self._outage.memory.next()) is not None:
                await self._write(entry)
        except Exception as error:
            self._outage.stay(error)
            return False
        else:
            self._outage.end()
            self.on_change()
            return True
        finally:
            self._settled.set()

    async def _write(self, entry: Entry) -> None:
        try:
            if entry.write is None:
                await self.run_durably(one_step(entry.item))
            else:
                await entry.write(entry.item)
        except ConcurrentRunError:
            # It comes again, for its new session.
            move = self._outage.memory.move(entry.item, self.thread_id_factory)
            await self.run_durably(move)
        except Exception as error:
            if _failures.is_broken(error):
                raise
            self._outage.refused(error)
        else:
            self._outage.wrote()

    async def close(self) -> None:
        """Async version of `Database.close`."""
        if self._is_forked:
            return
        self.refuse_other_loop()
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
            self._recovery = None
            if not self.durable and not await self._returns():
                self._outage.lose()
        if self._source.given is None:
            await cast(AsyncConnectionPool[Any], self.conn).close()
        if self._source.server:
            self._source.server.release()


async def aresult(conn: AsyncConnection[Any], plan: Plan[T]) -> T:
    """Drive a plan of statements alone on *conn*."""
    return cast(T, cast(Done, await adrive(conn, plan, proceed(plan))).value)


async def _probe(conninfo: str, options: dict[str, Any]) -> bool:
    """Async version of `Database`'s."""
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
