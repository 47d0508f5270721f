"""Subgraphs, and graphs inside nodes: what is saved of them is in the session's thread."""

from __future__ import annotations

from typing import TypedDict

import pytest
from langgraph.graph import START, StateGraph

from tests.graphs import DURABILITIES, calls, chain, says
from tests.savers.saved import ALICE, Connection, conversation, namespaces, only_session
from tests.support import Chat, config, texts


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_subgraph_as_a_node(chat: Chat, db: Connection, durability: str) -> None:
    """A subgraph's checkpoints are in the session's thread, two levels deep."""
    innermost = chain(deep=says("from below")).compile()
    inner = chain(deeper=innermost, shallow=says("from inside")).compile()
    graph = chat.compile(chain(inner=inner, outer=says("from outside")))
    for text in ("one", "two"):
        given = (graph, "invoke", {"messages": [text]}, ALICE)
        await chat.call(*given, durability=durability)
    # With "exit", only what the root graph needs to go on is ever saved.
    below = () if durability == "exit" else ("inner", "inner|deeper")
    session = await only_session(chat, db, *below)
    answers = ["from below", "from inside", "from outside"]
    assert await conversation(chat, graph, session) == ["one", *answers, "two", *answers]


class Inner(TypedDict):
    """What a subgraph keeps to itself."""

    count: int


async def test_a_subgraph_with_a_memory_of_its_own(chat: Chat, db: Connection) -> None:
    """A subgraph compiled with `checkpointer=True` remembers, for each session apart."""
    seen: list[int] = []

    def count(state: Inner) -> Inner:
        seen.append(state.get("count", 0) + 1)
        return {"count": seen[-1]}

    builder = StateGraph(Inner)
    builder.add_node("count", count)
    builder.add_edge(START, "count")
    inner = builder.compile(checkpointer=True)
    graph = chat.compile(chain(inner=inner, outer=says("ok")))
    await chat.say("one", graph, user_id="alice")
    await chat.say("two", graph, user_id="alice")
    session = await only_session(chat, db, "inner")
    await chat.say("three", graph, user_id="bob")
    await chat.say("four", graph, user_id="alice", new_session=True)
    await chat.say("five", graph, **session.config["configurable"])
    assert seen == [1, 2, 1, 1, 3]


async def test_a_subgraph_invoked_inside_a_node(chat: Chat, db: Connection) -> None:
    """A graph that a node function invokes saves to the session of the run around it."""
    inner = chain(shallow=says("from inside")).compile()
    graph = chat.compile(chain(outer=calls(chat, inner)))
    await chat.say("one", graph, user_id="alice")
    await chat.say("two", graph, user_id="alice")
    session = await only_session(chat, db, "outer")
    assert await conversation(chat, graph, session) == ["one", "from inside", "two", "from inside"]


async def test_a_node_of_nobodys_run_may_talk_to_a_thread_of_nobody(
    chat: Chat, db: Connection
) -> None:
    """A graph that a run without a user invokes with a thread id of its own is a plain run, too."""
    inner = chat.compile(chain(shallow=says("from inside")))
    other = config(thread_id="other")
    graph = chat.compile(chain(outer=calls(chat, inner, {"messages": ["hi"]}, other)))
    await chat.say("one", graph, thread_id="outer")
    assert namespaces(db) == {"outer": {""}, "other": {""}}
    assert db.execute("SELECT FROM user_sessions").fetchall() == []
    assert texts(await chat.call(inner, "get_state", other)) == ["hi", "from inside"]


@pytest.mark.parametrize("user_id", ["alice", "bob"])
async def test_a_node_may_talk_to_another_session(chat: Chat, db: Connection, user_id: str) -> None:
    """A graph that a node invokes for a user and a thread id of its own saves to that session."""
    inner = chat.compile(chain(shallow=says("from inside")))
    other = config(user_id=user_id, thread_id="other")
    graph = chat.compile(chain(outer=calls(chat, inner, {"messages": ["hi"]}, other)))
    outer = config(user_id="alice", thread_id="outer")
    for text in ("one", "two"):
        await chat.call(graph, "invoke", {"messages": [text]}, outer)
    owners = {session.thread_id: session.user_id for session in await chat.sessions(None)}
    assert owners == {"outer": "alice", "other": user_id}
    assert namespaces(db) == {"outer": {""}, "other": {""}}
    expected = ["one", "from inside", "two", "from inside"]
    assert texts(await chat.call(graph, "get_state", outer)) == expected
    assert texts(await chat.call(inner, "get_state", other)) == ["hi", "from inside"] * 2
