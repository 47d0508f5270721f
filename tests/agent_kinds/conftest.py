"""Both savers on one database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.agent_kinds.beside import Beside
from tests.runs.nesting import plainly
from tests.support import Chat


@pytest.fixture
async def beside(chat: Chat, url: str) -> AsyncIterator[Beside]:
    """Our saver and LangGraph's, both sync or both async."""
    async with plainly("async" if chat.is_async else "sync", url) as theirs:
        yield Beside(chat, theirs)
