"""Graphs of every shape run as with LangGraph's own saver: none is mistaken for a conflict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt

from tests.graphs import DURABILITIES, Model, answers, ask, calls, chain, says, weather
from tests.support import Chat, config, texts

NESTED = config(user_id="alice", thread_id="inner")

# Each graph is made for a chat and a checkpointer: the saver's, or LangGraph's own in memory.


def long_chain(chat: Chat, saver: Any) -> Any:
    """30 steps, one after another."""
    steps = {f"step_{number}": says(f"step {number}") for number in range(30)}
    return chain(**steps).compile(checkpointer=saver)


def side_by_side(chat: Chat, saver: Any) -> Any:
    """Two nodes in parallel, of which one sends out three tasks."""

    def share_out(state: MessagesState) -> list[Send]:
        return [Send("work", {"messages": [AIMessage(f"part {n}")]}) for n in range(3)]

    builder = chain(left=says("left"))
    builder.add_node("right", says("right"))
    builder.add_node("work", answers)
    builder.add_edge(START, "right")
    builder.add_conditional_edges("left", share_out, ["work"])
    return builder.compile(checkpointer=saver)


def subgraphs(chat: Chat, saver: Any) -> Any:
    """A subgraph in a subgraph."""
    innermost = chain(deep=says("from below")).compile()
    inner = chain(deeper=innermost, shallow=says("from inside")).compile()
    return chain(inner=inner, outer=says("from outside")).compile(checkpointer=saver)


class Memory(TypedDict):
    """A conversation, and what a subgraph keeps of it to itself."""

    messages: Annotated[list[Any], add_messages]
    seen: int


def remembering(chat: Chat, saver: Any) -> Any:
    """A subgraph with a memory of its own."""

    def count(state: Memory) -> dict[str, Any]:
        seen = state.get("seen", 0) + 1
        return {"messages": [AIMessage(f"seen {seen}")], "seen": seen}

    builder = StateGraph(Memory)
    builder.add_node("count", count)
    builder.add_edge(START, "count")
    inner = builder.compile(checkpointer=True)
    return chain(inner=inner, outer=says("outer")).compile(checkpointer=saver)


def asking_twice(chat: Chat, saver: Any) -> Any:
    """A node with two interrupts."""

    def questions(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{interrupt('Why?')}, {interrupt('How?')}")]}

    return chain(questions=questions, after=answers).compile(checkpointer=saver)


def asking_side_by_side(chat: Chat, saver: Any) -> Any:
    """Two nodes in parallel that interrupt."""
    builder = chain(left=ask)
    builder.add_node("right", ask)
    builder.add_edge(START, "right")
    return builder.compile(checkpointer=saver)


def asking_below(chat: Chat, saver: Any) -> Any:
    """Two interrupts in a subgraph, between other nodes."""
    inner = chain(before=says("before"), first=ask, second=ask).compile()
    return chain(inner=inner, outer=says("outer")).compile(checkpointer=saver)


def asking_in_memory(chat: Chat, saver: Any) -> Any:
    """An interrupt in a subgraph with a memory of its own."""
    inner = chain(before=says("before"), first=ask).compile(checkpointer=True)
    return chain(inner=inner, outer=says("outer")).compile(checkpointer=saver)


def agent(chat: Chat, saver: Any) -> Any:
    """An agent that calls a tool."""
    return create_agent(Model(), [weather], checkpointer=saver)


def functional(chat: Chat, saver: Any) -> Any:
    """An entrypoint with two tasks in parallel, and a question."""

    @task
    def answer(text: str) -> str:
        return f"re {text}"

    @entrypoint(checkpointer=saver)
    def workflow(given: Any, *, previous: Any = None) -> Any:
        parts = [answer(f"{text} {part}") for text in given["messages"] for part in "ab"]
        said = [AIMessage(part.result()) for part in parts]
        messages = [*(previous or []), *said, AIMessage(interrupt("Why?"))]
        return entrypoint.final(value={"messages": messages}, save=messages)

    return workflow


def nested(chat: Chat, saver: Any) -> Any:
    """A node that talks to a thread of its own."""
    inner = chain(shallow=answers).compile(checkpointer=saver)
    node = calls(chat, inner, {"messages": ["within"]}, NESTED)
    return chain(outer=node, after=answers).compile(checkpointer=saver)


SHAPES = [
    long_chain,
    side_by_side,
    subgraphs,
    remembering,
    asking_twice,
    asking_side_by_side,
    asking_below,
    asking_in_memory,
    agent,
    functional,
    nested,
]


async def turn(chat: Chat, graph: Any, text: str, who: Any, durability: str) -> list[str]:
    """Say *text*, answer what is asked, and return what all have said at the end."""
    given: Any = {"messages": [text]}
    state = await chat.call(graph, "invoke", given, who, durability=durability)
    while asked := state.get("__interrupt__"):
        answer = Command(resume={question.id: f"{question.value} {text}" for question in asked})
        state = await chat.call(graph, "invoke", answer, who, durability=durability)
    return texts(state)


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_shape_of_graph_runs_as_in_plain_langgraph(
    chat: Chat, shape: Callable[[Chat, Any], Any]
) -> None:
    """Turns, answers to interrupts included, end as they do with LangGraph's saver in memory."""
    graph, plain = shape(chat, chat.saver), shape(chat, InMemorySaver())
    for durability in DURABILITIES:
        who = config(user_id="alice", thread_id=f"outer {durability}")
        for text in ("one", "two"):
            ended = await turn(chat, graph, text, who, durability)
            assert ended == await turn(chat, plain, text, who, durability), durability
            if shape is not functional:
                assert texts(await chat.call(graph, "get_state", who)) == ended
