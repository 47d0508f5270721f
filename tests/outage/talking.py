"""What tests of outages share: talk to a saver, and what the database has of it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.servers import until
from tests.support import Chat, graph_builder, texts

STOPS = [signal.SIGQUIT, signal.SIGKILL]
DURABILITIES = ["sync", "async", "exit"]


@asynccontextmanager
async def chatting(kind: str, url: str, **options: Any) -> AsyncIterator[Chat]:
    """Talk to a saver that soon takes a server that does not answer for one that is away."""
    options = {"retry_for": 0.1, **options}
    if kind == "async":
        async with AsyncSessionSaver(url, **options) as saver:
            yield Chat(saver)
        return
    sync_saver = SessionSaver(url, **options)
    try:
        yield Chat(sync_saver)
    finally:
        await asyncio.to_thread(sync_saver.close)


async def returned(chat: Chat) -> None:
    """Wait until all that was held is written."""
    await until(lambda: chat.saver.durable)


async def conversations(url: str, user_id: str = "alice") -> list[list[str]]:
    """Return the texts of the user's sessions, oldest first, as the database has them."""
    return await asyncio.to_thread(saved_conversations, url, user_id)


def saved_conversations(url: str, user_id: str) -> list[list[str]]:
    with SessionSaver(url) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        sessions = sorted(saver.sessions.list_sessions(user_id), key=lambda session: session.id)
        for session in sessions:
            saved = [*saver.list(session.config)][::-1]
            # Each once and in order: the child of the one before it, with a later step.
            for parent, child in pairwise(saved):
                assert child.metadata["step"] > parent.metadata["step"]
                assert child.parent_config == parent.config
        return [texts(graph.get_state(session.config)) for session in sessions]


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what this package warned of."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "langgraph_sessions" and record.levelno >= logging.WARNING
    ]
