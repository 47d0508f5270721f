"""LangGraph's own conformance suite, on both savers, without a user and with one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict, cast

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.report import CapabilityReport
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import START, StateGraph

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.support import Chat, config, past_pooler

BASE = ("put", "put_writes", "get_tuple", "list", "delete_thread")


def signed(given: RunnableConfig) -> RunnableConfig:
    """Return *given* with a user."""
    return {**given, "configurable": {**given["configurable"], "user_id": "alice"}}


class Signed:
    """Adds a user to every config that goes into a saver."""

    async def aput(self, given: RunnableConfig, *args: Any) -> Any:
        return await cast(Any, super()).aput(signed(given), *args)

    async def aput_writes(self, given: RunnableConfig, *args: Any, **options: Any) -> None:
        await cast(Any, super()).aput_writes(signed(given), *args, **options)

    async def aget_tuple(self, given: RunnableConfig) -> Any:
        return await cast(Any, super()).aget_tuple(signed(given))

    async def alist(self, given: RunnableConfig | None, **options: Any) -> AsyncIterator[Any]:
        asked = None if given is None else signed(given)
        async for found in cast(Any, super()).alist(asked, **options):
            yield found


class SignedSaver(Signed, SessionSaver):
    """`SessionSaver` with a user."""


class SignedAsyncSaver(Signed, AsyncSessionSaver):
    """`AsyncSessionSaver` with a user."""


async def parent(url: str) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """Open the saver that ours is measured against."""
    async with AsyncPostgresSaver.from_conn_string(past_pooler(url)) as saver:
        await saver.setup()
        yield saver


async def ours(kind: type[Any], url: str) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """Open one of our savers."""
    if issubclass(kind, SessionSaver):
        with kind(url) as saver:
            yield saver
    else:
        async with kind(url) as saver:
            yield saver


async def report_on(name: str, make: Any) -> CapabilityReport:
    """Run the suite on what *make* yields."""

    @checkpointer_test(name=name)
    async def factory() -> AsyncIterator[BaseCheckpointSaver[str]]:
        async for saver in make():
            yield saver

    return await validate(factory)


def failures(report: CapabilityReport) -> dict[str, list[str]]:
    """Return what failed, with the suite's tracebacks."""
    return {name: result.failures for name, result in report.results.items() if result.failures}


def passed(report: CapabilityReport) -> set[str]:
    """Return the capabilities that passed."""
    return {name for name, result in report.results.items() if result.passed}


KINDS = [SessionSaver, AsyncSessionSaver, SignedSaver, SignedAsyncSaver]


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_the_parent_conforms_to_ours_conforms_to(
    url: str, empty_url: str, kind: type[Any]
) -> None:
    """Each capability that passes on `AsyncPostgresSaver` passes on ours; none fails."""
    expected = await report_on("parent", lambda: parent(empty_url))
    report = await report_on(kind.__name__, lambda: ours(kind, url))
    assert failures(report) == {}
    assert passed(report) >= passed(expected) >= {*BASE, "prune"}


async def test_the_suite_really_ran_with_a_user(url: str) -> None:
    """The subclass above does give each of the suite's threads to the user."""
    await report_on("counted", lambda: ours(SignedSaver, url))
    with SessionSaver(url) as saver:
        threads = {found.config["configurable"]["thread_id"] for found in saver.list(None)}
        sessions = saver.sessions.list_sessions("alice", limit=1000)
    assert {session.thread_id for session in sessions} == threads
    assert len(threads) > 20


# --- Delta-channel history, which the suite has no tests for ------------------------------------


def delta_graph(chat: Chat) -> Any:
    """Return a graph that counts messages kept as deltas, with a snapshot now and then."""
    delta = pytest.importorskip("langgraph.channels.delta")
    from langgraph.graph.message import _messages_delta_reducer as reducer

    channel = delta.DeltaChannel(reducer, snapshot_frequency=4)
    fields = {"messages": Annotated[list[AnyMessage], channel]}
    builder = StateGraph(TypedDict("State", fields))
    builder.add_node("node", lambda state: {"messages": [AIMessage(f"{len(state['messages'])}")]})
    builder.add_edge(START, "node")
    return chat.compile(builder)


def shown(history: Any) -> Any:
    """Return a delta history as plain values."""
    found = history["messages"]
    seed = found.get("seed")
    return [m.content for m in getattr(seed, "value", None) or []], [
        (task_id, channel, [m.content for m in messages])
        for task_id, channel, messages in found["writes"]
    ]


@pytest.mark.parametrize("who", [{"user_id": "alice"}, {}], ids=["user", "nobody"])
async def test_delta_channel_history_is_the_parents(
    chat: Chat, url: str, who: dict[str, Any]
) -> None:
    """At each checkpoint of a thread, the seed and writes are those that `PostgresSaver` finds."""
    graph = delta_graph(chat)
    thread = config(**who, thread_id="t", checkpoint_ns="")
    for text in ("one", "two", "three"):
        await chat.call(graph, "invoke", {"messages": [HumanMessage(text)]}, thread)
    asked = [found.config for found in await chat.call(chat.saver, "list", thread)] + [thread]
    given = {"channels": ["messages"]}
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        expected = [shown(plain.get_delta_channel_history(config=c, **given)) for c in asked]
    history = "get_delta_channel_history"
    found = [shown(await chat.call(chat.saver, history, config=c, **given)) for c in asked]
    assert found == expected
    assert any(seed for seed, _ in found)
    assert any(writes for _, writes in found)


async def test_delta_channel_history_of_a_new_thread_is_empty(chat: Chat) -> None:
    """A user's thread that nothing has yields no writes and no seed, and no session."""
    thread = config(user_id="alice", thread_id="t", checkpoint_ns="")
    given = {"config": thread, "channels": ["messages"]}
    history = await chat.call(chat.saver, "get_delta_channel_history", **given)
    assert history == {"messages": {"writes": []}}
    assert await chat.sessions(None) == []
