"""Agents and the functional API, with a user: one session, one thread, the right conversation."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import ToolMessage
from langgraph.func import entrypoint, task
from langgraph.types import Command, interrupt

from tests.graphs import DURABILITIES, Model, weather
from tests.savers.saved import ALICE, Connection, conversation, only_session
from tests.support import Chat, config, texts


async def test_an_agent_calls_its_tool_and_goes_on_in_a_second_turn(
    chat: Chat, db: Connection
) -> None:
    """`create_agent` keeps both turns, tool calls included, in the session its tool sees."""
    agent = create_agent(Model(), [weather], checkpointer=chat.saver)
    await chat.say("Rome", agent, user_id="alice")
    await chat.say("Oslo", agent, user_id="alice")
    session = await only_session(chat, db)
    rome, oslo = (f"sun in {city} for {session.thread_id}" for city in ("Rome", "Oslo"))
    assert await conversation(chat, agent, session) == [
        *("Rome", "", rome, f"3: {rome}"),
        *("Oslo", "", oslo, f"7: {oslo}"),
    ]


async def test_an_agent_waits_for_approval(chat: Chat, db: Connection) -> None:
    """An agent that a human must approve resumes with nothing but the user's id."""
    approval = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    agent = create_agent(Model(), [weather], middleware=[approval], checkpointer=chat.saver)
    assert (await chat.say("Rome", agent, user_id="alice"))["__interrupt__"]
    approve = Command(resume={"decisions": [{"type": "approve"}]})
    state = await chat.call(agent, "invoke", approve, ALICE)
    session = await only_session(chat, db)
    assert isinstance(state["messages"][2], ToolMessage)
    assert texts(state)[-1] == f"3: sun in Rome for {session.thread_id}"


def running_total(chat: Chat) -> Any:
    """Return an entrypoint that adds up what it is given, with a task."""

    @task
    def double(number: int) -> int:
        return 2 * number

    @entrypoint(checkpointer=chat.saver)
    def total(number: int, *, previous: int | None = None) -> Any:
        value = (previous or 0) + double(number).result()
        return entrypoint.final(value=f"it is {value}", save=value)

    return total


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_entrypoint_finds_its_previous_value(
    chat: Chat, db: Connection, durability: str
) -> None:
    """`previous` is what the same user's run before saved; another user starts afresh."""
    total = running_total(chat)
    for number, expected in ((1, "it is 2"), (3, "it is 8")):
        given = (total, "invoke", number, ALICE)
        assert await chat.call(*given, durability=durability) == expected
    await only_session(chat, db)
    assert await chat.call(total, "invoke", 1, config(user_id="bob")) == "it is 2"


async def test_an_entrypoint_resumes_without_repeating_its_tasks(
    chat: Chat, db: Connection
) -> None:
    """After an interrupt in an entrypoint, the tasks that were done are not run again."""
    ran: list[str] = []

    @task
    def draft(topic: str) -> str:
        ran.append(topic)
        return f"On {topic}"

    @entrypoint(checkpointer=chat.saver)
    def write(topic: str) -> str:
        return f"{draft(topic).result()}, {interrupt('Your name?')}"

    await chat.call(write, "invoke", "cats", ALICE)
    assert await chat.call(write, "invoke", Command(resume="Ann"), ALICE) == "On cats, Ann"
    assert ran == ["cats"]
    await only_session(chat, db)
