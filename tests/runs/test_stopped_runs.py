"""A run that was stopped is over: the next message of its session is never refused for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.graphs import DURABILITIES
from tests.runs import stopping
from tests.runs.stopping import WHOLE, Caller, Invoker, Stop, SyncCaller, Tries, assert_faithful
from tests.slow import slow_commits
from tests.support import asking, config, graph_builder, texts

TRIES = pytest.mark.parametrize(
    "tries", [20, pytest.param(200, marks=pytest.mark.long)], ids=["short", "long"]
)
Saver = SessionSaver | AsyncSessionSaver
# How a user is served, and stops.
Way = tuple[type[Saver], type[Caller], Stop]

WAYS: dict[str, Way] = {
    "task.cancel": (AsyncSessionSaver, Invoker, stopping.cancelled),
    "task.cancel of a stream": (AsyncSessionSaver, Caller, stopping.cancelled),
    "asyncio.timeout": (AsyncSessionSaver, Invoker, stopping.timed_out),
    "anyio.move_on_after": (AsyncSessionSaver, Caller, stopping.moved_on),
    "aclose": (AsyncSessionSaver, Caller, stopping.closed),
    "break": (AsyncSessionSaver, Caller, stopping.left),
    "break, kept": (AsyncSessionSaver, Caller, stopping.kept),
    "sync break": (SessionSaver, SyncCaller, stopping.sync_left),
    "sync break, kept": (SessionSaver, SyncCaller, stopping.sync_kept),
    "threads, task.cancel": (SessionSaver, Invoker, stopping.cancelled),
    "threads, break": (SessionSaver, Caller, stopping.left),
}
# What goes on beside whoever says the next thing, and so meets it.
BESIDE = ["task.cancel", "anyio.move_on_after", "break, kept", "sync break, kept"]
# After these, nothing of the run is at work.
OVER = [name for name in WAYS if not name.endswith("kept")]


def ways(*names: str) -> pytest.MarkDecorator:
    """Return what runs a test for each of these ways."""
    params = [pytest.param(WAYS[name], id=name) for name in names]
    return pytest.mark.parametrize("way", params)


@asynccontextmanager
async def opened(kind: type[Saver], url: str) -> AsyncIterator[Any]:
    """A saver of that kind, closed after the block when all that it was given has ended."""
    loop, saver = asyncio.get_running_loop(), kind(url)
    threads = ThreadPoolExecutor()
    loop.set_default_executor(threads)
    if isinstance(saver, AsyncSessionSaver):
        await saver.setup()
    before = asyncio.all_tasks()  # The pool's workers among them.
    try:
        yield saver
        if begun := asyncio.all_tasks() - before:
            await asyncio.wait(begun)
        threads.shutdown()
    finally:
        loop.set_default_executor(ThreadPoolExecutor())
        if isinstance(saver, AsyncSessionSaver):
            await saver.close()
        else:
            saver.close()


@ways(*WAYS)
@TRIES
async def test_the_next_message_is_not_refused(url: str, way: Way, tries: int) -> None:
    """At whatever moment a turn is stopped: what was saved stays, and no answer is doubled."""
    kind, calls, stop = way
    slow_commits(url)
    all_tries = Tries(tries)
    async with opened(kind, url) as saver:
        builder = stopping.answering(all_tries.chance, is_async=calls.is_async)
        graph = builder.compile(checkpointer=saver)

        async def talk(durability: str) -> None:
            for number in range(tries):
                caller = calls(graph, durability, f"{durability}-{number}")
                await all_tries.one(caller, stop)

        await asyncio.gather(*map(talk, DURABILITIES))
    assert all_tries.refused == {}
    await assert_faithful(url, all_tries.users)


@ways(*BESIDE)
@TRIES
async def test_from_another_process_it_is_heard_when_all_is_saved(
    url: str, way: Way, tries: int
) -> None:
    """Another saver is refused at most while the database receives what was under way."""
    kind, calls, stop = way
    slow_commits(url)
    all_tries = Tries(tries)
    async with opened(kind, url) as saver, opened(AsyncSessionSaver, url) as other:
        builder = stopping.answering(all_tries.chance, is_async=calls.is_async)
        graph = builder.compile(checkpointer=saver)
        elsewhere = stopping.answering(all_tries.chance).compile(checkpointer=other)

        async def talk(durability: str) -> None:
            for number in range(tries):
                who = durability, f"{durability}-{number}"
                await all_tries.one(calls(graph, *who), stop, Invoker(elsewhere, *who))

        await asyncio.gather(*map(talk, DURABILITIES))
    print(f"refused at first: {dict(all_tries.refused)} of {tries}")
    await assert_faithful(url, all_tries.users)


async def stopped_in_mid_answer(url: str, way: Way) -> Any:
    """Stop one user's answer in its middle for each durability; return the graph's builder."""
    kind, calls, stop = way
    async with opened(kind, url) as saver:
        for durability in DURABILITIES:
            moment = asyncio.Event()
            builder = stopping.answering(random.Random(1), moment.set, is_async=calls.is_async)
            caller = calls(builder.compile(checkpointer=saver), durability, durability)
            await caller.say("one")
            await stop(caller, "two", moment)
    return builder


# LangGraph saves no error for a lone task of `ainvoke` that is cancelled, nor in threads.
@ways(*OVER)
async def test_a_session_whose_answer_was_stopped_is_idle(url: str, way: Way) -> None:
    """Nothing failed, and what was said is kept."""
    builder = await stopped_in_mid_answer(url, way)
    async with AsyncSessionSaver(url) as saver:
        graph = builder.compile(checkpointer=saver)
        for session in await saver.sessions.list_sessions():
            said = texts(await graph.aget_state(session.config))
            # With "exit", all of a run is saved or nothing.
            assert said[:3] == WHOLE[:3] or (session.user_id == "exit" and said == WHOLE[:2])
            assert session.status == "idle"


@ways(*OVER)
async def test_a_session_whose_answer_was_stopped_can_be_purged(
    url: str, db: psycopg.Connection[Any], way: Way
) -> None:
    """It waits for nothing: a purge takes it as any other that is old enough."""
    await stopped_in_mid_answer(url, way)
    db.execute(
        "UPDATE checkpoints SET checkpoint ="
        " checkpoint || jsonb_build_object('ts', now() - interval '40 days')"
    )
    async with AsyncSessionSaver(url) as saver:
        counts = await saver.sessions.purge_sessions(active=True)
    assert counts == {"purged": len(DURABILITIES), "kept": 0}


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("kind", [AsyncSessionSaver, SessionSaver])
async def test_who_does_not_wait_for_the_stop_is_not_refused(
    url: str, kind: type[Saver], durability: Any
) -> None:
    """A cancelled run whose node cleans up may save more then: the next one lets it end."""
    entered, who = asyncio.Event(), config(user_id="alice")

    async def node(state: Any) -> dict[str, Any]:
        try:
            if not entered.is_set():
                entered.set()
                await asyncio.Event().wait()
            return {"messages": ["heard"]}
        finally:
            await asyncio.sleep(0.02)  # The time that it takes; nothing is awaited by it.

    async with opened(kind, url) as saver:
        graph = graph_builder(node).compile(checkpointer=saver)
        stopped = asyncio.create_task(
            graph.ainvoke({"messages": ["one"]}, who, durability=durability)
        )
        await entered.wait()
        stopped.cancel()
        said = await graph.ainvoke({"messages": ["two"]}, who, durability=durability)
        assert texts(said)[-2:] == ["two", "heard"]
        with pytest.raises(asyncio.CancelledError):
            await stopped


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_who_closes_the_saver_waits_for_what_stopped_runs_save(
    url: str, durability: Any
) -> None:
    """One save follows the other: none of them meets a pool that is closed."""
    slow_commits(url, 0.02)
    chance, before = random.Random(1), asyncio.all_tasks()
    builder = stopping.answering(chance)
    for number in range(6):
        async with AsyncSessionSaver(url) as saver:
            await saver.setup()
            graph = builder.compile(checkpointer=saver)
            users = [config(user_id=f"user-{number}-{each}") for each in range(8)]
            given = {"messages": ["one"]}
            runs = [graph.ainvoke(given, user, durability=durability) for user in users]
            stopped = [asyncio.create_task(run) for run in runs]
            await asyncio.wait(stopped, timeout=chance.random() * 0.3)
            for task in stopped:
                task.cancel()
            await asyncio.wait(stopped)
        left = asyncio.all_tasks() - before
        ended = await asyncio.gather(*left, return_exceptions=True)
        assert [error for error in ended if isinstance(error, Exception)] == []


def fails(state: Any) -> Any:
    """Fail as a node does."""
    raise LookupError


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_run_that_has_ended_goes_on_no_more(url: str, durability: Any) -> None:
    """Nobody waits for it, whatever it came to: an answer, a question, a failure."""
    with SessionSaver(url) as saver:
        hers = config(user_id="alice", thread_id="t")
        for builder in (graph_builder(), asking(), graph_builder(fails)):
            graph = builder.compile(checkpointer=saver)
            with suppress(LookupError):
                graph.invoke({"messages": ["one"]}, hers, durability=durability)
            assert not saver._under_way.goes_on("t")
