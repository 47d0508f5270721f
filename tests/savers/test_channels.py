"""Parallel nodes, delta channels and strict msgpack: all that they write is saved."""

from __future__ import annotations

import os
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState
from langgraph.types import Command, Send

from tests.graphs import DURABILITIES, ask, chain, delta_graph, says
from tests.savers.saved import ALICE, Connection, conversation, namespaces, only_session
from tests.support import Chat, python, texts


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_parallel_nodes_and_sends(chat: Chat, db: Connection, durability: str) -> None:
    """Nodes and subgraphs side by side, and `Send`s, all save to the one session."""

    def work(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"did {state['messages'][-1].content}")]}

    def share_out(state: MessagesState) -> list[Send]:
        return [Send("work", {"messages": [AIMessage(f"part {n}")]}) for n in range(3)]

    builder = chain(left=says("left"))
    builder.add_node("right", chain(inner=says("right")).compile())
    builder.add_node("work", work)
    builder.add_edge(START, "right")
    builder.add_conditional_edges("left", share_out, ["work"])
    graph = chat.compile(builder)
    for text in ("one", "two"):
        given = (graph, "invoke", {"messages": [text]}, ALICE)
        await chat.call(*given, durability=durability)
    session = await only_session(chat, db, *([] if durability == "exit" else ["right"]))
    turn = ["left", "right", "did part 0", "did part 1", "did part 2"]
    said = await conversation(chat, graph, session)
    # A subgraph returns the messages it was given beside its own; add_messages sorts that out.
    assert said == ["one", *turn, "two", *turn]


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("snapshot_frequency", [1, 2, 100])
async def test_delta_channels(
    chat: Chat, db: Connection, snapshot_frequency: int, durability: str
) -> None:
    """A conversation kept as deltas is the same, turn after turn."""

    def count(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{len(state['messages'])} so far")]}

    graph = delta_graph(chat, snapshot_frequency, node=count)
    for text in ("one", "two", "three"):
        given = (graph, "invoke", {"messages": [HumanMessage(text)]}, ALICE)
        await chat.call(*given, durability=durability)
    session = await only_session(chat, db)
    expected = ["one", "1 so far", "two", "3 so far", "three", "5 so far"]
    assert await conversation(chat, graph, session) == expected


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_delta_channels_over_an_interrupt(
    chat: Chat, db: Connection, durability: str
) -> None:
    """A conversation kept as deltas survives an interrupt, and time travel after it."""
    graph = delta_graph(chat, 100, first=says("Well?"), ask=lambda state: ask(state))
    for given in ({"messages": [HumanMessage("one")]}, Command(resume="so")):
        await chat.call(graph, "invoke", given, ALICE, durability=durability)
    session = await only_session(chat, db)
    assert await conversation(chat, graph, session) == ["one", "Well?", "You said so"]
    history = await chat.call(graph, "get_state_history", session.config)
    (waiting,) = (s for s in history if s.next == ("ask",))
    await chat.call(graph, "invoke", None, waiting.config)
    resumed = await chat.call(graph, "invoke", Command(resume="no"), ALICE)
    assert texts(resumed) == ["one", "Well?", "You said no"]


STRICT = """
import asyncio, dataclasses, sys
from typing import TypedDict
from langgraph.checkpoint.serde._msgpack import STRICT_MSGPACK_ENABLED
from langgraph.graph import START, StateGraph
from langgraph_sessions import AsyncSessionSaver, SessionSaver

@dataclasses.dataclass
class Pet:
    age: int

class State(TypedDict):
    pet: Pet

def grow(state):
    return {"pet": Pet(state["pet"].age + 1)}

def compiled(saver):
    builder = StateGraph(State)
    builder.add_node("grow", grow)
    builder.add_edge(START, "grow")
    inner = builder.compile()
    outer = StateGraph(State)
    outer.add_node("inner", inner)
    outer.add_edge(START, "inner")
    return outer.compile(checkpointer=saver)

def sync(url):
    with SessionSaver(url) as saver:
        graph = compiled(saver)
        who = {"configurable": {"user_id": "sync"}}
        graph.invoke({"pet": Pet(1)}, who)
        graph.invoke({}, who)
        session = saver.sessions.get_current_user_session("sync")
        assert graph.get_state(session.config).values == {"pet": Pet(3)}

async def native(url):
    async with AsyncSessionSaver(url) as saver:
        graph = compiled(saver)
        who = {"configurable": {"user_id": "async"}}
        await graph.ainvoke({"pet": Pet(1)}, who)
        await graph.ainvoke({}, who)
        session = await saver.sessions.get_current_user_session("async")
        assert (await graph.aget_state(session.config)).values == {"pet": Pet(3)}

assert STRICT_MSGPACK_ENABLED
sync(sys.argv[1])
asyncio.run(native(sys.argv[1]))
"""


def test_strict_msgpack(url: str, db: Connection) -> None:
    """In strict msgpack mode the graph's own types come back, in one session a user."""
    ended = python(STRICT, url, env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"})
    assert (ended.returncode, ended.stderr) == (0, "")
    counted = db.execute("SELECT user_id, count(*) FROM user_sessions GROUP BY 1 ORDER BY 1")
    assert [tuple(row.values()) for row in counted] == [("async", 1), ("sync", 1)]
    assert all(inner == {"", "inner"} for inner in namespaces(db).values())
