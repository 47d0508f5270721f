"""A run that is under way while a test looks at it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState

from tests.support import PATIENCE, Chat, config, graph_builder


class Blocking:
    """A node that waits until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def __call__(self, state: MessagesState) -> dict[str, Any]:
        self.entered.set()
        assert self.go_on.wait(60)
        return {"messages": [AIMessage("done")]}


@asynccontextmanager
async def under_way(chat: Chat, given: Any = None, **who: Any) -> AsyncIterator[Any]:
    """A run that waits in a node during the block, after which it goes on.

    What is yielded is the run, to be awaited after the block.
    """
    node = Blocking()
    graph = chat.compile(graph_builder(node))
    given = given or {"messages": ["at work"]}
    run = asyncio.create_task(chat.call(graph, "invoke", given, config(**who), durability="sync"))
    try:
        assert await asyncio.to_thread(node.entered.wait, PATIENCE)
        yield run
    finally:
        node.go_on.set()
        await asyncio.gather(run, return_exceptions=True)
