"""`AsyncSessionSaver`: LangGraph's `AsyncPostgresSaver` that knows users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
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
from psycopg import AsyncCursor, AsyncPipeline
from psycopg.rows import DictRow, dict_row

from langgraph_sessions import checks
from langgraph_sessions.database.aio_connections import AsyncConn
from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.database.pools import POOL_SIZE
from langgraph_sessions.database.source import Path
from langgraph_sessions.errors import ConcurrentRunError
from langgraph_sessions.outage import dumped
from langgraph_sessions.outage.reading import HeldReading
from langgraph_sessions.outage.state import OUTAGE_LIMIT
from langgraph_sessions.plans import statement
from langgraph_sessions.runs import opening, saving
from langgraph_sessions.runs.active import ActiveRun, active_run, owned, pin
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.saving import Save, Writes
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions.savers import join
from langgraph_sessions.savers.aio_upkeep import AsyncThreadUpkeep
from langgraph_sessions.sessions.aio_manager import AsyncAgentSessionManager
from langgraph_sessions.titles.background import AsyncBackground
from langgraph_sessions.titles.by_model import Titler


class AsyncSessionSaver(HeldReading, AsyncThreadUpkeep):
    """Async version of `SessionSaver`, to be made inside a running event loop.

    Like its parent it also answers the synchronous methods, from threads other than the
    loop's.

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
        thread_id_factory: ThreadIdFactory = default_thread_id,
        cache_size: int = 1000,
        cache_ttl: float = 5.0,
        on_outage: str = "memory",
        outage_limit: int = OUTAGE_LIMIT,
        retry_for: float = 5.0,
        titler: Titler | None = None,
        concurrent_runs: str = "reject",
    ) -> None:
        """Async version of `SessionSaver.__init__`."""
        database = AsyncDatabase(
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
        checks.optional_function("titler", titler)
        self._titler = titler
        self._thread_id_factory = database.thread_id_factory
        self._concurrent_runs = checks.one_of(
            "concurrent_runs", concurrent_runs, saving.CONCURRENT_RUNS
        )
        self._background = AsyncBackground()
        self.sessions = AsyncAgentSessionManager(
            database,
            serde,
            cache_size=cache_size,
            cache_ttl=cache_ttl,
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
        # A pool of one, not a lone connection: that could not be replaced. Saves are sent as a
        # pipeline anyway.
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
        """Async version of `SessionSaver.close`.

        Raises:
            RuntimeError: This is another event loop than that which opened it.
        """
        self._database.refuse_other_loop()
        await self._background.close()
        await self._database.close()

    async def setup(self) -> None:
        """Async version of `SessionSaver.setup`."""
        await self._database.setup()

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        async with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor
            if pipeline and (joined := join.current()):
                joined.cursor = cursor.connection.cursor(binary=True, row_factory=dict_row)
                await joined.cursor.execute(statement(joined.fetch.sql), joined.fetch.params)

    @property
    def durable(self) -> bool:
        """Async version of `SessionSaver.durable`."""
        return self._database.durable

    # --- Reading -----------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Async version of `SessionSaver.get_tuple`."""
        request = Request.of(config)
        stored = partial(self._get_stored, config, request)
        if request.user_id is None:
            return await self._database.attempt(stored)
        return await self._database.either(stored, partial(self._get_held, config, request))

    async def _get_stored(self, config: RunnableConfig, request: Request) -> CheckpointTuple | None:
        plan = self._open(request, self.SELECT_SQL)
        opened = saving.continued(await self._database.run_durably(plan), config, request)
        run, head = opened
        saving.start(opened, config, request, self._concurrent_runs)
        if run is not None:
            config = pin(config, run)
        if head is None:
            return None
        if saving.is_before_v4(head):
            found = await super().aget_tuple(config)
        else:
            found = await self._load_checkpoint_tuple(head)
        return owned(found, run.user_id) if run and found else found

    async def _reader(self, config: RunnableConfig) -> ActiveRun | None:
        find = opening.find_thread(Request.of(config))
        return active_run(config) or await self._database.run_durably(find)

    async def _writer(self, config: RunnableConfig) -> ActiveRun | None:
        if run := active_run(config):
            return run
        request = Request.of(config)
        if request.user_id is None:
            return None
        return (await self._database.run(self._open(request))).run

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Async version of `SessionSaver.list`."""
        find = partial(self._list_stored, config, filter=filter, before=before, limit=limit)
        if config is None or Request.of(config).user_id is None:
            listed = await self._database.attempt(find)
        else:
            hold = partial(self._list_held, config, filter=filter, before=before, limit=limit)
            listed = await self._database.either(find, hold)
        for found in listed:
            yield found

    async def _list_stored(
        self, config: RunnableConfig | None, **filters: Any
    ) -> Sequence[CheckpointTuple]:
        await self._database.ready()
        run = None if config is None else await self._reader(config)
        if config is not None and run is not None:
            config = pin(config, run)
        # All at once: the connection is free again before the caller gets the first.
        listed = [found async for found in super().alist(config, **filters)]
        return [owned(found, run.user_id) if run else found for found in listed]

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Async version of `SessionSaver.get_delta_channel_history`."""

        async def stored() -> Mapping[str, DeltaChannelHistory]:
            await self._database.ready()
            run = await self._reader(config)
            pinned = pin(config, run) if run else config
            return await parent(config=pinned, channels=channels)

        parent = super().aget_delta_channel_history
        if Request.of(config).user_id is None:
            return await self._database.attempt(stored)
        return await self._database.either(stored, partial(self._history_held, config, channels))

    # --- Saving ------------------------------------------------------------------------------

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Async version of `SessionSaver.put`."""
        run = await self._writer(config)
        if run is None:
            plain = partial(self._put_plain, config, checkpoint, metadata, new_versions)
            return await self._database.attempt(plain)
        began = self.sessions.cache.now()
        save = Save.of(run, config, checkpoint, metadata, new_versions)
        row = await self._database.either(
            partial(self._put, save),
            lambda memory: memory.put(save, self.serde, dumped.storing(self)._put),
        )
        self.sessions.cache.wrote(save.done(row), began)
        if self._titler is None or not self._database.durable:
            return save.saved_config
        if saving.wants_title(run, config, checkpoint):
            self._background.start(self.sessions.call_titler(self._titler, run.thread_id))
        return save.saved_config

    async def _put_plain(self, config: RunnableConfig, *saved: Any) -> RunnableConfig:
        await self._database.ready()
        with join.joined(join.guard_nobody(config["configurable"]["thread_id"])):
            return await super().aput(config, *saved)

    async def _put(self, save: Save) -> DictRow:
        await self._database.ready()
        try:
            with join.joined(save.statement) as joined:
                await super().aput(save.config, save.checkpoint, save.metadata, save.new_versions)
            return cast(DictRow, await cast(AsyncCursor[DictRow], joined.cursor).fetchone())
        except ConcurrentRunError:
            row = await self._database.run_durably(save.find())
            if row is None:
                save.run.overtaken = True
                raise
            return row

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Async version of `SessionSaver.put_writes`."""
        run = await self._writer(config)
        if run is None:
            plain = partial(self._put_writes_plain, config, writes, task_id, task_path)
            await self._database.attempt(plain)
            return
        wrote = Writes.of(run, config, writes, task_id, task_path)
        await self._database.either(
            partial(self._put_writes, wrote),
            lambda memory: memory.put_writes(wrote, self.serde, dumped.storing(self)._put_writes),
        )
        wrote.done()

    async def _put_writes_plain(self, config: RunnableConfig, *written: Any) -> None:
        await self._database.ready()
        with join.joined(join.guard_nobody(config["configurable"]["thread_id"])):
            await super().aput_writes(config, *written)

    async def _put_writes(self, wrote: Writes) -> None:
        await self._database.ready()
        with join.joined(wrote.statement):
            await super().aput_writes(wrote.config, wrote.writes, wrote.task_id, wrote.task_path)
