"""Async version of `manager_upkeep`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any

from langgraph_sessions import checks
from langgraph_sessions.checks import ThreadId, UserId
from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.models import Session
from langgraph_sessions.sessions import deletion, upkeep
from langgraph_sessions.sessions.base_manager import BaseManager
from langgraph_sessions.sessions.retention import Purge
from langgraph_sessions.sessions.transfer import transfer
from langgraph_sessions.titles import by_model
from langgraph_sessions.titles.by_model import Titler


class AsyncManagerUpkeep(BaseManager):
    """Async version of `ManagerUpkeep`."""

    _database: AsyncDatabase

    async def delete_user(self, user_id: UserId) -> dict[str, int]:
        """Async version of `AgentSessionManager.delete_user`."""
        user = checks.user_id(user_id)
        return await self._database.run(self.cache.forgetting(deletion.delete_user(user), user))

    async def export_user(self, user_id: UserId) -> AsyncIterator[dict[str, Any]]:
        """Async version of `AgentSessionManager.export_user`."""
        async for record in self._database.stream(self._export(checks.user_id(user_id))):
            yield record

    async def purge_sessions(
        self,
        *,
        idle_for: timedelta | None = None,
        older_than: timedelta | None = None,
        active: bool | None = None,
        unused: bool | None = None,
        interrupted: bool = False,
        dry_run: bool = False,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Async version of `AgentSessionManager.purge_sessions`.

        *on_progress* may be a coroutine function, which is awaited.
        """
        checks.optional_function("on_progress", on_progress)
        purge = Purge(
            idle_for, older_than, active, unused, interrupted, dry_run, batch_size, self.agent
        )
        return await self._database.run(self._purge(purge, on_progress))

    async def transfer_sessions(
        self, from_user: UserId, to_user: UserId, *, thread_id: ThreadId | None = None
    ) -> int:
        """Async version of `AgentSessionManager.transfer_sessions`."""
        plan = transfer(from_user, to_user, thread_id, self.agent)
        return await self._database.run(self.cache.forgetting(plan))

    async def adopt_session(
        self, user_id: UserId, thread_id: ThreadId, *, title: str | None = None
    ) -> Session:
        """Async version of `AgentSessionManager.adopt_session`."""
        return await self._database.run(self._adopt_checked(user_id, thread_id, title))

    async def backfill(
        self,
        *,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Async version of `AgentSessionManager.backfill`.

        *on_progress* may be a coroutine function, which is awaited.
        """
        checks.optional_function("on_progress", on_progress)
        walk = upkeep.Backfill(batch_size)
        return await self._database.run(self._backfill(walk, on_progress))

    async def call_titler(self, titler: Titler, thread_id: str) -> None:
        """Async version of `AgentSessionManager.call_titler`."""
        checks.function("titler", titler)
        await self._database.run(self._call_titler(by_model.ask, titler, thread_id))

    async def get_preferences(self, user_id: UserId) -> dict[str, Any]:
        """Async version of `AgentSessionManager.get_preferences`."""
        return await self._database.run(upkeep.get_preferences(user_id))

    async def update_preferences(self, user_id: UserId, changes: dict[str, Any]) -> dict[str, Any]:
        """Async version of `AgentSessionManager.update_preferences`."""
        return await self._database.run(upkeep.update_preferences(user_id, changes))
