"""A graph of one agent's that is called inside a run of another's."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langgraph_sessions import SessionNotFoundError
from tests.agents import Agents, names
from tests.support import Chat, config, graph_builder


def calling(chat: Chat, inner: Any, **where: Any) -> Any:
    """Return a graph of *chat*'s whose node calls *inner* there."""
    given = {"messages": ["Inside"]}

    def node(state: Any) -> dict[str, Any]:
        inner.invoke(given, config(**where))
        return {"messages": [AIMessage("Done")]}

    async def anode(state: Any) -> dict[str, Any]:
        await inner.ainvoke(given, config(**where))
        return {"messages": [AIMessage("Done")]}

    return chat.compile(graph_builder(anode if chat.is_async else node))


async def test_a_graph_inside_another_agents_run_has_sessions_of_its_own(agents: Agents) -> None:
    """On a thread of its own it is the agent's whose saver it has, and does not become current."""
    cook, guide = await agents.of("cook"), await agents.of("guide")
    await guide.say("Rome", user_id="alice", thread_id="rome")
    graph = calling(cook, guide.graph, thread_id="inner")
    await cook.say("Soup", graph, user_id="alice", thread_id="soup")
    inner = await guide.session("get_session", "alice", "inner")
    assert inner.agent == "guide"
    assert (await guide.current()).thread_id == "rome"
    assert [session.thread_id for session in await cook.sessions()] == ["soup"]


async def test_a_graph_on_another_agents_run_is_part_of_it(agents: Agents) -> None:
    """With the thread of the run, whichever saver it has: the session stays the run's agent's."""
    cook, guide = await agents.of("cook"), await agents.of("guide")
    graph = calling(cook, guide.graph, thread_id="soup")
    where = config(user_id="alice", thread_id="soup")
    # Another saver knows the run by what it has saved, which "async" may yet be doing.
    await cook.call(graph, "invoke", {"messages": ["Soup"]}, where, durability="sync")
    assert await names(agents.nobody) == ["cook"]
    assert await cook.history(await cook.current()) == ["Soup", "Done"]
    with pytest.raises(SessionNotFoundError):
        await guide.session("get_session", "alice", "soup")
