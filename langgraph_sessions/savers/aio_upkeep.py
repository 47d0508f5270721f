"""Async version of `savers.upkeep`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.savers.from_threads import FromThreads
from langgraph_sessions.sessions import deletion, upkeep
from langgraph_sessions.sessions.aio_manager import AsyncAgentSessionManager


class AsyncThreadUpkeep(FromThreads):
    """Async version of `ThreadUpkeep`."""

    sessions: AsyncAgentSessionManager
    _database: AsyncDatabase

    async def adelete_thread(self, thread_id: str) -> None:
        """Async version of `SessionSaver.delete_thread`."""
        await self.aprune([thread_id], strategy="delete")

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Async version of `SessionSaver.prune`."""
        if not deletion.deletes(thread_ids, strategy):
            prune = partial(super().aprune, thread_ids, strategy=strategy)
            await self._database.attempt(prune)
        elif thread_ids:
            plan = deletion.delete_threads([str(t) for t in thread_ids])
            await self._database.run(self.sessions.cache.forgetting(plan))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Async version of `SessionSaver.copy_thread`."""
        plan = upkeep.copy_thread(source_thread_id, target_thread_id)
        await self._database.run(self.sessions.cache.forgetting(plan))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Async version of `SessionSaver.delete_for_runs`."""
        plan = deletion.delete_runs(run_ids)
        await self._database.run(self.sessions.cache.forgetting(plan))
