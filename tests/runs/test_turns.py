"""A run's saves go one at a time."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pytest

from langgraph_sessions.plans import called
from langgraph_sessions.runs.turns import Turns
from tests.runs.saves import acarried_out, carried_out
from tests.support import PATIENCE

T = TypeVar("T")


def turn(turns: Turns, save: Callable[[], T]) -> T:
    """Have *save* called in its turn."""
    return turns.turn(called(save), carried_out, lambda asked: None)


async def aturn(turns: Turns, save: Callable[[], Any]) -> Any:
    """Have *save* called in its turn, and awaited."""
    return await turns.aturn(called(save), acarried_out, lambda asked: None)


def test_saves_go_one_at_a_time() -> None:
    """However many threads save at once, one is in its turn, and the others are to come."""
    turns, begun, end, inside = Turns(), threading.Event(), threading.Event(), [0]

    def save() -> int:
        inside[0] += 1
        begun.set()
        assert end.wait(PATIENCE)
        found = inside[0]
        inside[0] -= 1
        return found

    with ThreadPoolExecutor(3) as pool:
        saves = [pool.submit(turn, turns, save) for _ in range(3)]
        assert begun.wait(PATIENCE)
        end.set()
        assert [each.result(PATIENCE) for each in saves] == [1, 1, 1]


async def test_tasks_go_one_at_a_time() -> None:
    """So it is with tasks, in the order in which they came."""
    turns, done = Turns(), list[str]()

    async def save(name: str) -> None:
        done.append(f"{name} begins")
        await asyncio.sleep(0)
        done.append(f"{name} ends")

    await asyncio.gather(*(aturn(turns, partial(save, name)) for name in "ab"))
    assert done == ["a begins", "a ends", "b begins", "b ends"]


def test_no_save_begins_while_their_turns_are_held() -> None:
    """What is no save waits for the one under way, and the next ones wait for it."""
    turns, begun, end = Turns(), threading.Event(), threading.Event()
    done = list[str]()

    def save() -> None:
        begun.set()
        assert end.wait(PATIENCE)
        done.append("save")

    def hold() -> None:
        release = turns.hold()
        done.append("held")
        later.append(pool.submit(turn, turns, lambda: done.append("later")))
        done.append("released")
        release()

    with ThreadPoolExecutor(3) as pool:
        later: list[Future[None]] = []
        saving = pool.submit(turn, turns, save)
        assert begun.wait(PATIENCE)
        holding = pool.submit(hold)
        end.set()
        for each in (saving, holding):
            each.result(PATIENCE)
        later[0].result(PATIENCE)
    assert done == ["save", "held", "released", "later"]


async def test_no_task_saves_while_their_turns_are_held() -> None:
    """So it is with tasks."""
    turns, done = Turns(), list[str]()

    async def save() -> None:
        done.append("save")

    release = await turns.ahold()
    saving = asyncio.create_task(aturn(turns, save))
    await asyncio.sleep(0)
    done.append("released")
    release()
    await saving
    assert done == ["released", "save"]


def test_saves_that_wait_go_side_by_side_once_one_has_failed() -> None:
    """While the database is away each is given up in its own time, not after all before it."""
    turns, both = Turns(), threading.Barrier(2, timeout=PATIENCE)

    def fail() -> None:
        waiting.extend(pool.submit(turn, turns, both.wait) for _ in range(2))
        raise ZeroDivisionError

    with ThreadPoolExecutor(2) as pool:
        waiting: list[Future[int]] = []
        with pytest.raises(ZeroDivisionError):
            turn(turns, fail)
        for each in waiting:
            each.result()


async def test_tasks_that_wait_go_side_by_side_once_one_has_failed() -> None:
    """So it is with tasks."""
    turns, both = Turns(), asyncio.Barrier(2)

    async def fail() -> None:
        for _ in range(2):
            group.create_task(aturn(turns, both.wait))
        await asyncio.sleep(0)  # They begin to wait.
        raise ZeroDivisionError

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        with pytest.raises(ZeroDivisionError):
            await aturn(turns, fail)


def test_a_config_with_a_run_can_be_copied() -> None:
    """What a run holds can be copied and pickled, as nodes do with their configs, also in a turn.

    The copy's turns are its own.
    """
    turns = Turns()

    def save() -> list[Turns]:
        copies = [copy.deepcopy(turns), pickle.loads(pickle.dumps(turns))]
        return [turn(other, lambda other=other: other) for other in copies]

    assert [type(other) for other in turn(turns, save)] == [Turns, Turns]
