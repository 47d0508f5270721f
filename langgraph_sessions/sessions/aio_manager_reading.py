"""The session manager's methods that read one conversation, or all sessions, for event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from langchain_core.messages import BaseMessage

from langgraph_sessions.checks import EVERYBODY, Everybody, ThreadId, UserId
from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.models import CheckpointInfo, Session, SessionPage
from langgraph_sessions.sessions import conversations
from langgraph_sessions.sessions.base_manager import BaseManager
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.types import SessionStatus


class AsyncManagerReading(BaseManager):
    """Async version of `ManagerReading`."""

    _database: AsyncDatabase

    async def get_messages(
        self, user_id: UserId, thread_id: ThreadId, *, checkpoint_id: str | None = None
    ) -> list[BaseMessage]:
        """Async version of `AgentSessionManager.get_messages`."""
        return await self._database.run(
            conversations.messages(user_id, thread_id, checkpoint_id, self.agent, self._serde)
        )

    async def list_checkpoints(
        self, user_id: UserId, thread_id: ThreadId, *, limit: int = 20, before: str | None = None
    ) -> list[CheckpointInfo]:
        """Async version of `AgentSessionManager.list_checkpoints`."""
        return await self._database.run(
            conversations.checkpoints(user_id, thread_id, limit, before, self.agent)
        )

    async def list_active_sessions(self, user_id: UserId | Everybody = EVERYBODY) -> list[Session]:
        """Async version of `AgentSessionManager.list_active_sessions`."""
        return await self._database.run(Listing(user_id, active=True, agent=self.agent).all())

    async def list_sessions(
        self,
        user_id: UserId | Everybody = EVERYBODY,
        *,
        active: bool | None = None,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        status: SessionStatus | None = None,
        agent: str | None = None,
        updated_after: datetime | None = None,
        updated_before: datetime | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SessionPage:
        """Async version of `AgentSessionManager.list_sessions`."""
        listing = Listing(
            user_id,
            active=active,
            title=title,
            metadata=metadata,
            status=status,
            agent=self._listed(agent),
            updated_after=updated_after,
            updated_before=updated_before,
            cursor=cursor,
        )
        return await self._database.run(listing.page(limit))

    async def count_sessions(
        self,
        user_id: UserId | Everybody = EVERYBODY,
        *,
        active: bool | None = None,
        agent: str | None = None,
    ) -> int:
        """Async version of `AgentSessionManager.count_sessions`."""
        listing = Listing(user_id, active=active, agent=self._listed(agent))
        return await self._database.run(listing.count())

    async def iter_sessions(
        self,
        user_id: UserId | Everybody = EVERYBODY,
        *,
        active: bool | None = None,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        status: SessionStatus | None = None,
        agent: str | None = None,
        updated_after: datetime | None = None,
        updated_before: datetime | None = None,
    ) -> AsyncIterator[Session]:
        """Async version of `AgentSessionManager.iter_sessions`."""
        listing = Listing(
            user_id,
            active=active,
            title=title,
            metadata=metadata,
            status=status,
            agent=self._listed(agent),
            updated_after=updated_after,
            updated_before=updated_before,
        )
        async for session in self._database.stream(listing.each()):
            yield session
