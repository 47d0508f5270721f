"""`AsyncAgentSessionManager`: the session manager for event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions import checks
from langgraph_sessions.checks import ThreadId, UserId
from langgraph_sessions.database.aio_database import AsyncConn, AsyncDatabase
from langgraph_sessions.database.deeds import ado
from langgraph_sessions.database.pools import POOL_SIZE
from langgraph_sessions.database.source import Path
from langgraph_sessions.models import DEFAULT_TITLE, Session
from langgraph_sessions.outage import bridge
from langgraph_sessions.outage.state import OUTAGE_LIMIT
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions.sessions import deletion, operations, upkeep
from langgraph_sessions.sessions.aio_manager_reading import AsyncManagerReading
from langgraph_sessions.sessions.aio_manager_upkeep import AsyncManagerUpkeep
from langgraph_sessions.types import OnOutage, SessionUpdates


class AsyncAgentSessionManager(AsyncManagerReading, AsyncManagerUpkeep):
    """Async version of `AgentSessionManager`: the same methods as coroutines.

    It belongs to the event loop in which it was first used: those that ask the database raise
    `RuntimeError` in another one.
    """

    def __init__(
        self,
        conn: str | AsyncConn | AsyncDatabase | None = None,
        serde: SerializerProtocol | None = None,
        *,
        path: Path | None = None,
        pool_size: int = POOL_SIZE,
        auto_setup: bool = True,
        agent: str | None = None,
        thread_id_factory: ThreadIdFactory = default_thread_id,
        cache_size: int = 1000,
        cache_ttl: float = 5.0,
        on_outage: OnOutage = "memory",
        outage_limit: int = OUTAGE_LIMIT,
        retry_for: float = 5.0,
        auto_title: bool | None = None,
        default_title: str = DEFAULT_TITLE,
    ) -> None:
        """Async version of `AgentSessionManager.__init__`."""
        super().__init__(
            serde, thread_id_factory, cache_size, cache_ttl, agent, auto_title, default_title
        )
        self._owns_database = not isinstance(conn, AsyncDatabase)
        self._database = (
            conn
            if isinstance(conn, AsyncDatabase)
            else bridge.async_database(
                conn,
                path=path,
                pool_size=pool_size,
                auto_setup=auto_setup,
                thread_id_factory=thread_id_factory,
                on_outage=on_outage,
                outage_limit=outage_limit,
                retry_for=retry_for,
            )
        )
        # Sessions begun in memory are numbered by the database, and it may have other ones.
        self._database.on_change = self.cache.clear

    async def close(self) -> None:
        """Async version of `AgentSessionManager.close`."""
        if self._owns_database:
            await self._database.close()

    async def create_user_session(
        self,
        user_id: UserId,
        title: str | None = None,
        *,
        thread_id: ThreadId | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        """Async version of `AgentSessionManager.create_user_session`."""
        return await self._database.run(self._create(user_id, title, thread_id, metadata))

    async def get_or_create_user_session(
        self, user_id: UserId, title: str | None = None
    ) -> Session:
        """Async version of `AgentSessionManager.get_or_create_user_session`."""
        return await self._database.run(self._get_or_create(user_id, title))

    async def get_current_user_session(self, user_id: UserId) -> Session:
        """Async version of `AgentSessionManager.get_current_user_session`."""
        return await self._database.run(
            self._reading(operations.get_current(user_id, self.agent), user_id)
        )

    async def get_session(self, user_id: UserId, thread_id: ThreadId) -> Session:
        """Async version of `AgentSessionManager.get_session`."""
        plan = operations.get(user_id, thread_id, self.agent)
        return await self._database.run(self._reading(plan, user_id, thread_id))

    async def run_config(
        self,
        user_id: UserId,
        *,
        thread_id: ThreadId | None = None,
        new_session: bool = False,
        title: str | None = None,
        make_current: bool = True,
    ) -> RunnableConfig:
        """Async version of `AgentSessionManager.run_config`."""
        factory = self.thread_id_factory
        return await self._database.run(
            operations.run_config(
                user_id, thread_id, new_session, title, make_current, factory, self.agent
            )
        )

    async def update_session(
        self, user_id: UserId, updates: SessionUpdates, *, thread_id: ThreadId | None = None
    ) -> Session:
        """Async version of `AgentSessionManager.update_session`."""
        return await self._database.run(self._update(user_id, updates, thread_id))

    async def switch_session(self, user_id: UserId, thread_id: ThreadId) -> Session:
        """Async version of `AgentSessionManager.switch_session`."""
        return await self._database.run(self._switch(user_id, thread_id))

    async def deactivate_session(
        self, user_id: UserId, *, thread_id: ThreadId | None = None
    ) -> int:
        """Async version of `AgentSessionManager.deactivate_session`."""
        return await self._database.run(self._deactivate(user_id, thread_id))

    async def has_session(self, user_id: UserId) -> bool:
        """Async version of `AgentSessionManager.has_session`."""
        return bool(await self._database.run(operations.has(user_id, self.agent)))

    async def delete_session(self, user_id: UserId, thread_id: ThreadId) -> None:
        """Async version of `AgentSessionManager.delete_session`."""
        user = checks.user_id(user_id)
        plan = deletion.delete(user, thread_id, self.agent)
        await self._database.run(self.cache.forgetting(plan, user))

    async def fork_session(
        self,
        user_id: UserId,
        thread_id: ThreadId,
        *,
        checkpoint_id: str | None = None,
        title: str | None = None,
    ) -> Session:
        """Async version of `AgentSessionManager.fork_session`."""
        factory = self.thread_id_factory
        plan = upkeep.fork(user_id, thread_id, checkpoint_id, title, factory, self.agent)
        return await self._database.run(self.cache.writing(plan))

    @asynccontextmanager
    async def exclusive(
        self, user_id: UserId, thread_id: ThreadId | None = None, timeout: float | None = None
    ) -> AsyncIterator[Session]:
        """Async version of `AgentSessionManager.exclusive`."""
        turn = self._turn(user_id, thread_id, timeout)
        try:
            yield await ado(turn.take_deed(self._database))
        finally:
            await ado(turn.leave_deed())

    async def clear_memory_cache(self) -> None:
        """Async version of `AgentSessionManager.clear_memory_cache`."""
        self.cache.clear()

    async def get_session_count(self) -> int:
        """Async version of `AgentSessionManager.get_session_count`."""
        return len(self.cache)
