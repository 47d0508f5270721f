"""Runs of one session at once: none that reports success loses a word, over processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from langgraph_sessions import AsyncSessionSaver, ConcurrentRunError, SessionSaver
from tests.answering import FORKING, answering
from tests.support import PATIENCE, config, texts

WORKERS, RUNS_EACH = 4, 4
ROUNDS = pytest.mark.parametrize(
    "rounds", [3, pytest.param(100, marks=pytest.mark.long)], ids=["short", "long"]
)
SAVERS = pytest.mark.parametrize("kind", ["sync", "async"])

DONE, REFUSED = "done", "refused"
Outcomes = dict[str, str]


def said(worker: int, number: int) -> list[str]:
    """Return what a worker says in a round, each in a run of its own."""
    return [f"{number}.{worker}.{run}" for run in range(RUNS_EACH)]


def sync_share(url: str, mode: str, rounds: int, worker: int, start: Any) -> Outcomes:
    """Start a worker's runs at once, in threads, in every round."""
    outcomes = Outcomes()
    with ExitStack() as stack:
        runs = "allow" if mode == "allow" else "reject"
        saver = stack.enter_context(SessionSaver(url, pool_size=RUNS_EACH, concurrent_runs=runs))
        pool = stack.enter_context(ThreadPoolExecutor(RUNS_EACH))
        graph = answering().compile(checkpointer=saver)
        saver.sessions.count_sessions()

        def run(user: str, text: str) -> None:
            with ExitStack() as turn:
                if mode == "exclusive":
                    turn.enter_context(saver.sessions.exclusive(user))
                try:
                    graph.invoke({"messages": [text]}, config(user_id=user))
                except ConcurrentRunError:
                    outcomes[text] = REFUSED
                else:
                    outcomes[text] = DONE

        for number in range(rounds):
            start.wait(PATIENCE)
            list(pool.map(run, [f"user-{number}"] * RUNS_EACH, said(worker, number)))
    return outcomes


async def async_share(url: str, mode: str, rounds: int, worker: int, start: Any) -> Outcomes:
    """Start a worker's runs at once, as coroutines, in every round."""
    outcomes = Outcomes()
    runs = "allow" if mode == "allow" else "reject"
    async with AsyncSessionSaver(url, pool_size=RUNS_EACH, concurrent_runs=runs) as saver:
        graph = answering().compile(checkpointer=saver)
        await saver.sessions.count_sessions()

        async def run(user: str, text: str) -> None:
            async with AsyncExitStack() as turn:
                if mode == "exclusive":
                    await turn.enter_async_context(saver.sessions.exclusive(user))
                try:
                    await graph.ainvoke({"messages": [text]}, config(user_id=user))
                except ConcurrentRunError:
                    outcomes[text] = REFUSED
                else:
                    outcomes[text] = DONE

        for number in range(rounds):
            await asyncio.to_thread(start.wait, PATIENCE)
            await asyncio.gather(*(run(f"user-{number}", text) for text in said(worker, number)))
    return outcomes


class Worker:
    """What a worker process knows from its start: where all of them begin a round."""

    start: Any

    @classmethod
    def begin(cls, start: Any) -> None:
        cls.start = start


def share(kind: str, *args: Any) -> Outcomes:
    """Do a worker's part; if it fails, the others do not wait for it."""
    try:
        if kind == "sync":
            return sync_share(*args, Worker.start)
        return asyncio.run(async_share(*args, Worker.start))
    except BaseException:
        Worker.start.abort()
        raise


Compete = Callable[..., Outcomes]


@pytest.fixture(scope="module")
def compete() -> Iterator[Compete]:
    """A function that has every worker process do its share, and returns all outcomes."""
    start = FORKING.Barrier(WORKERS)
    with ProcessPoolExecutor(WORKERS, FORKING, Worker.begin, (start,)) as pool:

        def together(kind: str, url: str, mode: str, rounds: int) -> Outcomes:
            start.reset()
            shares = [
                pool.submit(share, kind, url, mode, rounds, worker) for worker in range(WORKERS)
            ]
            return {text: how for share in shares for text, how in share.result().items()}

        yield together


def begun(url: str, rounds: int) -> None:
    """Say something in every second round's session, so that it is not the runs' to make."""
    with SessionSaver(url) as saver:
        graph = answering().compile(checkpointer=saver)
        for number in range(0, rounds, 2):
            graph.invoke({"messages": ["first"]}, config(user_id=f"user-{number}"))


def histories(url: str, rounds: int) -> list[list[str]]:
    """Return the texts of every round's session."""
    with SessionSaver(url) as saver:
        graph = answering().compile(checkpointer=saver)
        found = []
        for number in range(rounds):
            (session,) = saver.sessions.list_sessions(f"user-{number}")
            found.append(texts(graph.get_state(session.config)))
        return found


def in_round(number: int, outcomes: Outcomes, how: str) -> list[str]:
    """Return what was said in a round by the runs that ended so."""
    return [text for text in outcomes if text.startswith(f"{number}.") and outcomes[text] == how]


@SAVERS
@ROUNDS
def test_with_reject_a_run_that_succeeds_is_kept_and_any_other_raises(
    url: str, compete: Compete, kind: str, rounds: int
) -> None:
    """Of 16 runs at once some succeed, and the history is theirs alone, every word once."""
    begun(url, rounds)
    outcomes = compete(kind, url, "reject", rounds)
    assert len(outcomes) == rounds * WORKERS * RUNS_EACH
    for number, history in enumerate(histories(url, rounds)):
        kept, refused = (in_round(number, outcomes, how) for how in (DONE, REFUSED))
        assert kept
        counts = Counter(history)
        assert {text: counts[text] for text in kept} == dict.fromkeys(kept, 1)
        assert {text: counts[f"re {text}"] for text in kept} == dict.fromkeys(kept, 1)
        left = [text for text in refused if counts[text]]
        print(f"round {number}: {len(kept)} succeeded, {len(left)} refused ones left a message")


@SAVERS
@ROUNDS
def test_with_exclusive_all_runs_succeed(
    url: str, compete: Compete, kind: str, rounds: int
) -> None:
    """16 runs that ask for the session all have it, one after another, and all is kept."""
    begun(url, rounds)
    outcomes = compete(kind, url, "exclusive", rounds)
    for number, history in enumerate(histories(url, rounds)):
        kept = in_round(number, outcomes, DONE)
        assert len(kept) == WORKERS * RUNS_EACH
        turns = list(zip(history[::2], history[1::2], strict=True))
        expected = [*(["first"] if number % 2 == 0 else []), *kept]
        assert sorted(turns) == sorted((text, f"re {text}") for text in expected)


@SAVERS
@ROUNDS
def test_with_allow_no_run_raises(url: str, compete: Compete, kind: str, rounds: int) -> None:
    """As in plain LangGraph all 16 runs report success, and one of them has the last word."""
    begun(url, rounds)
    outcomes = compete(kind, url, "allow", rounds)
    assert Counter(outcomes.values()) == {DONE: rounds * WORKERS * RUNS_EACH}
    for number, history in enumerate(histories(url, rounds)):
        assert {text.removeprefix("re ") for text in history} & set(
            in_round(number, outcomes, DONE)
        )
