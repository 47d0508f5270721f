"""`AsyncAgentSessionManager`: the session manager for event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions import _arguments, _housekeeping, _operations, _reading, _titling
from langgraph_sessions._cache import SessionCache
from langgraph_sessions._database import AsyncConn, AsyncDatabase, Path
from langgraph_sessions._drive import Plan
from langgraph_sessions._functions import DEFAULT_TITLE
from langgraph_sessions._pages import Listing
from langgraph_sessions._thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions._titling import Titler
from langgraph_sessions.models import Session, SessionPage


class AsyncAgentSessionManager:
    """Async version of `AgentSessionManager`: the same methods as coroutines."""

    def __init__(
        self,
        conn: str | AsyncConn | AsyncDatabase | None = None,
        serde: SerializerProtocol | None = None,
        *,
        path: Path | None = None,
        pool_size: int = 10,
        auto_setup: bool = True,
        thread_id_factory: ThreadIdFactory = default_thread_id,
        cache_size: int = 1000,
        cache_ttl: float = 5.0,
    ) -> None:
        """Async version of `AgentSessionManager.__init__`."""
        self._database = (
            conn
            if isinstance(conn, AsyncDatabase)
            else AsyncDatabase(conn, path=path, pool_size=pool_size, auto_setup=auto_setup)
        )
        _arguments.function("thread_id_factory", thread_id_factory)
        self.thread_id_factory = thread_id_factory
        self._serde = serde
        self.cache = SessionCache(cache_size, cache_ttl)

    async def close(self) -> None:
        """Async version of `AgentSessionManager.close`."""
        await self._database.close()

    async def create_user_session(
        self,
        user_id: str,
        title: str = DEFAULT_TITLE,
        *,
        thread_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Async version of `AgentSessionManager.create_user_session`."""
        factory = self.thread_id_factory
        return await self._write(_operations.create(user_id, title, thread_id, metadata, factory))

    async def get_or_create_user_session(self, user_id: str, title: str = DEFAULT_TITLE) -> Session:
        """Async version of `AgentSessionManager.get_or_create_user_session`."""
        plan = _operations.get_or_create(user_id, title, self.thread_id_factory)
        return await self._write(plan)

    async def get_current_user_session(self, user_id: str) -> Session:
        """Async version of `AgentSessionManager.get_current_user_session`."""
        return await self._read(_operations.get_current(user_id), user_id)

    async def get_session(self, user_id: str, thread_id: str) -> Session:
        """Async version of `AgentSessionManager.get_session`."""
        return await self._read(_operations.get(user_id, thread_id), user_id, thread_id)

    async def update_session(
        self, user_id: str, updates: Mapping[str, Any], *, thread_id: str | None = None
    ) -> Session:
        """Async version of `AgentSessionManager.update_session`."""
        return await self._write(_operations.update(user_id, updates, thread_id))

    async def switch_session(self, user_id: str, thread_id: str) -> Session:
        """Async version of `AgentSessionManager.switch_session`."""
        return await self._write(_operations.switch(user_id, thread_id))

    async def deactivate_session(self, user_id: str, *, thread_id: str | None = None) -> int:
        """Async version of `AgentSessionManager.deactivate_session`."""
        count = await self._database.run(_operations.deactivate(user_id, thread_id))
        self.cache.forget_user(user_id)
        return count

    async def has_session(self, user_id: str) -> bool:
        """Async version of `AgentSessionManager.has_session`."""
        return bool(await self._database.run(_operations.has(user_id)))

    async def list_active_sessions(self, user_id: str | None = None) -> list[Session]:
        """Async version of `AgentSessionManager.list_active_sessions`."""
        return await self._database.run(_operations.list_all(Listing(user_id, active=True)))

    async def list_sessions(
        self,
        user_id: str | None = None,
        *,
        active: bool | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
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
        return await self._database.run(_operations.list_page(listing, limit))

    async def count_sessions(
        self, user_id: str | None = None, *, active: bool | None = None
    ) -> int:
        """Async version of `AgentSessionManager.count_sessions`."""
        return await self._database.run(_operations.count(Listing(user_id, active=active)))

    async def delete_session(self, user_id: str, thread_id: str) -> None:
        """Async version of `AgentSessionManager.delete_session`."""
        try:
            await self._database.run(_operations.delete(user_id, thread_id))
        finally:
            self.cache.forget_user(user_id)

    async def fork_session(
        self,
        user_id: str,
        thread_id: str,
        *,
        checkpoint_id: str | None = None,
        title: str | None = None,
    ) -> Session:
        """Async version of `AgentSessionManager.fork_session`."""
        factory = self.thread_id_factory
        plan = _housekeeping.fork(user_id, thread_id, checkpoint_id, title, factory)
        return await self._write(plan)

    async def delete_user(self, user_id: str) -> dict[str, int]:
        """Async version of `AgentSessionManager.delete_user`."""
        try:
            return await self._database.run(_housekeeping.delete_user(user_id))
        finally:
            self.cache.forget_user(user_id)

    async def export_user(self, user_id: str) -> AsyncIterator[dict[str, Any]]:
        """Async version of `AgentSessionManager.export_user`."""
        if preferences := await self.get_preferences(user_id):
            yield {"record": "preferences", "user_id": str(user_id), "preferences": preferences}
        cursor = None
        while True:
            page = await self.list_sessions(user_id, limit=100, cursor=cursor)
            for session in page:
                yield {"record": "session", **session}
                for message in await self._messages(session.thread_id):
                    yield _reading.record(session.thread_id, message)
            if (cursor := page.next_cursor) is None:
                return

    async def purge_sessions(
        self,
        *,
        idle_for: timedelta | None = None,
        older_than: timedelta | None = None,
        active: bool | None = None,
        interrupted: bool = False,
        dry_run: bool = False,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Async version of `AgentSessionManager.purge_sessions`."""
        purge = _housekeeping.Purge(idle_for, older_than, active, interrupted, dry_run, batch_size)
        while await self._database.run(purge.batch()):
            self.cache.clear()
            if on_progress is not None:
                on_progress(purge.counts)
        return purge.counts

    async def adopt_session(
        self, user_id: str, thread_id: str, *, title: str | None = None
    ) -> Session:
        """Async version of `AgentSessionManager.adopt_session`."""
        await self._database.run(_housekeeping.may_adopt(user_id, thread_id))
        return await self._adopt(user_id, thread_id, title)

    async def backfill(
        self,
        *,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Async version of `AgentSessionManager.backfill`."""
        walk = _housekeeping.Backfill(batch_size)
        while (threads := await self._database.run(walk.batch())) is not None:
            for owner, thread_id in threads:
                await self._adopt(owner, thread_id, None)
                walk.counts["adopted"] += 1
            if on_progress is not None:
                on_progress(walk.counts)
        return walk.counts

    async def get_preferences(self, user_id: str) -> dict[str, Any]:
        """Async version of `AgentSessionManager.get_preferences`."""
        return await self._database.run(_housekeeping.get_preferences(user_id))

    async def update_preferences(self, user_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Async version of `AgentSessionManager.update_preferences`."""
        return await self._database.run(_housekeeping.update_preferences(user_id, changes))

    async def call_titler(self, titler: Titler, thread_id: str) -> None:
        """Async version of `AgentSessionManager.call_titler`."""
        if await self._database.run(_titling.claim(thread_id)):
            title = await _titling.ask(titler, await self._messages(thread_id))
            if session := await self._database.run(_titling.set_title(thread_id, title)):
                self.cache.forget_user(session.user_id)

    async def clear_memory_cache(self) -> None:
        """Async version of `AgentSessionManager.clear_memory_cache`."""
        self.cache.clear()

    async def get_session_count(self) -> int:
        """Async version of `AgentSessionManager.get_session_count`."""
        return len(self.cache)

    async def _write(self, plan: Plan[Session]) -> Session:
        began = self.cache.now()
        session = await self._database.run(plan)
        self.cache.wrote(session, began)
        return session

    async def _read(
        self, plan: Plan[Session], user_id: str, thread_id: str | None = None
    ) -> Session:
        if cached := self.cache.get(user_id, thread_id):
            return cached
        began = self.cache.now()
        session = await self._database.run(plan)
        self.cache.keep(session, began, current=thread_id is None)
        return session

    async def _adopt(self, user_id: str, thread_id: str, title: str | None) -> Session:
        said = None if title is not None else _reading.title(await self._messages(thread_id))
        return await self._write(_housekeeping.adopt(user_id, thread_id, title, said))

    async def _messages(self, thread_id: str) -> list[BaseMessage]:
        """Async version of `AgentSessionManager._adopt`."""
        reader = _reading.async_reader(self._database, self._serde)
        config = _reading.thread(thread_id)
        found = await reader.aget_tuple(config)
        if found is None:
            return []
        channels = _reading.unloaded_channels(found)
        histories = await reader.aget_delta_channel_history(config=found.config, channels=channels)
        return _reading.messages(found, histories)
