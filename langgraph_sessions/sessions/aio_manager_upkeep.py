"""Async version of `sessions.manager_upkeep`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions import checks
from langgraph_sessions.checks import UserId
from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import Session
from langgraph_sessions.plans import Plan
from langgraph_sessions.sessions import operations, reading, upkeep
from langgraph_sessions.sessions.cache import SessionCache
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.titles import by_model
from langgraph_sessions.titles.by_model import Titler

logger = logging.getLogger("langgraph_sessions")


class AsyncHousekeeper:
    """Async version of `Housekeeper`."""

    cache: SessionCache
    _database: AsyncDatabase
    _serde: SerializerProtocol | None

    async def delete_user(self, user_id: UserId) -> dict[str, int]:
        """Async version of `AgentSessionManager.delete_user`."""
        user = checks.user_id(user_id)
        try:
            return await self._database.run(upkeep.delete_user(user))
        finally:
            self.cache.forget_user(user)

    async def export_user(self, user_id: UserId) -> AsyncIterator[dict[str, Any]]:
        """Async version of `AgentSessionManager.export_user`."""
        user = checks.user_id(user_id)
        if preferences := await self.get_preferences(user):
            yield {"record": "preferences", "user_id": user, "preferences": preferences}
        # All at once: page by page, one that is used meanwhile would be missed.
        for session in await self._database.run(operations.list_all(Listing(user))):
            yield {"record": "session", **session}
            for message in await self._messages(session.thread_id):
                yield reading.record(session.thread_id, message)
        for thread_id in await self._database.run(upkeep.plain_threads(user)):
            yield {"record": "thread", "thread_id": thread_id}
            for message in await self._messages(thread_id):
                yield reading.record(thread_id, message)

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
        checks.optional_function("on_progress", on_progress)
        purge = upkeep.Purge(idle_for, older_than, active, interrupted, dry_run, batch_size)
        while await self._database.run(purge.batch()):
            self.cache.clear()
            if on_progress is not None:
                on_progress(dict(purge.counts))
        return purge.counts

    async def adopt_session(
        self, user_id: UserId, thread_id: str, *, title: str | None = None
    ) -> Session:
        """Async version of `AgentSessionManager.adopt_session`."""
        theirs = await self._database.run(upkeep.may_adopt(user_id, thread_id, title))
        return theirs or await self._adopt(user_id, thread_id, title)

    async def backfill(
        self,
        *,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Async version of `AgentSessionManager.backfill`."""
        checks.optional_function("on_progress", on_progress)
        walk = upkeep.Backfill(batch_size)
        while (threads := await self._database.run(walk.batch())) is not None:
            for owner, thread_id in threads:
                try:
                    await self._adopt(owner, thread_id, None)
                except (SessionNotFoundError, psycopg.DataError) as error:
                    # Deleted since, or another's session; or an id too long for a session.
                    logger.warning("thread %r was not adopted: %s", thread_id, error)
                    walk.counts["skipped"] += 1
                else:
                    walk.counts["adopted"] += 1
            if on_progress is not None:
                on_progress(dict(walk.counts))
        return walk.counts

    async def call_titler(self, titler: Titler, thread_id: str) -> None:
        """Async version of `AgentSessionManager.call_titler`."""
        checks.function("titler", titler)
        if await self._database.run(by_model.claim(thread_id)):
            title = await by_model.ask(titler, await self._messages(thread_id))
            if session := await self._database.run(by_model.set_title(thread_id, title)):
                self.cache.forget_user(session.user_id)

    async def _adopt(self, user_id: UserId, thread_id: str, title: str | None) -> Session:
        said = None
        if title is None:
            try:
                said = reading.title(await self._messages(thread_id))
            except Exception:
                # Encrypted, of another serializer, damaged: it is the user's all the same.
                logger.warning("thread %r cannot be read for a title", thread_id, exc_info=True)
        return await self._write(upkeep.adopt(user_id, thread_id, title, said))

    async def _messages(self, thread_id: str) -> list[BaseMessage]:
        """Async version of `Housekeeper._messages`."""
        return await self._database.attempt(partial(self._read_messages, thread_id))

    async def _read_messages(self, thread_id: str) -> list[BaseMessage]:
        await self._database.ready()
        reader = reading.async_reader(self._database, self._serde)
        config = reading.thread(thread_id)
        found = await reader.aget_tuple(config)
        if found is None:
            return []
        channels = reading.unloaded_channels(found)
        histories = await reader.aget_delta_channel_history(config=found.config, channels=channels)
        return reading.messages(found, histories)

    async def get_preferences(self, user_id: UserId) -> dict[str, Any]:
        """Async version of `AgentSessionManager.get_preferences`."""
        return await self._database.run(upkeep.get_preferences(user_id))

    async def update_preferences(self, user_id: UserId, changes: dict[str, Any]) -> dict[str, Any]:
        """Async version of `AgentSessionManager.update_preferences`."""
        return await self._database.run(upkeep.update_preferences(user_id, changes))

    async def _write(self, plan: Plan[Session]) -> Session:
        began = self.cache.now()
        session = await self._database.run(plan)
        self.cache.wrote(session, began)
        return session
