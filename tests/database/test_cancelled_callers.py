"""Callers that are cancelled, as a server does when its clients go away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.support import PATIENCE, config, graph_builder

SIZE = 4
ROUNDS = [pytest.param(20), pytest.param(200, marks=pytest.mark.long)]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("kind", [AsyncSessionSaver, SessionSaver])
async def test_cancelled_runs_leave_the_pool_whole(url: str, kind: Any, rounds: int) -> None:
    """After runs that were cancelled at any moment, all connections can be used side by side."""
    chance = random.Random(rounds)
    async with closing(kind(url, pool_size=SIZE)) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        await graph.ainvoke({"messages": ["warm"]}, config(user_id="warm"))

        async def cancelled(user_id: str) -> None:
            run = graph.ainvoke({"messages": ["hi"]}, config(user_id=user_id))
            task = asyncio.ensure_future(run)
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        for number in range(rounds):
            await asyncio.gather(*(cancelled(f"{number}-{each}") for each in range(12)))
        await side_by_side(saver)


@asynccontextmanager
async def closing(saver: AsyncSessionSaver | SessionSaver) -> AsyncIterator[Any]:
    """Close *saver* after the block."""
    try:
        yield saver
    finally:
        if isinstance(saver, AsyncSessionSaver):
            await saver.close()
        else:
            await asyncio.to_thread(saver.close)


async def side_by_side(saver: AsyncSessionSaver | SessionSaver) -> None:
    """Use as many connections at once as the pool may have."""
    pool: Any = saver._database.conn

    async def done(function: Any, *args: Any, **options: Any) -> Any:
        if isinstance(saver, AsyncSessionSaver):
            return await function(*args, **options)
        return await asyncio.to_thread(function, *args, **options)

    lent = [await done(pool.getconn, timeout=PATIENCE) for _ in range(SIZE)]
    for conn in lent:
        await done(conn.execute, "SELECT 1")
        await done(pool.putconn, conn)
