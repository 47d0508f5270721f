"""An Agent Server without authentication: its threads are nobody's."""

from __future__ import annotations

import pytest

from langgraph_sessions.server import checkpointer
from tests.agent_server.conftest import AgentServer, said


async def test_runs_go_on(open_to_all: AgentServer) -> None:
    """A thread's runs go on from each other, and its state and history are read."""
    client = open_to_all.client()
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "chat", input=said("one"))
    values = await client.runs.wait(thread_id, "chat", input=said("two"))
    assert [message["content"] for message in values["messages"]] == [
        "one",
        "1 of nobody",
        "two",
        "3 of nobody",
    ]
    assert (await client.threads.get_state(thread_id))["values"] == values
    assert len(await client.threads.get_history(thread_id, limit=50)) == 6
    assert open_to_all.sessions(thread_id) == []


async def test_a_state_is_updated(open_to_all: AgentServer) -> None:
    """An update is nobody's, too, and the next run goes on from it."""
    client = open_to_all.client()
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "chat", input=said("one"))
    await client.threads.update_state(thread_id, said("two"), as_node="node")
    values = await client.runs.wait(thread_id, "chat", input=said("three"))
    assert values["messages"][-1]["content"] == "4 of nobody"
    assert open_to_all.sessions(thread_id) == []


async def test_without_a_database_one_line_says_what_to_set() -> None:
    """The factory names the variable, in a single line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URI", ":memory:")  # As `langgraph dev` does.
        patch.delenv("DATABASE_URL", raising=False)
        with pytest.raises(ValueError, match=r"^set DATABASE_URL[^\n]*$"):
            await checkpointer().__aenter__()
