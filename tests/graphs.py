"""Graphs, and nodes of graphs, that tests of several rooms run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from tests.support import Chat

DURABILITIES = ["sync", "async", "exit"]


def chain(**nodes: Any) -> StateGraph[MessagesState, None, MessagesState, MessagesState]:
    """Return a graph of *nodes* one after another."""
    builder = StateGraph(MessagesState)
    builder.add_sequence(list(nodes.items()))
    builder.add_edge(START, next(iter(nodes)))
    return builder


def says(text: str) -> Callable[[MessagesState], dict[str, Any]]:
    """Return a node that says *text*."""
    return lambda state: {"messages": [AIMessage(text)]}


def answers(state: MessagesState) -> dict[str, Any]:
    """Answer the last message."""
    return {"messages": [AIMessage(f"re {state['messages'][-1].content}")]}


def ask(state: MessagesState) -> dict[str, Any]:
    """Ask the human, and repeat the answer."""
    return {"messages": [AIMessage(f"You said {interrupt('Why?')}")]}


def calls(chat: Chat, graph: Any, given: Any = None, to: RunnableConfig | None = None) -> Any:
    """Return a node that invokes *graph*, on the state by default, and says its last words."""

    def last(result: Any) -> dict[str, Any]:
        return {"messages": result["messages"][-1:]}

    def call(state: MessagesState) -> dict[str, Any]:
        return last(graph.invoke(given or state, to))

    async def acall(state: MessagesState) -> dict[str, Any]:
        return last(await graph.ainvoke(given or state, to))

    return acall if chat.is_async else call


class Model(BaseChatModel):
    """A chat model that looks up the weather of whatever it is told, and reports it."""

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        last = messages[-1]
        answer = AIMessage(f"{len(messages)}: {last.content}")
        if isinstance(last, HumanMessage):
            call = {"name": "weather", "args": {"city": last.content}, "id": f"{len(messages)}"}
            answer = AIMessage("", tool_calls=[{**call, "type": "tool_call"}])
        return ChatResult(generations=[ChatGeneration(message=answer)])


@tool
def weather(city: str, config: RunnableConfig) -> str:
    """Look up the weather."""
    return f"sun in {city} for {config['configurable']['thread_id']}"


def delta_graph(chat: Chat, snapshot_frequency: int, **nodes: Any) -> Any:
    """Return a graph whose messages are a `DeltaChannel`."""
    delta = pytest.importorskip("langgraph.channels.delta")
    from langgraph.graph.message import _messages_delta_reducer as reducer

    channel = delta.DeltaChannel(reducer, snapshot_frequency=snapshot_frequency)
    fields = {"messages": Annotated[list[AnyMessage], channel]}
    builder = StateGraph(TypedDict("State", fields))
    builder.add_sequence(list(nodes.items()))
    builder.add_edge(START, next(iter(nodes)))
    return chat.compile(builder)
