"""Several agents in one graph: a supervisor, sub-agents with a memory, a swarm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph_supervisor import create_supervisor
from langgraph_swarm import create_handoff_tool, create_swarm

from tests.agent_kinds.beside import Beside
from tests.agent_kinds.following import OSLO, RITZ, ROME, Follower, asking_an_expert, book, weather
from tests.support import Chat

# What langgraph-supervisor itself calls.
pytestmark = pytest.mark.filterwarnings("ignore:create_react_agent has been moved")

TO_FORECASTER = "transfer_to_forecaster {}"
TO_BOOKER = "transfer_to_booker {}"


def sub_agents(keep: bool | None = None) -> list[Any]:
    """Return two agents, which keep their memory if that is said."""
    return [
        create_agent(Follower(), [weather], name="forecaster", checkpointer=keep),
        create_agent(Follower(), [book], name="booker", checkpointer=keep),
    ]


def supervised(chat: Chat, keep: bool | None = None) -> Any:
    """Return a supervisor of two agents."""
    return chat.compile(create_supervisor(sub_agents(keep), model=Follower()))


async def test_a_supervisor_hands_over_and_gets_back(beside: Beside) -> None:
    """Two turns, one agent in each."""
    given = (f"{TO_FORECASTER}\n{ROME}", f"{TO_BOOKER}\n{RITZ}")
    told = await beside.compare(supervised, *given)
    assert any("sun in Rome" in text for text in told.texts)
    assert any("booked Ritz" in text for text in told.texts)
    assert told.statuses == ["idle", "idle"]
    assert (await told.session()).title == f"{TO_FORECASTER} {ROME}"


async def test_sub_agents_keep_their_memory(beside: Beside) -> None:
    """Compiled with `checkpointer=True`, each has a namespace in the thread, turn after turn."""
    given = (f"{TO_FORECASTER}\n{ROME}", f"{TO_FORECASTER}\n{OSLO}")
    told = await beside.compare(lambda chat: supervised(chat, True), *given, by="user_id")
    assert any("sun in Oslo" in text for text in told.texts)
    await told.session()


async def test_an_expert_behind_a_tool_keeps_its_memory(beside: Beside) -> None:
    """What a tool asks an agent is answered with what that was asked before."""
    rome, oslo = (f"ask {json.dumps({'question': line})}" for line in (ROME, OSLO))
    told = await beside.compare(asking_an_expert, rome, oslo)
    assert [text for text in told.texts if text.startswith(("3: sun", "7: sun"))]
    assert told.texts[2] == "3: sun in Rome"
    assert told.texts[6] == "7: sun in Oslo"
    await told.session()


def swarm(chat: Chat) -> Any:
    """Return a swarm of two agents."""
    forecaster = create_agent(
        Follower(), [weather, create_handoff_tool(agent_name="booker")], name="forecaster"
    )
    booker = create_agent(
        Follower(), [book, create_handoff_tool(agent_name="forecaster")], name="booker"
    )
    return chat.compile(create_swarm([forecaster, booker], default_active_agent="forecaster"))


async def test_a_swarm_goes_on_with_the_agent_that_was_active(beside: Beside) -> None:
    """Who took over answers the next turn, too."""
    told = await beside.compare(swarm, f"{ROME}\n{TO_BOOKER}", RITZ)
    assert told.values["active_agent"] == "booker"
    assert any("booked Ritz" in text for text in told.texts)
    assert told.statuses == ["idle", "idle"]
    assert (await told.session()).title == f"{ROME} {TO_BOOKER}"
