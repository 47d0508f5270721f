"""Histories, old checkpoints and states, read and written by the user's id."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START
from langgraph.types import Command, StateUpdate

from tests.graphs import ask, chain, says
from tests.savers.saved import ALICE, Connection, conversation, only_session
from tests.support import Chat, config, texts


async def two_turns(chat: Chat) -> Any:
    """Talk twice, and return the state just before the second answer."""
    await chat.say("one", user_id="alice")
    await chat.say("two", user_id="alice")
    session = await chat.current()
    history = await chat.call(chat.graph, "get_state_history", session.config)
    (state,) = (s for s in history if texts(s) == ["one", "1 so far", "two"])
    return state


async def test_history_lists_every_state_of_the_session(chat: Chat, db: Connection) -> None:
    """`get_state_history` gives the states newest first, each with a config to read it by."""
    await two_turns(chat)
    session = await only_session(chat, db)
    history = await chat.call(chat.graph, "get_state_history", session.config)
    assert [len(texts(state)) for state in history] == [4, 3, 2, 2, 1, 0]
    for state in history:
        assert state.config["configurable"]["thread_id"] == session.thread_id
        assert await chat.call(chat.graph, "get_state", state.config) == state
    for state, parent in pairwise(history):
        assert state.parent_config == parent.config


async def test_a_run_from_an_old_checkpoint_answers_again(chat: Chat, db: Connection) -> None:
    """`invoke(None, state.config)` goes on from there; the user's next run goes on from that."""
    state = await two_turns(chat)
    again = await chat.call(chat.graph, "invoke", None, state.config)
    assert texts(again) == ["one", "1 so far", "two", "3 so far"]
    await chat.say("three", user_id="alice")
    session = await only_session(chat, db)
    expected = ["one", "1 so far", "two", "3 so far", "three", "5 so far"]
    assert await chat.history(session) == expected


async def test_a_fork_takes_the_conversation_elsewhere(chat: Chat, db: Connection) -> None:
    """`update_state` on an old checkpoint forks, and its config runs the fork."""
    state = await two_turns(chat)
    instead = HumanMessage("instead", id=state.values["messages"][-1].id)
    forked = await chat.call(
        chat.graph, "update_state", state.config, {"messages": [instead]}, as_node=START
    )
    await chat.call(chat.graph, "invoke", None, forked)
    await chat.say("three", user_id="alice")
    session = await only_session(chat, db)
    expected = ["one", "1 so far", "instead", "3 so far", "three", "5 so far"]
    assert await chat.history(session) == expected


async def test_a_checkpoint_is_copied(chat: Chat, db: Connection) -> None:
    """`update_state(…, as_node="__copy__")` goes back to an old checkpoint by a copy of it."""
    state = await two_turns(chat)
    copied = await chat.call(chat.graph, "update_state", state.config, None, as_node="__copy__")
    await chat.call(chat.graph, "invoke", None, copied)
    session = await only_session(chat, db)
    assert await chat.history(session) == ["one", "1 so far", "two", "3 so far"]
    copies = db.execute("SELECT metadata ->> 'source' AS s FROM checkpoints").fetchall()
    assert [row["s"] for row in copies].count("fork") == 1


async def test_time_travel_makes_the_old_session_current(chat: Chat) -> None:
    """A run from an old checkpoint is a run of its session, which becomes current."""
    state = await two_turns(chat)
    first = await chat.current()
    await chat.say("elsewhere", user_id="alice", new_session=True)
    await chat.call(chat.graph, "get_state", state.config)
    assert (await chat.current()).thread_id != first.thread_id
    await chat.call(chat.graph, "invoke", None, state.config)
    assert (await chat.current()).thread_id == first.thread_id


async def test_a_checkpoint_id_alone_is_one_of_the_current_session(chat: Chat) -> None:
    """Without a thread id, a checkpoint id picks a checkpoint of the current session."""
    state = await two_turns(chat)
    checkpoint_id = state.config["configurable"]["checkpoint_id"]
    travel = config(user_id="alice", checkpoint_id=checkpoint_id)
    again = await chat.call(chat.graph, "invoke", {"messages": ["instead"]}, travel)
    assert texts(again) == ["one", "1 so far", "two", "instead", "4 so far"]
    assert len(await chat.sessions()) == 1


async def test_update_state_adds_to_the_session(chat: Chat, db: Connection) -> None:
    """`update_state` adds to the conversation, and returns a config to go on with."""
    await chat.say("one", user_id="alice")
    session = await only_session(chat, db)
    added = {"messages": [AIMessage("added")]}
    saved = await chat.call(chat.graph, "update_state", session.config, added, as_node="node")
    assert texts(await chat.call(chat.graph, "get_state", saved)) == ["one", "1 so far", "added"]
    state = await chat.call(chat.graph, "invoke", {"messages": ["two"]}, saved)
    assert texts(state) == ["one", "1 so far", "added", "two", "4 so far"]
    await only_session(chat, db)


async def test_update_state_starts_a_session(chat: Chat, db: Connection) -> None:
    """`update_state` on a thread id that nothing has makes a session of it, which runs go on."""
    new = config(user_id="alice", thread_id="mine")
    await chat.call(chat.graph, "update_state", new, {"messages": ["one"]}, as_node=START)
    await chat.call(chat.graph, "invoke", None, ALICE)
    session = await only_session(chat, db)
    assert session.thread_id == "mine"
    assert await chat.history(session) == ["one", "1 so far"]


async def test_bulk_update_state_replays_a_conversation(chat: Chat, db: Connection) -> None:
    """`bulk_update_state` writes several steps into a session, one after another."""
    new = config(user_id="alice", thread_id="mine")
    steps = [
        [StateUpdate({"messages": ["one"]}, START)],
        [StateUpdate({"messages": [AIMessage("two")]}, "node")],
    ]
    saved = await chat.call(chat.graph, "bulk_update_state", new, steps)
    assert texts(await chat.call(chat.graph, "get_state", saved)) == ["one", "two"]
    await chat.say("three", user_id="alice")
    assert await chat.history(await only_session(chat, db)) == ["one", "two", "three", "3 so far"]


def waiting_graph(chat: Chat) -> Any:
    """Return a graph that asks the human two levels down."""
    innermost = chain(ask=ask).compile()
    inner = chain(deeper=innermost).compile()
    return chat.compile(chain(inner=inner, outer=says("ok")))


def reading(target: RunnableConfig) -> RunnableConfig:
    """Return *target* without the one checkpoint that it names."""
    configurable = {k: v for k, v in target["configurable"].items() if k != "checkpoint_id"}
    return {"configurable": configurable}


async def test_get_state_sees_into_interrupted_subgraphs(chat: Chat) -> None:
    """`get_state(subgraphs=True)` shows the states of the subgraphs that wait, at each level."""
    graph = waiting_graph(chat)
    await chat.say("one", graph, user_id="alice")
    session = await chat.current()
    state = await chat.call(graph, "get_state", session.config, subgraphs=True)
    inner = state.tasks[0].state
    innermost = inner.tasks[0].state
    assert (state.next, inner.next, innermost.next) == (("inner",), ("deeper",), ("ask",))
    assert texts(innermost) == ["one"]
    assert [i.value for i in innermost.tasks[0].interrupts] == ["Why?"]
    for level in (state, inner, innermost):
        assert level.config["configurable"]["user_id"] == "alice"
        assert level.config["configurable"]["thread_id"] == session.thread_id


async def test_a_tasks_state_is_read_by_the_config_it_carries(chat: Chat) -> None:
    """`get_state(state.tasks[0].state)` reads the state of the subgraph that waits."""
    graph = waiting_graph(chat)
    await chat.say("one", graph, user_id="alice")
    state = await chat.call(graph, "get_state", (await chat.current()).config)
    inner = await chat.call(graph, "get_state", state.tasks[0].state)
    innermost = await chat.call(graph, "get_state", inner.tasks[0].state)
    assert (inner.next, innermost.next) == (("deeper",), ("ask",))


@pytest.mark.parametrize("whole", [True, False], ids=["snapshot", "config"])
async def test_a_subgraphs_history_is_read_by_its_tasks_state(chat: Chat, whole: bool) -> None:
    """`get_state_history` of a task's state lists the states of the subgraph that waits."""
    graph = waiting_graph(chat)
    await chat.say("one", graph, user_id="alice")
    current = (await chat.current()).config
    state = await chat.call(graph, "get_state", current, subgraphs=whole)
    target = state.tasks[0].state.config if whole else state.tasks[0].state
    history = await chat.call(graph, "get_state_history", reading(target))
    assert [s.next for s in history] == [("deeper",), (START,)]


@pytest.mark.parametrize("whole", [True, False], ids=["snapshot", "config"])
async def test_update_state_reaches_into_a_subgraph(
    chat: Chat, db: Connection, whole: bool
) -> None:
    """A subgraph that waits can be given another state, which it resumes with."""
    inner = chain(first=says("Well?"), ask=ask).compile()
    graph = chat.compile(chain(inner=inner))
    await chat.say("one", graph, user_id="alice")
    current = (await chat.current()).config
    state = await chat.call(graph, "get_state", current, subgraphs=whole)
    target = state.tasks[0].state.config if whole else state.tasks[0].state
    await chat.call(graph, "update_state", target, {"messages": [HumanMessage("hm")]})
    await chat.call(graph, "invoke", Command(resume="so"), ALICE)
    session = await only_session(chat, db, "inner")
    assert await conversation(chat, graph, session) == ["one", "Well?", "hm", "You said so"]
