"""The async methods of `SessionSaver`, off the event loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.postgres import PostgresSaver

from langgraph_sessions.database.database import Database
from langgraph_sessions.plans import Plan, called
from langgraph_sessions.runs.underway import CLEANING, UnderWay, steps

T = TypeVar("T")

# The event loop beside whose thread a checkpoint is loaded.
_BESIDE: Final[ContextVar[asyncio.AbstractEventLoop | None]] = ContextVar("beside", default=None)


class InThreads(PostgresSaver):
    """A `PostgresSaver` whose async methods are its sync ones, in threads.

    However wide a run fans out, its saves take one thread at a time. They have threads of their
    own: the event loop's may all wait for saves that are under way.
    """

    _database: Database
    _under_way: UnderWay
    _saving: ThreadPoolExecutor

    async def _run_in_thread(self, plan: Plan[T]) -> T:
        self._database.refuse_others()  # In a forked child these threads do not run.
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        run = partial(context.run, self._database.run, plan)
        return await loop.run_in_executor(self._saving, run)

    def _loop_has_gone_on(self) -> bool:
        """In a thread beside an event loop, wait until that has taken some steps; say if it has.

        It begins the next of a run's saves.
        """
        if (loop := _BESIDE.get()) is None or not loop.is_running():
            return False
        taken = asyncio.run_coroutine_threadsafe(steps(), loop)
        try:
            taken.result(CLEANING)
        except (TimeoutError, CancelledError):  # It is ending.
            taken.cancel()
            return False
        return True

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Async version of `get_tuple`, in a thread."""
        await self._under_way.settle(config)
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        context.run(_BESIDE.set, loop)
        found = await loop.run_in_executor(None, context.run, self.get_tuple, config)
        self._under_way.note_task(config)
        return found

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Async version of `list`, in a thread."""

        def collect() -> Collection[CheckpointTuple]:
            return [*self.list(config, filter=filter, before=before, limit=limit)]

        for found in await asyncio.to_thread(collect):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Async version of `put`, in a thread."""
        put = called(self.put, config, checkpoint, metadata, new_versions)
        return await self._under_way.asave(config, put, self._run_in_thread)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Async version of `put_writes`, in a thread."""
        put_writes = called(self.put_writes, config, writes, task_id, task_path)
        await self._under_way.asave(config, put_writes, self._run_in_thread)

    async def adelete_thread(self, thread_id: str) -> None:
        """Async version of `delete_thread`, in a thread."""
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Async version of `prune`, in a thread."""
        await asyncio.to_thread(self.prune, thread_ids, strategy=strategy)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Async version of `copy_thread`, in a thread."""
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Async version of `delete_for_runs`, in a thread."""
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Async version of `get_delta_channel_history`, in a thread."""
        return await asyncio.to_thread(
            self.get_delta_channel_history, config=config, channels=channels
        )
