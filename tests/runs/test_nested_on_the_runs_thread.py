"""Graphs called inside a run on its own thread: part of it, as with LangGraph's own saver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START
from langgraph.types import Command, interrupt

from langgraph_sessions import AsyncSessionSaver, ConcurrentRunError, SessionSaver
from tests.graphs import DURABILITIES, chain, says
from tests.runs import nesting
from tests.runs.nesting import does, history, inner
from tests.savers.saved import Connection, namespaces
from tests.support import Chat, config, texts

HI = {"messages": ["hi"]}
METHODS = ["invoke", "update_state", "get_state", "get_state_history"]


def calling(chat: Chat, method: str, where: Any) -> Any:
    """Return a graph whose first node calls *method* of another, and says what came of it."""
    called = inner(chat)

    def told(result: Any) -> str:
        return str(texts(result)) if hasattr(result, "values") else str(len(result))

    async def aact(_: Any) -> str:
        if method == "get_state_history":
            return told([state async for state in called.aget_state_history(where)])
        if method == "update_state":
            return str(len(await called.aupdate_state(where, HI, "shallow")))
        return told(await getattr(called, f"a{method}")(*([HI] * (method == "invoke")), where))

    def act(_: Any) -> str:
        if method == "get_state_history":
            return told(list(called.get_state_history(where)))
        if method == "update_state":
            return str(len(called.update_state(where, HI, "shallow")))
        return told(getattr(called, method)(*([HI] * (method == "invoke")), where))

    first = nesting.acting(chat, aact if chat.is_async else act)
    return chat.compile(chain(outer=first, after=says("after")))


async def outcome(chat: Chat, who: dict[str, Any], method: str, durability: str) -> Any:
    """Return what two turns of such a graph leave."""
    place = {"thread_id": f"{method} {durability} {len(who)}"}
    found = []
    for more in ({}, {"checkpoint_ns": ""}):
        graph = calling(chat, method, config(**place, **more))
        for text in ("one", "two"):
            given, where = {"messages": [text]}, config(**who, **place)
            ended = await chat.call(graph, "invoke", given, where, durability=durability)
            found.append(texts(ended)[-1])
    return [*found, *(await history(chat, graph, config(**who, **place)))]


@pytest.mark.parametrize("method", METHODS)
async def test_all_is_as_with_langgraphs_saver(ours: Chat, plain: Chat, method: str) -> None:
    """Runs, updates and reads by the run's thread id are saved as there, step by step."""
    user = {"user_id": "alice"}
    for durability in ("sync", "exit"):
        expected = await outcome(plain, {}, method, durability)
        assert await outcome(ours, user, method, durability) == expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_the_run_goes_on(ours: Chat, method: str, durability: str) -> None:
    """Nothing of it is taken for another run, and its session stays the only one, and current."""
    await outcome(ours, {"user_id": "alice"}, method, durability)
    (session,) = await ours.sessions()
    assert session.thread_id == f"{method} {durability} 1"
    await ours.say("three", user_id="alice")


def side_by_side(chat: Chat, where: Any) -> Any:
    """Return a graph with three nodes in parallel, each of which runs another graph."""
    called = inner(chat)
    node = nesting.acting(chat, lambda _: does(chat, "invoke", called, HI, where))
    builder = chain(left=node)
    for name in ("middle", "right"):
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return chat.compile(builder)


@pytest.mark.parametrize("place", [{}, {"thread_id": "outer"}], ids=repr)
async def test_graphs_called_side_by_side_are_no_conflict(
    ours: Chat, db: Connection, place: dict[str, Any]
) -> None:
    """Nodes in parallel may each run a graph on the run's thread: all of it is one run."""
    graph = side_by_side(ours, config(**place) if place else None)
    for number in (1, 2):
        state = await ours.say("hello", graph, user_id="alice", thread_id="outer")
        assert len(texts(state)) >= 4 * number
    assert namespaces(db).keys() == {"outer"}


async def test_what_is_called_two_levels_deep_finds_the_outermost_thread(
    ours: Chat, db: Connection
) -> None:
    """A graph inside one with a thread of its own may be on the outermost run's."""
    innermost = inner(ours)
    back = config(thread_id="outer")
    middle = nesting.node(ours, lambda _: does(ours, "invoke", innermost, HI, back))
    aside = config(thread_id="middle")
    outer = nesting.node(ours, lambda _: does(ours, "invoke", middle, HI, aside))
    for _ in range(2):
        await ours.say("one", outer, user_id="alice", thread_id="outer")
    owners = {session.thread_id: session.user_id for session in await ours.sessions()}
    assert owners == {"outer": "alice", "middle": "alice"}
    assert namespaces(db) == {"outer": {""}, "middle": {""}}


async def test_a_title_given_inside_is_the_sessions(ours: Chat) -> None:
    """A graph inside a run may name its session, by the run's thread id and without it."""
    called = inner(ours)
    for place in ({}, {"thread_id": "outer"}):
        where = config(user_id="alice", title=f"Named {len(place)}", **place)
        outer = nesting.node(ours, lambda _, where=where: does(ours, "invoke", called, HI, where))
        await ours.say("one", outer, user_id="alice", thread_id="outer")
        (session,) = await ours.sessions()
        assert session.title == f"Named {len(place)}"


async def test_a_question_asked_inside_is_answered(ours: Chat) -> None:
    """A graph that inherits the run's thread asks through it, and the answer reaches it."""

    def ask(_: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(f"You said {interrupt('Why?')}")]}

    called = chain(ask=ask).compile()

    async def aact(_: Any) -> str:
        return texts(await called.ainvoke(HI))[-1]

    outer = nesting.node(ours, aact if ours.is_async else lambda _: texts(called.invoke(HI))[-1])
    where = config(user_id="alice")
    assert (await ours.call(outer, "invoke", HI, where))["__interrupt__"]
    ended = await ours.call(outer, "invoke", Command(resume="because"), where)
    assert texts(ended) == ["hi", "You said because"]


async def test_another_run_is_noticed_by_a_run_with_graphs_inside(ours: Chat) -> None:
    """What is inside a run hides no other: the run that was overtaken is refused."""
    called, met, go = inner(ours), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    place = config(thread_id="outer")

    async def other() -> None:
        met.set()
        await go.wait()

    async def aact(_: Any) -> int:
        await other()
        return len(await called.ainvoke(HI, place))

    def act(_: Any) -> int:
        asyncio.run_coroutine_threadsafe(other(), loop).result()
        return len(called.invoke(HI, place))

    outer = nesting.node(ours, aact if ours.is_async else act)
    given = (outer, "invoke", HI, config(user_id="alice", thread_id="outer"))
    run = asyncio.create_task(ours.call(*given, durability="sync"))
    await met.wait()
    await ours.say("two", user_id="alice", thread_id="outer")
    go.set()
    with pytest.raises(ConcurrentRunError):
        await run
    (session,) = await ours.sessions()
    assert await ours.history(session) == ["hi", "two", "2 so far"]


@pytest.fixture
async def twin(kind: str, url: str) -> AsyncIterator[Any]:
    """Another saver on the same database."""
    if kind == "async":
        async with AsyncSessionSaver(url) as saver:
            yield saver
    else:
        with SessionSaver(url) as saver:
            yield saver


async def test_a_graph_with_another_saver_is_part_of_the_run_too(ours: Chat, twin: Any) -> None:
    """What tells is the database, not the object: another saver on it is no other run."""
    called = inner(ours, checkpointer=twin)
    where = config(thread_id="outer")
    outer = nesting.node(ours, lambda _: does(ours, "invoke", called, HI, where))
    for _ in range(2):
        given = (outer, "invoke", HI, config(user_id="alice", thread_id="outer"))
        await ours.call(*given, durability="sync")
    assert len(await ours.sessions()) == 1


async def test_a_graph_on_another_database_is_on_a_thread_there(
    ours: Chat, empty_url: str, kind: str
) -> None:
    """The run's thread id in another database is another thread, and there it is the user's."""
    async with nesting.talking(kind, empty_url) as elsewhere:
        called = inner(elsewhere)
        where = config(thread_id="outer")
        outer = nesting.node(ours, lambda _: does(ours, "invoke", called, HI, where))
        for _ in range(2):
            await ours.say("one", outer, user_id="alice", thread_id="outer")
        (session,) = await elsewhere.sessions()
        said = texts(await elsewhere.call(called, "get_state", session.config))
        assert said == ["hi", "1 inside", "hi", "3 inside"]
