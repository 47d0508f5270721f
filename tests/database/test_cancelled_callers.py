"""Callers that are cancelled, as a server does when its clients go away."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from langgraph_sessions import AsyncSessionSaver
from tests.support import PATIENCE, config, graph_builder

SIZE = 4
ROUNDS = [pytest.param(20), pytest.param(200, marks=pytest.mark.long)]


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_cancelled_runs_leave_the_pool_whole(url: str, rounds: int) -> None:
    """After runs that were cancelled at any moment, all connections can be used side by side."""
    chance = random.Random(rounds)
    async with AsyncSessionSaver(url, pool_size=SIZE) as saver:
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


async def side_by_side(saver: AsyncSessionSaver) -> None:
    """Use as many connections at once as the pool may have."""
    pool: Any = saver._database.conn
    lent = [await pool.getconn(timeout=PATIENCE) for _ in range(SIZE)]
    for conn in lent:
        await conn.execute("SELECT 1")
        await pool.putconn(conn)
