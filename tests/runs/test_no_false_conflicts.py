"""Legal use of a session is never mistaken for a conflict: it does what plain LangGraph does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState
from langgraph.types import Command
from psycopg.conninfo import make_conninfo

from langgraph_sessions import SessionSaver
from tests.graphs import DURABILITIES, answers, chain, says
from tests.support import Chat, config, graph_builder, texts

pytestmark = pytest.mark.server

OURS = config(user_id="alice", thread_id="outer")


# --- Ways to use a thread ------------------------------------------------------------------------


class Thread:
    """A thread of a graph of two nodes, and what can be done to it."""

    def __init__(self, chat: Chat, saver: Any, durability: str) -> None:
        """Compile the graph."""
        self.chat, self.durability = chat, durability
        self.config = config(user_id="alice", thread_id=f"thread {durability}")
        self.halfway = ("first", "re first") if durability == "exit" else ("first",)
        self.meddle: Callable[[], Coroutine[Any, Any, Any]] | None = None
        self.graph = chain(first=self._first(), second=answers).compile(checkpointer=saver)

    def _first(self) -> Any:
        """Return a node that does, once, what `meddle` says."""

        def first(state: MessagesState) -> dict[str, Any]:
            return {"messages": [AIMessage("first")]}

        async def afirst(state: MessagesState) -> dict[str, Any]:
            meddle, self.meddle = self.meddle, None
            if meddle is not None:
                await meddle()
            return first(state)

        def sync_first(state: MessagesState) -> dict[str, Any]:
            return asyncio.run(afirst(state))

        return afirst if self.chat.is_async else sync_first

    async def run(self, given: Any, to: Any = None) -> Any:
        """Invoke the graph."""
        to = to or self.config
        return await self.chat.call(self.graph, "invoke", given, to, durability=self.durability)

    async def say(self, text: str, to: Any = None) -> None:
        """Invoke the graph with a message."""
        await self.run({"messages": [text]}, to)

    async def add(self, text: str, to: Any = None, as_node: str | None = "second") -> Any:
        """Update the state with a message; return the config to go on with."""
        given = None if as_node == "__copy__" else {"messages": [AIMessage(text)]}
        return await self.chat.call(
            self.graph, "update_state", to or self.config, given, as_node=as_node
        )

    async def state(self, *said: str) -> Any:
        """Return the config of the newest state in which these were said last."""
        for state in await self.chat.call(self.graph, "get_state_history", self.config):
            if texts(state)[-len(said) :] == [*said]:
                return state.config
        raise AssertionError(said)

    async def texts(self) -> list[str]:
        """Return what was said."""
        return texts(await self.chat.call(self.graph, "get_state", self.config))


# With the durability "exit", only the states at the ends of runs can be gone back to.


async def replays(thread: Thread) -> None:
    """Run again from old checkpoints, and talk on."""
    await thread.say("one")
    await thread.say("two")
    old = await thread.state("two", *thread.halfway)
    await thread.run(None, old)
    await thread.run(None, old)
    await thread.say("three")
    await thread.run(None, await thread.state("one", *thread.halfway))
    await thread.say("four")


async def forks(thread: Thread) -> None:
    """Say something else at old checkpoints, twice at the same, and talk on."""
    await thread.say("one")
    await thread.say("two")
    old = await thread.state("re first")
    await thread.say("instead", old)
    await thread.say("again", old)
    await thread.say("again", await thread.state("one", "first", "re first"))
    await thread.say("three")


async def updates_between(thread: Thread) -> None:
    """Update the newest state, an old one and a copy of one, and run on from each."""
    await thread.say("one")
    await thread.add("added")
    await thread.say("two")
    await thread.say("three", await thread.add("added too"))
    old = await thread.state("two", *thread.halfway)
    await thread.run(None, await thread.add("", old, as_node="__copy__"))
    await thread.say("four")
    await thread.run(None, await thread.add("in between", old, as_node="first"))
    await thread.say("five")


async def an_update_first(thread: Thread) -> None:
    """Update the state of a thread that nothing has, and talk on."""
    await thread.add("added")
    await thread.say("one")


async def an_update_by_a_node(thread: Thread) -> None:
    """A node updates its own thread, in the middle of its run."""
    await thread.say("one")
    thread.meddle = lambda: thread.add("meddled", as_node=None)
    await thread.say("two")
    await thread.say("three")


async def updates_beside(thread: Thread) -> None:
    """Somebody updates the thread while a run is at work on it, twice."""
    await thread.say("one")

    async def meddle() -> None:
        await thread.add("beside")
        await thread.add("beside, too")

    thread.meddle = meddle
    await thread.say("two")
    await thread.say("three")


async def an_update_of_the_past_beside(thread: Thread) -> None:
    """Somebody forks an old state while a run is at work on the thread."""
    await thread.say("one")
    old = await thread.state("one", *thread.halfway)
    thread.meddle = lambda: thread.add("beside", old)
    await thread.say("two")
    await thread.say("three")


WAYS = [
    replays,
    forks,
    updates_between,
    an_update_first,
    an_update_by_a_node,
    updates_beside,
    an_update_of_the_past_beside,
]


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_to_use_a_thread_does_as_in_plain_langgraph(
    chat: Chat, way: Callable[[Thread], Any]
) -> None:
    """Time travel, forks and updates of the state end as they do with the saver in memory."""
    plain_saver = InMemorySaver()
    for durability in DURABILITIES:
        ours, plain = (Thread(chat, saver, durability) for saver in (chat.saver, plain_saver))
        await way(plain)
        await way(ours)
        assert await ours.texts() == await plain.texts(), durability


# --- Beside each other, and in pieces ------------------------------------------------------------


async def test_runs_of_different_sessions_are_no_conflict(chat: Chat) -> None:
    """A batch of users, and of one user's sessions, runs side by side."""
    users = [config(user_id=f"user-{number}") for number in range(4)]
    sessions = [config(user_id="alice", thread_id=f"thread-{number}") for number in range(4)]
    for _ in range(2):
        given: Any = [{"messages": ["Hello"]}] * 8
        states = await chat.call(chat.graph, "batch", given, [*users, *sessions])
    assert {tuple(texts(state)) for state in states} == {("Hello", "1 so far", "Hello", "3 so far")}


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "debug", "checkpoints", "tasks"])
async def test_streams_are_no_conflict(chat: Chat, mode: str) -> None:
    """Turns that are streamed, whatever of, follow each other."""
    given = {"messages": ["Hello"]}
    for _ in range(2):
        assert await chat.call(chat.graph, "stream", given, OURS, stream_mode=mode)
    state = await chat.call(chat.graph, "get_state", OURS)
    assert texts(state) == ["Hello", "1 so far", "Hello", "3 so far"]


async def test_a_stream_that_nobody_heard_to_its_end_is_no_conflict(chat: Chat) -> None:
    """Who leaves a stream after its first step can say something else at once."""
    graph = chain(first=says("first"), second=answers).compile(checkpointer=chat.saver)
    given: Any = {"messages": ["one"]}
    if chat.is_async:
        parts = graph.astream(given, OURS, stream_mode="updates")
        await anext(parts)
        await parts.aclose()  # type: ignore[attr-defined]
    else:
        left = graph.stream(given, OURS, stream_mode="updates")
        await asyncio.to_thread(next, left)
        await asyncio.to_thread(left.close)  # type: ignore[attr-defined]
    state = await chat.call(graph, "invoke", {"messages": ["two"]}, OURS)
    assert texts(state)[-3:] == ["two", "first", "re first"]


async def test_a_failed_run_is_no_conflict(chat: Chat) -> None:
    """After a node raised, the run can be gone on with, and another message can be said."""
    fails = iter([True, True])

    def node(state: MessagesState) -> dict[str, Any]:
        if next(fails, False):
            raise ZeroDivisionError
        return answers(state)

    graph = chain(node=node).compile(checkpointer=chat.saver)
    for given in ({"messages": ["one"]}, None):
        with pytest.raises(ZeroDivisionError):
            await chat.call(graph, "invoke", given, OURS)
    state = await chat.call(graph, "invoke", None, OURS)
    assert texts(state) == ["one", "re one"]
    await chat.say("two", graph, **OURS["configurable"])
    assert texts(await chat.call(graph, "get_state", OURS)) == ["one", "re one", "two", "re two"]


async def test_a_fork_of_a_session_is_no_conflict(chat: Chat) -> None:
    """A session forked in the middle of its run goes on, and so does the fork."""

    async def afork(state: MessagesState) -> dict[str, Any]:
        if len(state["messages"]) == 3:
            await chat.session("fork_session", "alice", "outer", title="Fork")
        return answers(state)

    def fork(state: MessagesState) -> dict[str, Any]:
        return asyncio.run(afork(state))

    graph = chain(fork=afork if chat.is_async else fork).compile(checkpointer=chat.saver)
    for text in ("one", "two", "three"):
        state = await chat.call(graph, "invoke", {"messages": [text]}, OURS)
    assert texts(state) == ["one", "re one", "two", "re two", "three", "re three"]
    (forked,) = await chat.sessions(title="Fork")
    state = await chat.call(graph, "invoke", {"messages": ["else"]}, forked.config)
    assert texts(state)[-2:] == ["else", "re else"]


@pytest.mark.parametrize("way", [an_update_by_a_node, updates_beside])
def test_an_update_is_no_conflict_while_the_database_is_away(
    tmp_path: Path, way: Callable[[Thread], Any]
) -> None:
    """What is held in memory follows the same rule."""
    saver = SessionSaver(make_conninfo(host=str(tmp_path), dbname="none"), retry_for=0.1)
    ours, plain = (Thread(Chat(saver), each, "sync") for each in (saver, InMemorySaver()))
    ours.config = saver.sessions.create_user_session("alice").config  # Begun here alone.

    async def both() -> tuple[list[str], list[str]]:
        await way(ours)
        await way(plain)
        return await ours.texts(), await plain.texts()

    said, expected = asyncio.run(both())
    assert said == expected
    assert not saver.durable
    saver.close()


def test_writes_that_overtake_the_checkpoint_that_makes_a_session(url: str) -> None:
    """Where a run's first writes are saved before its session is there, the run goes on."""
    written = threading.Event()

    class Overtaken(SessionSaver):
        def put_writes(self, *args: Any, **kwargs: Any) -> None:
            super().put_writes(*args, **kwargs)
            written.set()

        def put(self, *args: Any, **kwargs: Any) -> Any:
            assert written.wait(60)
            return super().put(*args, **kwargs)

    with Overtaken(url) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        command: Any = Command(update={"messages": ["Plan a trip"]}, goto="node")
        done = graph.invoke(command, config(user_id="alice"), durability="sync")
        assert texts(done)[0] == "Plan a trip"
