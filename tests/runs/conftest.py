"""Chats for graphs that call graphs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.runs import nesting
from tests.support import Chat


@pytest.fixture(params=nesting.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of saver: sync, async, and the sync one whose graphs are awaited."""
    return str(request.param)


@pytest.fixture
async def ours(kind: str, url: str) -> AsyncIterator[Chat]:
    """A conversation with a saver of this kind."""
    async with nesting.talking(kind, url) as chat:
        yield chat


@pytest.fixture
async def plain(kind: str, url: str) -> AsyncIterator[Chat]:
    """The same with LangGraph's own saver."""
    async with nesting.plainly(kind, url) as chat:
        yield chat
