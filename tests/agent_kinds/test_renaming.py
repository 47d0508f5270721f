"""A tool that renames its own conversation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool

from langgraph_sessions import get_session
from tests.agent_kinds.following import ROME, Follower, weather
from tests.savers.saved import ALICE
from tests.support import Chat, texts


def renaming(chat: Chat) -> Any:
    """Return an agent that may rename its conversation."""
    saver: Any = chat.saver

    @tool
    def rename(title: str, config: RunnableConfig) -> str:
        """Give this conversation a title that says what it is about."""
        where = get_session(config).config["configurable"]  # its user_id and thread_id
        return str(saver.sessions.update_session(updates={"title": title}, **where).title)

    @tool("rename")
    async def arename(title: str, config: RunnableConfig) -> str:
        """Give this conversation a title that says what it is about."""
        where = get_session(config).config["configurable"]
        return str((await saver.sessions.update_session(updates={"title": title}, **where)).title)

    own = arename if chat.is_async else rename
    return create_agent(Follower(), [own, weather], checkpointer=chat.saver)


def rename(title: str) -> str:
    """Return the line that has the conversation renamed."""
    return f"rename {json.dumps({'title': title})}"


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_a_tool_renames_its_conversation(chat: Chat, durability: str) -> None:
    """In its first turn and in later ones; what is said afterwards leaves the title as it is."""
    agent = renaming(chat)
    for line, title in ((rename("Rome"), "Rome"), (ROME, "Rome"), (rename("Oslo"), "Oslo")):
        given = {"messages": [line]}
        state = await chat.call(agent, "invoke", given, ALICE, durability=durability)
        assert (await chat.current()).title == title
    assert texts(state)[-2:] == ["Oslo", "11: Oslo"]
    assert len(await chat.sessions(None)) == 1


async def test_a_tool_renames_nobody_elses_conversation(chat: Chat) -> None:
    """Whatever the model asks for, it is the conversation of the run that is renamed."""
    agent = renaming(chat)
    await chat.say("Hers", user_id="alice")
    await chat.say(rename("Mine"), agent, user_id="bob")
    assert {s.user_id: s.title for s in await chat.sessions(None)} == {
        "alice": "Hers",
        "bob": "Mine",
    }


async def test_with_durability_exit_a_first_turn_has_nothing_to_rename(chat: Chat) -> None:
    """Its session is made when it ends."""
    agent, given = renaming(chat), {"messages": [rename("Rome")]}
    await chat.call(agent, "invoke", given, ALICE, durability="exit")
    assert (await chat.current()).title == "Rome"
