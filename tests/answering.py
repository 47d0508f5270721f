"""A graph that answers, run by another saver or in another process."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState, StateGraph

from langgraph_sessions import ConcurrentRunError, SessionSaver
from tests.support import PATIENCE, config, graph_builder

# LangGraph is imported once, not by each process.
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload([__name__])


TRIES = 100  # Of a turn; the run around it saves a few times.


def answer(state: MessagesState) -> dict[str, Any]:
    """Answer the last message."""
    return {"messages": [AIMessage(f"re {state['messages'][-1].content}")]}


def answering() -> StateGraph[MessagesState, None, MessagesState, MessagesState]:
    """Return a graph of two nodes, the first of which answers."""
    builder = graph_builder(answer)
    builder.add_node("think", lambda state: {})
    builder.add_edge("node", "think")
    return builder


def apart(url: str, *said: str, user_id: str = "alice") -> None:
    """Run turns with another saver, in a thread, out of whatever run this is called in.

    That run may still be saving what it was told, for which a turn is refused: it is said again.
    """

    def talk() -> None:
        with SessionSaver(url) as saver:
            graph = answering().compile(checkpointer=saver)
            for text in said:
                assert any(heard(graph, text) for _ in range(TRIES)), f"{text!r} is never heard"

    def heard(graph: Any, text: str) -> bool:
        try:
            graph.invoke({"messages": [text]}, config(user_id=user_id))
        except ConcurrentRunError:
            return False
        return True

    with ThreadPoolExecutor(1) as pool:
        pool.submit(talk).result(PATIENCE)
