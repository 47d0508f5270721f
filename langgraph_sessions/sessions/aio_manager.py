"""`AsyncAgentSessionManager`: the session manager for event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncConnection

from langgraph_sessions import checks
from langgraph_sessions.checks import UserId
from langgraph_sessions.database.aio_connections import AsyncConn, aresult
from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.database.pools import POOL_SIZE
from langgraph_sessions.database.source import Path
from langgraph_sessions.models import DEFAULT_TITLE, Session, SessionPage
from langgraph_sessions.outage.sessions import refuse
from langgraph_sessions.outage.state import OUTAGE_LIMIT
from langgraph_sessions.plans import Plan
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions.sessions import operations, upkeep
from langgraph_sessions.sessions.aio_manager_upkeep import AsyncHousekeeper
from langgraph_sessions.sessions.cache import SessionCache
from langgraph_sessions.sessions.exclusive import Turn
from langgraph_sessions.sessions.listing import Listing


class AsyncAgentSessionManager(AsyncHousekeeper):
    """Async version of `AgentSessionManager`: the same methods as coroutines."""

    def __init__(
        self,
        conn: str | AsyncConn | AsyncDatabase | None = None,
        serde: SerializerProtocol | None = None,
        *,
        path: Path | None = None,
        pool_size: int = POOL_SIZE,
        auto_setup: bool = True,
        thread_id_factory: ThreadIdFactory = default_thread_id,
        cache_size: int = 1000,
        cache_ttl: float = 5.0,
        on_outage: str = "memory",
        outage_limit: int = OUTAGE_LIMIT,
        retry_for: float = 5.0,
    ) -> None:
        """Async version of `AgentSessionManager.__init__`."""
        self._owns_database = not isinstance(conn, AsyncDatabase)
        self._database = (
            conn
            if isinstance(conn, AsyncDatabase)
            else AsyncDatabase(
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
        self.thread_id_factory = self._database.thread_id_factory
        self._serde = checks.serde(serde)
        self.cache = SessionCache(cache_size, cache_ttl)
        # Sessions begun in memory are numbered by the database, and it may have other ones.
        self._database.on_change = self.cache.clear

    async def close(self) -> None:
        """Async version of `AgentSessionManager.close`."""
        if self._owns_database:
            await self._database.close()

    async def create_user_session(
        self,
        user_id: UserId,
        title: str = DEFAULT_TITLE,
        *,
        thread_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        """Async version of `AgentSessionManager.create_user_session`."""
        factory = self.thread_id_factory
        return await self._write(operations.create(user_id, title, thread_id, metadata, factory))

    async def get_or_create_user_session(
        self, user_id: UserId, title: str = DEFAULT_TITLE
    ) -> Session:
        """Async version of `AgentSessionManager.get_or_create_user_session`."""
        plan = operations.get_or_create(user_id, title, self.thread_id_factory)
        return await self._write(plan)

    async def get_current_user_session(self, user_id: UserId) -> Session:
        """Async version of `AgentSessionManager.get_current_user_session`."""
        return await self._read(operations.get_current(user_id), user_id)

    async def get_session(self, user_id: UserId, thread_id: str) -> Session:
        """Async version of `AgentSessionManager.get_session`."""
        return await self._read(operations.get(user_id, thread_id), user_id, thread_id)

    async def update_session(
        self, user_id: UserId, updates: Mapping[str, Any], *, thread_id: str | None = None
    ) -> Session:
        """Async version of `AgentSessionManager.update_session`."""
        return await self._write(operations.update(user_id, updates, thread_id))

    async def switch_session(self, user_id: UserId, thread_id: str) -> Session:
        """Async version of `AgentSessionManager.switch_session`."""
        return await self._write(operations.switch(user_id, thread_id))

    async def deactivate_session(self, user_id: UserId, *, thread_id: str | None = None) -> int:
        """Async version of `AgentSessionManager.deactivate_session`."""
        user = checks.user_id(user_id)
        try:
            return await self._database.run(operations.deactivate(user, thread_id))
        finally:
            self.cache.forget_user(user)

    async def has_session(self, user_id: UserId) -> bool:
        """Async version of `AgentSessionManager.has_session`."""
        return bool(await self._database.run(operations.has(user_id)))

    async def list_active_sessions(self, user_id: UserId | None = None) -> list[Session]:
        """Async version of `AgentSessionManager.list_active_sessions`."""
        return await self._database.run(operations.list_all(Listing(user_id, active=True)))

    async def list_sessions(
        self,
        user_id: UserId | None = None,
        *,
        active: bool | None = None,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        status: str | None = None,
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
            updated_after=updated_after,
            updated_before=updated_before,
            cursor=cursor,
        )
        return await self._database.run(operations.list_page(listing, limit))

    async def count_sessions(
        self, user_id: UserId | None = None, *, active: bool | None = None
    ) -> int:
        """Async version of `AgentSessionManager.count_sessions`."""
        return await self._database.run(operations.count(Listing(user_id, active=active)))

    async def delete_session(self, user_id: UserId, thread_id: str) -> None:
        """Async version of `AgentSessionManager.delete_session`."""
        user = checks.user_id(user_id)
        try:
            await self._database.run(operations.delete(user, thread_id))
        finally:
            self.cache.forget_user(user)

    async def fork_session(
        self,
        user_id: UserId,
        thread_id: str,
        *,
        checkpoint_id: str | None = None,
        title: str | None = None,
    ) -> Session:
        """Async version of `AgentSessionManager.fork_session`."""
        factory = self.thread_id_factory
        plan = upkeep.fork(user_id, thread_id, checkpoint_id, title, factory)
        return await self._write(plan)

    @asynccontextmanager
    async def exclusive(
        self, user_id: UserId, thread_id: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[Session]:
        """Async version of `AgentSessionManager.exclusive`."""
        turn = Turn(user_id, thread_id, timeout, self.thread_id_factory)
        conn, session = await self._database.either(partial(self._take, turn), refuse)
        try:
            yield session
        finally:
            await conn.close()

    async def _take(self, turn: Turn) -> tuple[AsyncConnection[Any], Session]:
        session = await self._database.run_durably(turn.find())
        conn = await self._database.connect()
        try:
            locked = None
            # The current session may be another one since the wait for it began.
            while locked != session.thread_id:
                await aresult(conn, turn.lock(session))
                locked = session.thread_id
                session = await self._database.run_durably(turn.find())
        except BaseException:
            await conn.close()
            raise
        return conn, session

    async def clear_memory_cache(self) -> None:
        """Async version of `AgentSessionManager.clear_memory_cache`."""
        self.cache.clear()

    async def get_session_count(self) -> int:
        """Async version of `AgentSessionManager.get_session_count`."""
        return len(self.cache)

    async def _read(
        self, plan: Plan[Session], user_id: UserId, thread_id: str | None = None
    ) -> Session:
        cached = self.cache.get(checks.user_id(user_id), thread_id)
        if cached is not None and self._database.durable:
            return cached
        began = self.cache.now()
        session = await self._database.run(plan)
        self.cache.keep(session, began, current=thread_id is None)
        return session
