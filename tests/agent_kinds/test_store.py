"""Long-term memory: LangGraph's store on the pool that the saver uses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.tools import ToolRuntime
from langchain_core.tools import tool
from langgraph.store.postgres import AsyncPostgresStore, PostgresStore
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.agent_kinds.beside import Beside
from tests.agent_kinds.following import Follower
from tests.runs.nesting import plainly
from tests.support import Chat, psycopg_pool_options, texts


@pytest.fixture(params=["sync", "async"])
async def pool(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Any]:
    """A pool of the application's, as PostgresStore wants it."""
    options = {"kwargs": psycopg_pool_options(), "max_size": 4, "open": False}
    if request.param == "sync":
        with ConnectionPool(url, **options) as sync_pool:
            yield sync_pool
    else:
        async with AsyncConnectionPool(url, **options) as async_pool:
            yield async_pool


async def stored(pool: Any) -> tuple[Chat, Any]:
    """Return a chat and a store on one pool."""
    if isinstance(pool, ConnectionPool):
        store = PostgresStore(pool)
        store.setup()
        return Chat(SessionSaver(pool)), store
    astore = AsyncPostgresStore(pool)
    await astore.setup()
    return Chat(AsyncSessionSaver(pool)), astore


@tool
async def aremember(fact: str, runtime: ToolRuntime) -> str:
    """Remember a fact about the user."""
    await runtime.store.aput(("alice", "facts"), fact, {"fact": fact})  # type: ignore[union-attr]
    return "noted"


@tool
async def arecall(runtime: ToolRuntime) -> str:
    """Recall the facts about the user."""
    found = await runtime.store.asearch(("alice", "facts"))  # type: ignore[union-attr]
    return ", ".join(sorted(item.key for item in found))


@tool
def remember(fact: str, runtime: ToolRuntime) -> str:
    """Remember a fact about the user."""
    runtime.store.put(("alice", "facts"), fact, {"fact": fact})  # type: ignore[union-attr]
    return "noted"


@tool
def recall(runtime: ToolRuntime) -> str:
    """Recall the facts about the user."""
    found = runtime.store.search(("alice", "facts"))  # type: ignore[union-attr]
    return ", ".join(sorted(item.key for item in found))


def remembering(chat: Chat, store: Any) -> Any:
    """Return an agent that remembers and recalls."""
    tools: list[Any] = [remember, recall]
    if chat.is_async:
        tools = [tool.model_copy(update={"name": tool.name[1:]}) for tool in (aremember, arecall)]
    return create_agent(Follower(), tools, checkpointer=chat.saver, store=store)


TEA = 'remember {"fact": "tea"}'


async def test_a_store_on_the_same_pool_is_what_it_is_beside_langgraphs_saver(
    pool: Any, url: str
) -> None:
    """Two turns that write to the store and read it, with both savers."""
    chat, store = await stored(pool)
    async with plainly("async" if chat.is_async else "sync", url) as theirs:
        beside = Beside(chat, theirs)
        told = await beside.compare(lambda each: remembering(each, store), TEA, "recall {}")
    assert told.texts[-2:] == ["tea", "7: tea"]
    assert told.statuses == ["idle", "idle"]


async def test_what_is_stored_is_there_in_the_users_next_session(pool: Any) -> None:
    """The messages are another conversation's, the facts are not."""
    chat, store = await stored(pool)
    agent = remembering(chat, store)
    await chat.say(TEA, agent, user_id="alice")
    state = await chat.say("recall {}", agent, user_id="alice", new_session=True)
    assert texts(state) == ["recall {}", "", "tea", "3: tea"]
    assert len(await chat.sessions()) == 2
