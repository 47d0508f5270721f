"""Conversations with a titler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.support import Chat

Open = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def open_chat(request: pytest.FixtureRequest, url: str) -> Open:
    """What opens a conversation whose saver has a titler, which has ended when it is closed."""

    @asynccontextmanager
    async def opened(titler: Any) -> AsyncIterator[Chat]:
        if request.param == "async":
            async with AsyncSessionSaver(url, titler=titler) as saver:
                yield Chat(saver)
            return
        sync = SessionSaver(url, titler=titler)
        try:
            yield Chat(sync)
        finally:
            await asyncio.to_thread(sync.close)

    return opened
