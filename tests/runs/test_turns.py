"""A run's saves go one at a time."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from langgraph_sessions.runs.turns import Turns
from tests.support import PATIENCE


def test_saves_go_one_at_a_time() -> None:
    """However many threads save at once, one is in its turn, and the others are to come."""
    turns, begun, end, inside = Turns(), threading.Event(), threading.Event(), [0]

    def save() -> int:
        with turns.turn():
            inside[0] += 1
            begun.set()
            assert end.wait(PATIENCE)
            found = inside[0]
            inside[0] -= 1
            return found

    with ThreadPoolExecutor(3) as pool:
        saves = [pool.submit(save) for _ in range(3)]
        assert begun.wait(PATIENCE)
        end.set()
        assert [each.result(PATIENCE) for each in saves] == [1, 1, 1]


async def test_tasks_go_one_at_a_time() -> None:
    """So it is with tasks, in the order in which they came."""
    turns, done = Turns(), list[str]()

    async def save(name: str) -> None:
        async with turns.aturn():
            done.append(f"{name} begins")
            await asyncio.sleep(0)
            done.append(f"{name} ends")

    await asyncio.gather(save("a"), save("b"))
    assert done == ["a begins", "a ends", "b begins", "b ends"]


def test_saves_that_wait_go_side_by_side_once_one_has_failed() -> None:
    """While the database is away each is given up in its own time, not after all before it."""
    turns, both = Turns(), threading.Barrier(2)

    def save() -> None:
        with turns.turn():
            both.wait(PATIENCE)

    def fail(pool: ThreadPoolExecutor, waiting: list[Future[None]]) -> None:
        with turns.turn():
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
    turns, both = Turns(), asyncio.Barrier(2)

    async def save() -> None:
        async with turns.aturn():
            await both.wait()

    async def fail(group: asyncio.TaskGroup) -> None:
        async with turns.aturn():
            for _ in range(2):
                group.create_task(save())
            await asyncio.sleep(0)  # They begin to wait.
            raise ZeroDivisionError

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        with pytest.raises(ZeroDivisionError):
            await fail(group)


def test_a_config_with_a_run_can_be_copied() -> None:
    """What a run holds can be copied and pickled, as nodes do with their configs, also in a turn.

    The copy's turns are its own.
    """
    turns = Turns()
    with turns.turn():
        for other in (copy.deepcopy(turns), pickle.loads(pickle.dumps(turns))):
            with other.turn():
                assert isinstance(other, Turns)
