"""Async version of `database.database`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import psycopg
from psycopg_pool import AsyncConnectionPool

from langgraph_sessions.database import failures
from langgraph_sessions.database.aio_connections import AsyncConnections, aresult
from langgraph_sessions.database.database import Unrepeatable, one_step
from langgraph_sessions.database.pools import endpoint
from langgraph_sessions.errors import ConcurrentRunError
from langgraph_sessions.outage.journal import Entry
from langgraph_sessions.outage.memory import Memory
from langgraph_sessions.outage.sessions import refuse
from langgraph_sessions.outage.state import AWAY, HERE, RETURNING
from langgraph_sessions.plans import (
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


class AsyncDatabase(AsyncConnections):
    """Async version of `Database`."""

    _closing = False
    _recovery: asyncio.Task[None] | None = None

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

        return await self.either(durably, lambda memory: memory.sessions.answer(step))

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
                try:
                    if self.pipe:
                        await self.pipe.sync()
                    async with conn.transaction():
                        return await aresult(conn, plan)
                except psycopg.Error as error:
                    raise Unrepeatable from error

        return await self.either(durably, refuse)

    async def attempt(self, function: Callable[[], Awaitable[T]]) -> T:
        """Async version of `Database.attempt`."""
        self.refuse_others()
        if self._outage.state == AWAY:
            raise psycopg.OperationalError(f"the database is away: {self._outage.error}")
        failure: psycopg.Error | None = None
        until = 0.0
        for pause in failures.pauses():
            # Where no server answered last time, the pool would only be waited for.
            if (failure is None and self._reached) or await self._reaches(failure):
                try:
                    return await function()
                except psycopg.Error as error:
                    if not self._is_pool or not failures.is_broken(error):
                        raise
                    failure = error
            failure = failure or psycopg.OperationalError("the database does not answer")
            # From the first failure on: waiting for a free connection is none.
            until = until or time.monotonic() + self._outage.retry_for
            if self._outage.state == AWAY or time.monotonic() + pause > until:
                raise failure
            await asyncio.sleep(pause)
        raise AssertionError

    # --- Outages -----------------------------------------------------------------------------

    async def either(self, durably: Callable[[], Awaitable[T]], held: Callable[[Memory], T]) -> T:
        """Async version of `Database.either`."""
        self.refuse_others()
        while True:
            if not self._settled.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._settled.wait(), self._outage.retry_for)
            if self._outage.state != HERE:
                return held(self._outage.memory)
            try:
                return await self.attempt(durably)
            except Unrepeatable as unrepeatable:
                raise cast(psycopg.Error, unrepeatable.__cause__) from None
            except psycopg.Error as error:
                if not await self._goes_away(error):
                    raise

    async def _goes_away(self, error: psycopg.Error) -> bool:
        if not (self._outage.holds and self._is_pool and failures.is_broken(error)):
            return False
        if self._closing:
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
        try:
            for pause in failures.pauses():
                await asyncio.sleep(pause)
                if await self._returns():
                    return
        except asyncio.CancelledError:
            if not self._closing:  # The loop ends, and nobody closed this.
                if not await self._returns():
                    self._outage.lose()
                await self._close_pool()
            raise

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
            if self._outage.state == RETURNING:  # Cancelled in the middle.
                self._outage.state = AWAY
            self._settled.set()

    async def _write(self, entry: Entry) -> None:
        try:
            if not await self._write_or_move(entry):
                self._outage.wrote()
        except Exception as error:
            if failures.is_passing(error):
                raise
            self._outage.refused(error)

    async def _write_or_move(self, entry: Entry) -> bool:
        try:
            if entry.write is None:
                await self.run_durably(one_step(entry.item))
            else:
                await entry.write(entry.item)
        except ConcurrentRunError:
            move = self._outage.memory.move(entry.item, self.thread_id_factory)
            await self.run_durably(move)
            return True
        return False

    async def _close_pool(self) -> None:
        if self._source.given is None:
            await cast(AsyncConnectionPool[Any], self.conn).close()

    async def close(self) -> None:
        """Async version of `Database.close`."""
        if self._is_forked:
            return
        self.refuse_other_loop()
        self._closing = True
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
            self._recovery = None
            if not self.durable and not await self._returns():
                self._outage.lose()
        await self._close_pool()
        if self._source.server:
            self._source.server.release()
