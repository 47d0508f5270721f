"""`AsyncSessionSaver`: LangGraph's `AsyncPostgresSaver` that knows users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncPipeline

from langgraph_sessions.database.aio_database import AsyncConn
from langgraph_sessions.database.pools import POOL_SIZE
from langgraph_sessions.database.source import Path
from langgraph_sessions.models import DEFAULT_TITLE
from langgraph_sessions.outage import bridge
from langgraph_sessions.outage.state import OUTAGE_LIMIT
from langgraph_sessions.runs.addresses import configurable_of
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions.savers.aio_upkeep import AsyncThreadUpkeep
from langgraph_sessions.savers.plans import SaverPlans
from langgraph_sessions.sessions.aio_manager import AsyncAgentSessionManager
from langgraph_sessions.titles.background import AsyncBackground
from langgraph_sessions.titles.by_model import Titler
from langgraph_sessions.types import ConcurrentRuns, OnOutage


class AsyncSessionSaver(SaverPlans, AsyncThreadUpkeep):
    """Async version of `SessionSaver`, to be made inside a running event loop.

    Like its parent it also answers the synchronous methods, from threads other than the
    loop's.

    It belongs to that loop: without one the constructor raises `RuntimeError`, and so do its
    coroutines in another one.

    Attributes:
        sessions: The `AsyncAgentSessionManager` on the same database.
    """

    def __init__(
        self,
        conn: str | AsyncConn | None = None,
        pipe: AsyncPipeline | None = None,
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
        titler: Titler | None = None,
        auto_title: bool | None = None,
        default_title: str = DEFAULT_TITLE,
        concurrent_runs: ConcurrentRuns = "reject",
        trust_thread_id: bool = False,
        require_user: bool = False,
    ) -> None:
        """Async version of `SessionSaver.__init__`."""
        database = bridge.async_database(
            conn,
            pipe,
            path=path,
            pool_size=pool_size,
            auto_setup=auto_setup,
            thread_id_factory=thread_id_factory,
            on_outage=on_outage,
            outage_limit=outage_limit,
            retry_for=retry_for,
        )
        super().__init__(cast(Any, database.conn), pipe, serde)
        self.lock = cast(Any, database.lock)
        self._database = database
        self._background = AsyncBackground()
        self.sessions = AsyncAgentSessionManager(
            database,
            serde,
            agent=agent,
            thread_id_factory=thread_id_factory,
            cache_size=cache_size,
            cache_ttl=cache_ttl,
            auto_title=auto_title,
            default_title=default_title,
        )
        self._set_up(
            self.sessions,
            thread_id_factory,
            titler,
            concurrent_runs,
            trust_thread_id,
            require_user,
        )

    @classmethod
    @asynccontextmanager
    async def from_conn_string(
        cls,
        conn_string: str,
        *,
        pipeline: bool = False,
        serde: SerializerProtocol | None = None,
    ) -> AsyncIterator[Self]:
        """Async version of `SessionSaver.from_conn_string`."""
        # A pool of one, not a lone connection: that could not be replaced. A save is one
        # round trip anyway.
        size = 1 if pipeline else POOL_SIZE
        async with cls(conn_string, serde=serde, pool_size=size) as saver:
            yield saver

    async def __aenter__(self) -> Self:
        """Return the saver, to be closed at the end of the block."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what this opened."""
        await self.close()

    async def close(self) -> None:
        """Async version of `SessionSaver.close`; titlers that take over 5 seconds are cancelled.

        Raises:
            RuntimeError: This is another event loop than that which opened it.
        """
        self._database.refuse_other_loop()
        await self._under_way.end()
        await self._background.close()
        await self._database.close()

    async def setup(self) -> None:
        """Async version of `SessionSaver.setup`."""
        await self._database.setup()

    @property
    def durable(self) -> bool:
        """Async version of `SessionSaver.durable`."""
        return self._database.durable

    # --- Reading -----------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Async version of `SessionSaver.get_tuple`."""
        configurable_of(config)
        await self._under_way.settle(config)
        found = await self._database.run(self._get_tuple(config))
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
        """Async version of `SessionSaver.list`."""
        plan = self._list(config, filter=filter, before=before, limit=limit)
        for found in await self._database.run(plan):
            yield found

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Async version of `SessionSaver.get_delta_channel_history`."""
        return await self._database.run(self._history(config, channels))

    # --- Saving ------------------------------------------------------------------------------

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Async version of `SessionSaver.put`."""
        plan = self._put(config, checkpoint, metadata, new_versions)
        return await self._under_way.asave(config, lambda: self._database.run_uncancelled(plan))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Async version of `SessionSaver.put_writes`."""
        plan = self._put_writes(config, writes, task_id, task_path)
        await self._under_way.asave(config, lambda: self._database.run_uncancelled(plan))

    async def _await_saves(self, saves: Sequence[Future[None]]) -> None:
        if saves:
            await asyncio.wait([asyncio.wrap_future(save) for save in saves])

    def _start_titler(self, titler: Titler, thread_id: str) -> None:
        if self.durable:
            self._background.start(self.sessions.call_titler(titler, thread_id), thread_id)
