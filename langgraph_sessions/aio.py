"""`AsyncSessionSaver`: LangGraph's `AsyncPostgresSaver` that knows users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
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
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncCursor, AsyncPipeline
from psycopg.rows import DictRow, dict_row

from langgraph_sessions import _arguments, _housekeeping, _join, _opening, _operations, _saving
from langgraph_sessions._database import AsyncConn, AsyncDatabase
from langgraph_sessions._drive import statement
from langgraph_sessions._from_threads import FromThreads
from langgraph_sessions._run import ActiveRun, Request, active_run, for_storage, owned, pin
from langgraph_sessions._source import Path
from langgraph_sessions._thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions._titling import AsyncBackground, Titler
from langgraph_sessions.aio_manager import AsyncAgentSessionManager


class AsyncSessionSaver(FromThreads):
    """Async version of `SessionSaver`, to be made inside a running event loop.

    Like its parent it also answers the synchronous methods, from threads other than the
    loop's.

    Attributes:
        sessions: The `AsyncAgentSessionManager` on the same database.
    """

    sessions: AsyncAgentSessionManager

    def __init__(
        self,
        conn: str | AsyncConn | None = None,
        pipe: AsyncPipeline | None = None,
        serde: SerializerProtocol | None = None,
        *,
        path: Path | None = None,
        pool_size: int = 10,
        auto_setup: bool = True,
        thread_id_factory: ThreadIdFactory = default_thread_id,
        cache_size: int = 1000,
        cache_ttl: float = 5.0,
        titler: Titler | None = None,
    ) -> None:
        """Async version of `SessionSaver.__init__`."""
        database = AsyncDatabase(conn, pipe, path=path, pool_size=pool_size, auto_setup=auto_setup)
        super().__init__(cast(Any, database.conn), pipe, serde)
        self.lock = cast(Any, database.lock)
        self._database = database
        if titler is not None:
            _arguments.function("titler", titler)
        self._titler = titler
        self._background = AsyncBackground()
        self.sessions = AsyncAgentSessionManager(
            database,
            serde,
            thread_id_factory=thread_id_factory,
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
        if not pipeline:
            async with cls(conn_string, serde=serde) as saver:
                yield saver
            return
        async with AsyncPostgresSaver.from_conn_string(conn_string, pipeline=True) as parent:
            # Nothing of it needs closing: the connection is the parent's.
            yield cls(cast(Any, parent.conn), parent.pipe, serde)

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
        """Async version of `SessionSaver.close`."""
        await self._background.close()
        await self._database.close()

    async def setup(self) -> None:
        """Async version of `SessionSaver.setup`."""
        await self._database.setup()

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        async with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor
            if pipeline and (joined := _join.current()):
                joined.cursor = cursor.connection.cursor(binary=True, row_factory=dict_row)
                await joined.cursor.execute(statement(joined.fetch.sql), joined.fetch.params)

    # --- Reading -----------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Async version of `SessionSaver.get_tuple`."""
        request = Request.of(config)
        run, head = await self._open(config, request, self.SELECT_SQL)
        if run is not None:
            config = pin(config, run)
        if head is None:
            return None
        if _saving.is_before_v4(head):
            found = await super().aget_tuple(config)
        else:
            found = await self._load_checkpoint_tuple(head)
        return owned(found, run.user_id) if run and found else found

    async def _open(
        self, config: RunnableConfig, request: Request, select: str | None = None
    ) -> _opening.Opened:
        plan = _opening.open_run(request, self.sessions.thread_id_factory, select)
        return _saving.continued(await self._database.run(plan), config, request)

    async def _reader(self, config: RunnableConfig) -> ActiveRun | None:
        return active_run(config) or await self._database.run(
            _opening.find_thread(Request.of(config))
        )

    async def _writer(self, config: RunnableConfig) -> ActiveRun | None:
        if run := active_run(config):
            return run
        request = Request.of(config)
        return None if request.user_id is None else (await self._open(config, request)).run

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Async version of `SessionSaver.list`."""
        await self._database.ready()
        run = None if config is None else await self._reader(config)
        if config is not None and run is not None:
            config = pin(config, run)
        listed = super().alist(config, filter=filter, before=before, limit=limit)
        for found in [found async for found in listed]:
            yield owned(found, run.user_id) if run else found

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Async version of `SessionSaver.get_delta_channel_history`."""
        await self._database.ready()
        if run := await self._reader(config):
            config = pin(config, run)
        return await super().aget_delta_channel_history(config=config, channels=channels)

    # --- Saving ------------------------------------------------------------------------------

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Async version of `SessionSaver.put`."""
        await self._database.ready()
        run = await self._writer(config)
        if run is None:
            thread_id = config["configurable"]["thread_id"]
            with _join.joined(_join.guard(None, config["configurable"]), None, thread_id):
                return await super().aput(config, checkpoint, metadata, new_versions)
        began = self.sessions.cache.now()
        with _join.joined(
            _saving.put(run, config, checkpoint), run.user_id, run.thread_id
        ) as joined:
            stored = for_storage(config, run)
            saved = await super().aput(stored, checkpoint, metadata, new_versions)
        row = await cast(AsyncCursor[DictRow], joined.cursor).fetchone()
        self.sessions.cache.wrote(run.has_saved(cast(DictRow, row)), began)
        if self._titler is not None and _saving.wants_title(run, config, checkpoint):
            self._background.start(self.sessions.call_titler(self._titler, run.thread_id))
        return _saving.with_user(saved, run)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Async version of `SessionSaver.put_writes`."""
        await self._database.ready()
        run = await self._writer(config)
        if run is not None:
            config = pin(config, run)
            _saving.note_writes(run, config, writes)
        configurable = config["configurable"]
        user_id = run.user_id if run else None
        with _join.joined(_join.guard(run, configurable), user_id, configurable["thread_id"]):
            await super().aput_writes(config, writes, task_id, task_path)
        if run is not None:
            _saving.note_answer(run, config, writes)

    async def adelete_thread(self, thread_id: str) -> None:
        """Async version of `SessionSaver.delete_thread`."""
        await self.aprune([thread_id], strategy="delete")

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Async version of `SessionSaver.prune`."""
        await self._database.ready()
        if not _saving.deletes(thread_ids, strategy):
            await super().aprune(thread_ids, strategy=strategy)
        elif thread_ids:
            await self._database.run(_operations.delete_threads([str(t) for t in thread_ids]))
            await self.sessions.clear_memory_cache()

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Async version of `SessionSaver.copy_thread`."""
        plan = _housekeeping.copy_thread(source_thread_id, target_thread_id)
        await self._database.run(plan)
        await self.sessions.clear_memory_cache()

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Async version of `SessionSaver.delete_for_runs`."""
        await self._database.run_atomically(_housekeeping.delete_runs(run_ids))
        await self.sessions.clear_memory_cache()
