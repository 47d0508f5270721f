"""Async version of `savers.upkeep`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.runs import saving
from langgraph_sessions.savers.from_threads import FromThreads
from langgraph_sessions.sessions import operations, upkeep
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
        if not saving.deletes(thread_ids, strategy):
            await self._database.attempt(partial(self._prune, thread_ids, strategy))
        elif thread_ids:
            try:
                await self._database.run(operations.delete_threads([str(t) for t in thread_ids]))
            finally:  # It may have been done, and the answer lost.
                await self.sessions.clear_memory_cache()

    async def _prune(self, thread_ids: Sequence[str], strategy: str) -> None:
        await self._database.ready()
        await super().aprune(thread_ids, strategy=strategy)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Async version of `SessionSaver.copy_thread`."""
        plan = upkeep.copy_thread(source_thread_id, target_thread_id)
        try:
            await self._database.run(plan)
        finally:  # It may have been done, and the answer lost.
            await self.sessions.clear_memory_cache()

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Async version of `SessionSaver.delete_for_runs`."""
        try:
            await self._database.run_atomically(upkeep.delete_runs(run_ids))
        finally:  # It may have been done, and the answer lost.
            await self.sessions.clear_memory_cache()
