"""What a session without a title is called: `default_title`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver

from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    AsyncSessionSaver,
    SessionSaver,
    get_session,
)
from langgraph_sessions.sql.saving import PutSession
from tests.outage.talking import chatting
from tests.plans import Answering, opened
from tests.sessions.methods import ROW
from tests.support import Chat, config, graph_builder, past_pooler

Connection = psycopg.Connection[Any]

UNTITLED = "Ohne Titel"


@pytest.fixture(params=["sync", "async"])
async def chat(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Chat]:
    """A conversation with either saver, whose sessions have another default title."""
    async with chatting(request.param, url, default_title=UNTITLED) as chat:
        yield chat


async def test_a_run_without_words_is_called_so(chat: Chat) -> None:
    """In the row, to the run's nodes, and until the first human message, which titles it."""
    seen: list[str] = []

    def node(state: Any, config: RunnableConfig) -> dict[str, Any]:
        seen.append(get_session(config).title)
        return {"messages": [AIMessage("Yes?")]}

    graph = chat.compile(graph_builder(node))
    await chat.say(AIMessage("Welcome!"), graph, user_id="alice")
    assert (seen, (await chat.current()).title) == ([UNTITLED], UNTITLED)
    await chat.say("Plan a trip", graph, user_id="alice")
    assert (await chat.current()).title == "Plan a trip"


@pytest.mark.parametrize("method", ["create_user_session", "get_or_create_user_session"])
@pytest.mark.parametrize("given", [(), (None,), (UNTITLED,)], ids=repr)
async def test_a_session_made_without_a_title_is_called_so(
    chat: Chat, method: str, given: tuple[Any, ...]
) -> None:
    """Left out, `None` or the default itself: its first message titles it."""
    assert (await chat.session(method, "alice", *given)).title == UNTITLED
    await chat.say("Plan a trip", user_id="alice")
    assert (await chat.current()).title == "Plan a trip"


@pytest.mark.parametrize("method", ["create_user_session", "get_or_create_user_session"])
async def test_the_usual_default_is_then_a_title(chat: Chat, method: str) -> None:
    """Who calls a session "New Chat" where that is not the default means it."""
    await chat.session(method, "alice", "New Chat")
    await chat.say("Plan a trip", user_id="alice")
    assert (await chat.current()).title == "New Chat"


async def test_a_session_of_another_default_is_titled_all_the_same(chat: Chat, url: str) -> None:
    """Whether somebody titled a session is known by the row, not by the title's text."""
    with SessionSaver(url) as other:
        await asyncio.to_thread(other.sessions.create_user_session, "alice")
    assert (await chat.current()).title == "New Chat"
    await chat.say("Plan a trip", user_id="alice")
    assert (await chat.current()).title == "Plan a trip"


async def test_what_is_adopted_without_words_is_called_so(chat: Chat, url: str) -> None:
    """By `adopt_session`, by `backfill`, and by a run of the user's."""

    def leave() -> None:
        with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
            graph = graph_builder().compile(checkpointer=plain)
            for number in range(3):
                where = config(thread_id=f"t{number}", user_id="alice")
                graph.invoke({"messages": [AIMessage("Welcome!")]}, where)

    await asyncio.to_thread(leave)
    await chat.session("adopt_session", "alice", "t0")
    await chat.say(AIMessage("Still here"), user_id="alice", thread_id="t1")
    await chat.session("backfill")
    assert [session.title for session in await chat.sessions()] == [UNTITLED] * 3
    await chat.say("Plan a trip", user_id="alice", thread_id="t2")
    assert (await chat.current()).title == "Plan a trip"


async def test_a_fork_is_called_as_its_source(chat: Chat) -> None:
    """And titled by its own first message."""
    await chat.say(AIMessage("Welcome!"), user_id="alice")
    fork = await chat.session("fork_session", "alice", (await chat.current()).thread_id)
    assert fork.title == UNTITLED
    await chat.say("Plan a trip", user_id="alice")
    assert sorted(session.title for session in await chat.sessions()) == [UNTITLED, "Plan a trip"]


async def test_a_session_waited_for_is_called_so(chat: Chat) -> None:
    """`exclusive` gives the session that the user's first run is going to make."""
    if chat.is_async:
        async with chat.saver.sessions.exclusive("alice") as session:
            assert session.title == UNTITLED
    else:
        with chat.saver.sessions.exclusive("alice") as session:
            assert session.title == UNTITLED


async def test_a_manager_alone_has_one(url: str) -> None:
    """Both managers take it."""
    manager = AsyncAgentSessionManager(url, default_title=UNTITLED)
    assert (await manager.create_user_session("alice")).title == UNTITLED
    await manager.close()
    sync = AgentSessionManager(url, default_title=UNTITLED)
    assert (await asyncio.to_thread(sync.get_or_create_user_session, "bob")).title == UNTITLED
    await asyncio.to_thread(sync.close)


@pytest.mark.parametrize(
    "kind", [SessionSaver, AsyncSessionSaver, AgentSessionManager, AsyncAgentSessionManager]
)
@pytest.mark.parametrize(
    ("wrong", "error"),
    [(None, TypeError), ("", ValueError), (" ", ValueError), ("x" * 256, ValueError)],
)
async def test_it_is_a_title(url: str, kind: Any, wrong: Any, error: type[Exception]) -> None:
    """What is no title of 1 to 255 characters is refused by its name."""
    with pytest.raises(error, match="default_title"):
        kind(url, default_title=wrong)


def test_a_plan_says_it_with_what_makes_the_session() -> None:
    """The function in the database is told it, and the default itself is no title given."""
    answers = ([], "new", [opened(asked_thread_id="new")], [ROW])
    database = Answering(*answers)
    manager = AgentSessionManager(
        database, thread_id_factory=lambda user_id: "new", default_title=UNTITLED
    )
    manager.get_or_create_user_session("alice", UNTITLED)
    put = PutSession(user_id="alice", thread_id="new", default_title=UNTITLED)
    assert database.asked[-1] == put
