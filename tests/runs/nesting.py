"""Graphs that call graphs, with each kind of saver, ours and LangGraph's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.func import entrypoint, task

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.graphs import Model, chain, says
from tests.support import Chat, past_pooler, texts

KINDS = ["sync", "async", "awaited"]


class Awaited(Chat):
    """A `SessionSaver` whose graphs are awaited."""

    def __init__(self, saver: Any) -> None:
        """Have graphs awaited, and nothing else."""
        super().__init__(saver)
        self.is_async = True

    async def session(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method* of the session manager, which is a sync one."""
        return await asyncio.to_thread(getattr(self.saver.sessions, method), *args, **kwargs)


@asynccontextmanager
async def talking(kind: str, url: str) -> AsyncIterator[Chat]:
    """Have a chat of this *kind*."""
    if kind == "async":
        async with AsyncSessionSaver(url) as saver:
            yield Chat(saver)
    else:
        with SessionSaver(url) as saver:
            yield Chat(saver) if kind == "sync" else Awaited(saver)


@asynccontextmanager
async def plainly(kind: str, url: str) -> AsyncIterator[Chat]:
    """Have a chat with LangGraph's own saver; its sync one cannot be awaited."""
    if kind == "sync":
        with PostgresSaver.from_conn_string(past_pooler(url)) as saver:
            yield Chat(saver)  # type: ignore[arg-type]
    else:
        async with AsyncPostgresSaver.from_conn_string(past_pooler(url)) as saver:
            chat = Chat(saver)  # type: ignore[arg-type]
            chat.is_async = True
            yield chat


# What calls something: each makes a graph in which *act*, a coroutine, is done with the config.

Act = Callable[[RunnableConfig], Any]


def acting(chat: Chat, act: Act) -> Any:
    """Return a node that does *act*, and says what that returns."""

    def said(result: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(str(result))]}

    async def anode(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return said(await act(config))

    def node(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return said(act(config))

    return anode if chat.is_async else node


def node(chat: Chat, act: Act) -> Any:
    """A node."""
    return chat.compile(chain(outer=acting(chat, act)))


def node_below(chat: Chat, act: Act) -> Any:
    """A node of a subgraph."""
    return chat.compile(chain(sub=chain(deep=acting(chat, act)).compile(), after=says("after")))


def tool(chat: Chat, act: Act) -> Any:
    """A tool of an agent."""

    def look(city: str, config: RunnableConfig) -> str:
        return str(act(config))

    async def alook(city: str, config: RunnableConfig) -> str:
        return str(await act(config))

    weather = StructuredTool.from_function(
        func=None if chat.is_async else look,
        coroutine=alook if chat.is_async else None,
        name="weather",
        description="Look up the weather.",
    )
    return create_agent(Model(), [weather], checkpointer=chat.saver)


def workflow(chat: Chat, act: Act) -> Any:
    """An entrypoint."""

    async def arun(given: Any, config: RunnableConfig) -> Any:
        return {"messages": [AIMessage(str(await act(config)))]}

    def run(given: Any, config: RunnableConfig) -> Any:
        return {"messages": [AIMessage(str(act(config)))]}

    return entrypoint(checkpointer=chat.saver)(arun if chat.is_async else run)


def step(chat: Chat, act: Act) -> Any:
    """A task of an entrypoint."""

    @task
    async def adone(given: Any, config: RunnableConfig) -> str:
        return str(await act(config))

    @task
    def done(given: Any, config: RunnableConfig) -> str:
        return str(act(config))

    async def arun(given: Any) -> Any:
        return {"messages": [AIMessage(await adone(given))]}

    def run(given: Any) -> Any:
        return {"messages": [AIMessage(done(given).result())]}

    return entrypoint(checkpointer=chat.saver)(arun if chat.is_async else run)


CALLERS = [node, node_below, tool, workflow, step]


def does(chat: Chat, method: str, graph: Any, *args: Any, **kwargs: Any) -> Any:
    """Call *method* of *graph*, or return its twin's coroutine, to be awaited by a node."""
    return getattr(graph, f"a{method}" if chat.is_async else method)(*args, **kwargs)


def inner(chat: Chat, checkpointer: Any = None) -> Any:
    """Return the graph that is called: it says how much was said before."""

    def count(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{len(state['messages'])} inside")]}

    return chain(shallow=count).compile(checkpointer=checkpointer or chat.saver)


async def history(chat: Chat, graph: Any, where: RunnableConfig) -> list[tuple[Any, Any, Any, Any]]:
    """Return what *graph* keeps, newest first: source, step, what is next, and what was said."""
    states = await chat.call(graph, "get_state_history", where)
    return [(s.metadata["source"], s.metadata["step"], s.next, texts(s)) for s in states]


async def exported(chat: Chat, user_id: str) -> set[str]:
    """Return the threads that an export of the user's has."""
    records = chat.saver.sessions.export_user(user_id)
    if hasattr(records, "__aiter__"):
        found = [record async for record in records]
    else:
        found = await asyncio.to_thread(list, records)
    return {record["thread_id"] for record in found if "thread_id" in record}
