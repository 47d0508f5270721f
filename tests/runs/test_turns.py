"""A run's saves while its session is being made."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from langgraph_sessions.runs.making import Making
from tests.support import PATIENCE


def test_saves_that_wait_go_side_by_side_once_one_has_failed() -> None:
    """While the database is away each is given up in its own time, not after all before it."""
    making, both = Making(), threading.Barrier(2)

    def save() -> None:
        with making.turn():
            both.wait(PATIENCE)

    def fail(pool: ThreadPoolExecutor, waiting: list[Future[None]]) -> None:
        with making.turn():
            waiting += [pool.submit(save) for _ in range(2)]
            raise ZeroDivisionError

    with ThreadPoolExecutor(2) as pool:
        waiting: list[Future[None]] = []
        with pytest.raises(ZeroDivisionError):
            fail(pool, waiting)
        for each in waiting:
            each.result()


async def test_tasks_that_wait_go_side_by_side_once_one_has_failed() -> None:
    """So it is with tasks."""
    making, both = Making(), asyncio.Barrier(2)

    async def save() -> None:
        async with making.aturn():
            await both.wait()

    async def fail(group: asyncio.TaskGroup) -> None:
        async with making.aturn():
            for _ in range(2):
                group.create_task(save())
            await asyncio.sleep(0)  # They begin to wait.
            raise ZeroDivisionError

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        with pytest.raises(ZeroDivisionError):
            await fail(group)


@pytest.mark.parametrize("over", [False, True])
def test_a_config_with_a_run_can_be_copied(over: bool) -> None:
    """What a run holds can be copied and pickled, as nodes do with their configs."""
    making = Making(over=over)
    assert copy.deepcopy(making).over == pickle.loads(pickle.dumps(making)).over == over
