"""The synchronous methods of `AsyncSessionSaver`, from threads other than its loop's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from langgraph_sessions.errors import SessionError

T = TypeVar("T")


class FromThreads(AsyncPostgresSaver):
    """An `AsyncPostgresSaver` whose sync methods say so where they would wait for ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Belong to the running event loop, as the parent does."""
        super().__init__(*args, **kwargs)
        self._pid = os.getpid()

    def _from_thread(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* on the saver's loop, where somebody runs that for this thread.

        Raises:
            asyncio.InvalidStateError: This is the loop's own thread.
            RuntimeError: The loop is closed.
            SessionError: The process was forked, and the loop is the parent's.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self.loop:
            coroutine.close()
            raise asyncio.InvalidStateError(
                "synchronous calls to AsyncSessionSaver are only allowed from another thread: "
                "use its async methods, such as `await graph.ainvoke(...)`"
            )
        if self._pid != os.getpid():
            coroutine.close()
            raise SessionError(
                "this saver was made before the process was forked, and its event loop is the "
                "parent's: make one in each worker, or use its async methods"
            )
        if self.loop.is_closed():
            coroutine.close()
            raise RuntimeError("this saver belongs to an event loop that is closed")
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Sync version of `aget_tuple`, for other threads."""
        return self._from_thread(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Sync version of `alist`, for other threads."""

        async def collect() -> Sequence[CheckpointTuple]:
            listed = self.alist(config, filter=filter, before=before, limit=limit)
            return [found async for found in listed]

        yield from self._from_thread(collect())

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Sync version of `aput`, for other threads."""
        return self._from_thread(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Sync version of `aput_writes`, for other threads."""
        self._from_thread(self.aput_writes(config, writes, task_id, task_path))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Sync version of `acopy_thread`, for other threads."""
        self._from_thread(self.acopy_thread(source_thread_id, target_thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Sync version of `adelete_for_runs`, for other threads."""
        self._from_thread(self.adelete_for_runs(run_ids))
