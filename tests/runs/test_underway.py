"""Saves under way: who begins meanwhile loads again, and who is cancelled leaves them to go on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest

from langgraph_sessions.runs.active import ActiveRun, pin
from langgraph_sessions.runs.underway import UnderWay, steps
from tests.plans import session
from tests.runs.saves import asave_in, running, save_in
from tests.support import PATIENCE, config, until


def on(run: ActiveRun) -> Any:
    """Return a config of the run."""
    return pin(config(user_id="alice"), run)


def another(thread_id: str) -> ActiveRun:
    """Return a run on another thread."""
    return replace(running(), session=session(thread_id=thread_id))


# --- Saves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [on(running()), config(thread_id="t")], ids=["run", "no run"])
def test_a_save_is_under_way_until_it_is_over(given: Any) -> None:
    """Whoever begins meanwhile finds it, and can wait for it."""
    under_way = UnderWay()

    def save() -> Future[None]:
        (found,) = under_way.saves("t")
        assert not found.done()
        assert under_way.saves("u") == []
        return found

    assert save_in(under_way, given, save).done()
    assert under_way.saves("t") == []


def test_a_save_that_fails_is_over_too() -> None:
    """Its error is the caller's."""
    under_way = UnderWay()
    with pytest.raises(ZeroDivisionError):
        save_in(under_way, on(running()), lambda: 1 // 0)
    assert under_way.saves("t") == []


def test_who_loads_is_told_what_was_saved_meanwhile() -> None:
    """The threads of saves that ended while it loaded: neither before nor after."""
    under_way = UnderWay()

    def save(thread_id: str) -> None:
        save_in(under_way, on(another(thread_id)), lambda: None)

    save("before")
    with under_way.loading() as outer:
        save("a")
        with under_way.loading() as inner:
            save("b")
        save("c")
    save("after")
    assert (outer, inner) == ({"a", "b", "c"}, {"b"})


async def test_a_save_goes_on_when_its_caller_is_cancelled() -> None:
    """It is under way until it is over, and whoever closes the saver waits for that."""
    under_way, begun, end, saved = UnderWay(), asyncio.Event(), asyncio.Event(), list[str]()

    async def save() -> None:
        begun.set()
        await end.wait()
        saved.append("t")

    caller = asyncio.create_task(asave_in(under_way, on(running()), save))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert len(under_way.saves("t")) == 1
    end.set()
    async with asyncio.timeout(PATIENCE):
        await under_way.end()
    assert (saved, under_way.saves("t")) == (["t"], [])


async def saving(under_way: UnderWay, numbers: Iterable[int], saved: list[int]) -> None:
    """Save one thing after the other, each some steps of the event loop after the last."""

    async def save(number: int) -> None:
        await steps()
        saved.append(number)

    for number in numbers:
        await asave_in(under_way, on(running()), partial(save, number))
        await asyncio.sleep(0)


async def test_what_a_stopped_run_saves_next_is_waited_for_too() -> None:
    """It begins when the save before it is over."""
    under_way, saved = UnderWay(), list[int]()
    stopped = asyncio.create_task(saving(under_way, range(3), saved))
    await under_way.end()
    assert saved == [0, 1, 2]
    await stopped


async def test_a_run_that_goes_on_is_not_waited_for_for_ever() -> None:
    """Whoever closes the saver meanwhile may."""
    under_way, saved = UnderWay(), list[int]()
    run = asyncio.create_task(saving(under_way, count(), saved))
    async with asyncio.timeout(PATIENCE):
        await under_way.end()
    assert saved
    run.cancel()


async def test_of_a_save_whose_caller_is_gone_nobody_hears_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A caller that waits is told; one that was cancelled is not, and the loop says nothing."""
    under_way, begun = UnderWay(), asyncio.Event()

    async def fail() -> None:
        begun.set()
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asave_in(under_way, on(running()), fail)
    begun.clear()
    caller = asyncio.create_task(asave_in(under_way, on(running()), fail))
    await begun.wait()
    caller.cancel()
    await under_way.end()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gc.collect()  # When it is found out that nobody asked for an error.
    assert caplog.records == []


async def test_saves_of_one_run_go_one_at_a_time_and_of_two_side_by_side() -> None:
    """A wide run takes one connection; another run does not wait for it."""
    under_way, both, run = UnderWay(), asyncio.Barrier(2), running()
    inside, most = [0], [0]

    async def save() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        await asyncio.sleep(0)
        inside[0] -= 1

    await asyncio.gather(*(asave_in(under_way, on(run), save) for _ in range(3)))
    assert most == [1]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(asave_in(under_way, on(running()), both.wait) for _ in range(2)))


# --- Runs ---------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_is_over_once_another_has_begun() -> None:
    """What it still saves is refused, not what the other one saves."""
    under_way, stopped, later = UnderWay(), running(), running()
    under_way.begin(stopped)
    under_way.stop(stopped)
    assert (stopped.is_stopped, stopped.claim.overtaken) == (True, False)
    under_way.begin(later)
    assert (stopped.claim.overtaken, later.claim.overtaken) == (True, False)


def test_a_run_that_is_stopped_after_another_has_begun_is_over_at_once() -> None:
    """LangGraph says of a stop when the caller has gone on."""
    under_way, stopped, later = UnderWay(), running(), running()
    under_way.begin(stopped)
    under_way.begin(later)
    under_way.stop(stopped)
    assert (stopped.claim.overtaken, later.claim.overtaken) == (True, False)


def test_a_run_that_was_stopped_may_save_while_nobody_else_has_begun() -> None:
    """What was said is not lost; nor is a run over by one on another thread."""
    under_way, stopped = UnderWay(), running()
    under_way.begin(stopped)
    under_way.begin(another("u"))
    under_way.stop(stopped)
    assert not stopped.claim.overtaken


def test_a_run_that_goes_on_is_not_over_when_another_begins() -> None:
    """It is the database that says which of the two saved first."""
    under_way, first, second = UnderWay(), running(), running()
    under_way.begin(first)
    under_way.begin(second)
    assert not first.claim.overtaken


async def test_who_goes_on_without_a_thread_id_waits_for_the_run_that_was_left() -> None:
    """Whatever it, or a job, began meanwhile on another thread of the user's, and has ended."""
    under_way, left = UnderWay(), [running()]
    under_way.begin(left[0])
    under_way.begin(replace(another("u"), makes_current=False))

    async def end() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        left.clear()

    ending = asyncio.create_task(end())
    await under_way.settle(config(user_id="alice"))
    assert left == []
    await ending


def test_runs_are_forgotten_with_their_configs() -> None:
    """A saver that lives for years holds no runs."""
    under_way = UnderWay()
    under_way.begin(running())
    until(lambda: not under_way._runs)
