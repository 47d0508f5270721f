"""The graphs that the server runs."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from langgraph_sessions import SessionNotFoundError, get_session


async def count(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Say how many messages there are, and whose session it is; be slow if asked to."""
    try:
        user_id = get_session(config).user_id
    except SessionNotFoundError:
        user_id = "nobody"
    if "slow" in state["messages"][-1].text:
        await asyncio.sleep(60)  # Until it is stopped.
    return {"messages": [AIMessage(f"{len(state['messages'])} of {user_id}")]}


async def ask(state: MessagesState) -> dict[str, Any]:
    """Ask whether to go on."""
    return {"messages": [AIMessage(f"You said {interrupt('Sure?')}")]}


async def fail(state: MessagesState) -> dict[str, Any]:
    """Fail."""
    raise ValueError("boom")


def _graph(node: Any) -> Any:
    return StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()


chat, asking, failing = _graph(count), _graph(ask), _graph(fail)
