"""Chats with several agents on one database."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.support import Chat


class Agents:
    """Chats with several agents on the database of one, all sync or all async."""

    def __init__(self, chat: Chat, url: str, stack: AsyncExitStack) -> None:
        """Make savers like that of *chat*, which has no agent, until *stack* is closed."""
        self.nobody = chat
        self.url, self._stack = url, stack

    async def of(self, agent: str, **options: Any) -> Chat:
        """Return a chat with an agent."""
        if self.nobody.is_async:
            saver = AsyncSessionSaver(self.url, agent=agent, **options)
            return Chat(await self._stack.enter_async_context(saver))
        return Chat(self._stack.enter_context(SessionSaver(self.url, agent=agent, **options)))


async def names(chat: Chat, user: str | None = "alice", **filters: Any) -> list[str | None]:
    """Return the agents of the sessions that *chat* lists."""
    return [session.agent for session in await chat.sessions(user, **filters)]
