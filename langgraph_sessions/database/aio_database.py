"""`AsyncDatabase`: a PostgreSQL database for event loops."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from types import coroutine
from typing import Any, cast

import psycopg
from psycopg import AsyncConnection, AsyncPipeline
from psycopg_pool import AsyncConnectionPool

from langgraph_sessions.database import cursors, pools
from langgraph_sessions.database.deeds import Deed, T, ado
from langgraph_sessions.database.lending import IDLE
from langgraph_sessions.database.running import UNFIT, Running
from langgraph_sessions.plans import (
    Batch,
    Call,
    ExecuteMany,
    Give,
    Plan,
    Question,
    Statement,
    Step,
    adrive,
)

# Whether this is a task that nobody cancels, so that no step of it need be one by itself.
_uncancelled: ContextVar[bool] = ContextVar("_uncancelled", default=False)

AsyncConn = AsyncConnection[Any] | AsyncConnectionPool[AsyncConnection[Any]]


class AsyncDatabase(Running[AsyncConn, AsyncPipeline]):
    """Async version of `Database`; it belongs to the event loop that first used it."""

    _kinds = (AsyncConnection, AsyncConnectionPool)
    _new_pool = staticmethod(pools.async_pool)
    _new_lock = staticmethod(asyncio.Lock)

    _loop: asyncio.AbstractEventLoop | None = None  # Where it was opened.

    async def run(self, plan: Plan[T]) -> T:
        """Async version of `Database.run`."""
        return await adrive(plan, self._answer)

    async def _answer(self, step: Step) -> Any:
        """Async version of `Database._answer`."""
        if isinstance(step, Call):
            return await self._call(step)
        assert not isinstance(step, Give), "this plan wants `stream`"
        failure = None
        needs_deed = self.pipe or self.place.are_distributed
        if self._is_there and step.repeatable and not needs_deed:
            self.refuse_others()
            try:
                if (found := await self._try(step)) is not UNFIT:
                    return found
            except psycopg.errors.FeatureNotSupported:
                pass  # Citus may have distributed the tables: the deed looks.
            except psycopg.Error as error:
                if not self._may_go_again(error):
                    raise
                failure = error
        return await ado(self.answer_deed(step, failure))

    async def _try(self, question: Question) -> Any:
        """Async version of `Database._try`."""
        if self._is_pool:
            return await self._try_pooled(question, cast(Any, self.conn))
        async with self.lock:
            conn: Any = self.conn
            return await self._answered(conn, question) if self.place.knows(conn) else UNFIT

    async def _try_pooled(self, question: Question, pool: AsyncConnectionPool[Any]) -> Any:
        """Async version of `Database._try_pooled`."""
        conn = await self._take(pool)
        try:
            if pools.has_news(conn) or not self.place.knows(conn):
                return UNFIT
            found = await self._answered(conn, question)
            if conn.pgconn.transaction_status != IDLE and not conn.closed:
                await conn.commit()
        except BaseException:
            with suppress(psycopg.Error):
                await conn.rollback()
            raise
        else:
            return found
        finally:
            await self._give_back(pool, conn)

    async def _answered(self, conn: Any, question: Question) -> Any:
        """Async version of `Database._answered`."""
        if isinstance(question, Statement):
            return await self._execute(conn, question)
        if isinstance(question, Batch):
            return await self._execute_batch(conn, question)
        if question.atomic:
            return await ado(self._answer_on(question, conn))
        return await adrive(question.plan(), partial(self._answered, conn))

    async def run_uncancelled(self, plan: Plan[T]) -> T:
        """Run *plan* for a task that nobody cancels: no step of it needs a shield of its own."""
        _uncancelled.set(True)
        return await self.run(plan)

    async def stream(self, plan: Plan[None]) -> AsyncIterator[Any]:
        """Async version of `Database.stream`."""
        while True:
            gives, value = await ado(self.advance_deed(plan, self.answer_deed))
            if not gives:
                return
            yield value

    async def attempt(self, function: Callable[[], Awaitable[T]]) -> T:
        """Async version of `Database.attempt`."""
        return await ado(self.durably_deed(lambda: self._ready_and(function)))

    def _ready_and(self, function: Callable[[], Awaitable[T]]) -> Deed[T]:
        yield from self.ready_deed()
        return cast(T, (yield function))

    async def setup(self, *, citus: bool = False) -> None:
        """Async version of `Database.setup`."""
        await ado(self.setup_deed(citus=citus))

    async def ready(self) -> None:
        """Async version of `Database.ready`."""
        await ado(self.ready_deed())

    async def close(self) -> None:
        """Async version of `Database.close`."""
        if self._is_forked:
            return
        self.refuse_other_loop()
        await self._close_pool()
        if self._source.server:
            self._source.server.release()

    async def _close_pool(self) -> None:
        if self._source.given is None:
            await cast(AsyncConnectionPool[Any], self.conn).close()

    def forked(self) -> None:
        """Note a fork: unusable in the child if anything was open, or held."""
        self._loop = None
        super().forked()

    # --- Its event loop ----------------------------------------------------------------------

    def refuse_others(self) -> None:
        """Raise in a process, or an event loop, other than that which opened it.

        Raises:
            SessionError: The process was forked from that which did.
            RuntimeError: It is another loop.
        """
        self.refuse_fork()
        self.refuse_other_loop()

    def refuse_other_loop(self) -> None:
        """Raise `RuntimeError` in an event loop other than that which opened it."""
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "this saver belongs to another event loop, as its connections do: make one in "
                "each loop"
            )

    def _belong_here(self) -> None:
        self._loop = asyncio.get_running_loop()

    def _belong_nowhere(self) -> None:
        self._loop = None

    # --- How it is done ----------------------------------------------------------------------

    def _make_locks(self) -> None:
        self._opening = asyncio.Lock()
        self._probing = asyncio.Lock()
        self._giving: set[asyncio.Task[None]] = set()

    async def _connect(self, conninfo: str, **options: Any) -> AsyncConnection[Any]:
        return await AsyncConnection.connect(conninfo, **options)

    async def _block(self, function: Callable[[], T]) -> T:
        return await asyncio.to_thread(function)

    async def _trouble(self, conn: AsyncConnection[Any]) -> psycopg.Error | None:
        return await pools.async_trouble(conn)

    async def _take(self, pool: AsyncConnectionPool[Any]) -> AsyncConnection[Any]:
        # A caller that is cancelled at the moment in which the pool hands it a connection, or
        # takes one back, would lose that for good.
        if _uncancelled.get():
            conn: AsyncConnection[Any] = await pool.getconn()
            return conn
        taking = asyncio.ensure_future(pool.getconn())
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(lambda taken: self._never_mind(pool, taken))
            raise

    def _never_mind(
        self, pool: AsyncConnectionPool[Any], taken: asyncio.Future[AsyncConnection[Any]]
    ) -> None:
        """Give back what came too late."""
        if not taken.cancelled() and taken.exception() is None:
            self._keep(pool.putconn(taken.result()))

    async def _give_back(self, pool: AsyncConnectionPool[Any], conn: AsyncConnection[Any]) -> None:
        giving = pool.putconn(conn)
        if _uncancelled.get():
            await giving
            return
        try:
            waits = giving.send(None)
        except StopIteration:  # As a rule there is nothing to wait for.
            return
        await asyncio.shield(self._keep(_rest(giving, waits)))

    def _keep(self, giving: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start *giving*, and hold the task to its end, as the loop does not."""
        task = asyncio.get_running_loop().create_task(giving)
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)
        return task

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait_until_done(self, future: Future[Any], seconds: float | None) -> None:
        """Async version of `Database.wait_until_done`."""
        await asyncio.wait([asyncio.wrap_future(future)], timeout=seconds)

    async def _call(self, call: Call) -> Any:
        answer = call()
        is_coroutine = inspect.iscoroutinefunction(call.function)
        return await answer if is_coroutine else answer

    async def _atomically(self, conn: AsyncConnection[Any], deed: Deed[T]) -> T:
        async with conn.transaction():
            return await ado(deed)

    async def _execute(self, conn: AsyncConnection[Any], statement: Statement) -> list[Any]:
        cursor = await _executed(conn, statement)
        if not statement.returns_rows:
            return []
        rows = await cursor.fetchall()
        if statement.often and statement.are_large(rows):
            cursors.forget(conn, statement.sql)
        return rows

    async def _execute_batch(self, conn: AsyncConnection[Any], batch: Batch) -> list[Any]:
        if self.pipe:
            for statement in batch.statements:
                cursor = await _executed(conn, statement)
            await self.pipe.sync()
        else:
            async with conn.pipeline() if pools.HAS_PIPELINE else conn.transaction():
                for statement in batch.statements:
                    cursor = await _executed(conn, statement)
        return await cursor.fetchall() if statement.returns_rows else []


async def _rest(begun: Coroutine[Any, Any, T], waits: Any) -> T:
    """Await the rest of a coroutine that has *begun*, and *waits* for something."""
    return await _resumed(begun, waits)


@coroutine
def _resumed(begun: Coroutine[Any, Any, T], waits: Any) -> Generator[Any, None, T]:
    yield waits
    return (yield from begun.__await__())


async def _executed(conn: AsyncConnection[Any], statement: Statement) -> psycopg.AsyncCursor[Any]:
    """Execute a statement, and return its cursor."""
    sql = statement.sql
    cursor: psycopg.AsyncCursor[Any] = cursors.cursor(conn, statement, sql)
    if isinstance(statement, ExecuteMany):
        await cursor.executemany(cursors.text(sql), statement.rows)
        return cursor
    params = statement.params
    if statement.often and cursors.are_large(params):
        cursors.forget(conn, sql)
    await cursor.execute(cursors.text(sql), params)
    return cursor
