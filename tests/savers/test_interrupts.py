"""Interrupts, breakpoints and failures: a run goes on where it stopped, in its session."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState
from langgraph.types import Command

from tests.graphs import DURABILITIES, ask, calls, chain, says
from tests.savers.saved import ALICE, Connection, conversation, only_session
from tests.support import Chat, texts


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_interrupted_run_resumes(chat: Chat, db: Connection, durability: str) -> None:
    """`Command(resume=…)` with the user's id alone resumes the run that waits."""
    graph = chat.compile(chain(first=says("Well?"), ask=ask))
    for given in ({"messages": ["one"]}, Command(resume="so")):
        state = await chat.call(graph, "invoke", given, ALICE, durability=durability)
    assert texts(state) == ["one", "Well?", "You said so"]
    session = await only_session(chat, db)
    assert await conversation(chat, graph, session) == ["one", "Well?", "You said so"]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_run_interrupted_in_a_subgraph_resumes(
    chat: Chat, db: Connection, durability: str
) -> None:
    """An interrupt inside a subgraph resumes there, without its first node again."""
    ran: list[str] = []

    def once(state: MessagesState) -> dict[str, Any]:
        ran.append("once")
        return {"messages": [AIMessage("Well?")]}

    inner = chain(once=once, ask=ask).compile()
    graph = chat.compile(chain(inner=inner, outer=says("ok")))
    for given in ({"messages": ["one"]}, Command(resume="so")):
        await chat.call(graph, "invoke", given, ALICE, durability=durability)
    session = await only_session(chat, db, "inner")
    expected = ["one", "Well?", "You said so", "ok"]
    assert await conversation(chat, graph, session) == expected
    assert ran == ["once"]


async def test_an_interrupt_under_a_node_function_resumes(chat: Chat, db: Connection) -> None:
    """An interrupt in a graph that a node function invokes resumes there."""
    inner = chain(ask=ask).compile()
    graph = chat.compile(chain(outer=calls(chat, inner)))
    assert (await chat.say("one", graph, user_id="alice"))["__interrupt__"]
    await chat.call(graph, "invoke", Command(resume="so"), ALICE)
    session = await only_session(chat, db, "outer")
    assert await conversation(chat, graph, session) == ["one", "You said so"]


async def test_a_run_that_waits_is_resumed_in_its_own_session(chat: Chat) -> None:
    """A run that waits in one session is not disturbed by a run in another, and resumes there."""
    graph = chat.compile(chain(ask=ask))
    await chat.say("one", graph, user_id="alice")
    waiting = await chat.current()
    await chat.say("two", graph, user_id="alice", new_session=True)
    other = await chat.current()
    await chat.call(graph, "invoke", Command(resume="so"), waiting.config)
    assert await conversation(chat, graph, waiting) == ["one", "You said so"]
    assert await conversation(chat, graph, other) == ["two"]


async def test_a_breakpoint_is_passed_with_the_users_id(chat: Chat, db: Connection) -> None:
    """A graph that stops before a node goes on when invoked with `None` and the user's id."""
    graph = chat.compile(chain(first=says("a"), last=says("b")), interrupt_before=["last"])
    assert texts(await chat.say("one", graph, user_id="alice")) == ["one", "a"]
    await chat.call(graph, "invoke", None, ALICE)
    session = await only_session(chat, db)
    assert await conversation(chat, graph, session) == ["one", "a", "b"]


async def test_a_failed_run_goes_on_where_it_failed(chat: Chat, db: Connection) -> None:
    """After a node failed, invoking with `None` keeps what the node beside it had done."""
    ran: list[str] = []

    def steady(state: MessagesState) -> dict[str, Any]:
        ran.append("steady")
        return {"messages": [AIMessage("steady")]}

    def shaky(state: MessagesState) -> dict[str, Any]:
        ran.append("shaky")
        if ran.count("shaky") == 1:
            while not db.execute(saved).fetchall():
                pass
            raise ConnectionError("try again")
        return {"messages": [AIMessage("shaky")]}

    # Failing sooner could cancel the other node's save.
    saved = "SELECT FROM checkpoint_writes WHERE channel = 'messages'"
    builder = chain(steady=steady)
    builder.add_node("shaky", shaky)
    builder.add_edge(START, "shaky")
    graph = chat.compile(builder)
    with pytest.raises(ConnectionError):
        await chat.say("one", graph, user_id="alice")
    await chat.call(graph, "invoke", None, ALICE)
    session = await only_session(chat, db)
    assert sorted(await conversation(chat, graph, session)) == ["one", "shaky", "steady"]
    assert (ran.count("steady"), ran.count("shaky")) == (1, 2)
