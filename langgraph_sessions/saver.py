"""`SessionSaver`: LangGraph's `PostgresSaver` that knows users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import Cursor, Pipeline
from psycopg.rows import DictRow, dict_row

from langgraph_sessions import _arguments, _housekeeping, _join, _opening, _operations, _saving
from langgraph_sessions._database import Conn, Database
from langgraph_sessions._drive import statement
from langgraph_sessions._in_threads import InThreads
from langgraph_sessions._run import ActiveRun, Request, active_run, for_storage, owned, pin
from langgraph_sessions._source import Path
from langgraph_sessions._thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions._titling import Background, Titler
from langgraph_sessions.manager import AgentSessionManager


class SessionSaver(InThreads):
    """A LangGraph checkpointer on PostgreSQL that remembers every user's sessions.

    Compile a graph with it and give a `user_id` in the config; sessions are then created,
    resumed, renamed and deactivated by themselves:

        saver = SessionSaver("postgresql://localhost/app")
        graph = builder.compile(checkpointer=saver)
        graph.invoke({"messages": ["Hello"]}, {"configurable": {"user_id": "alice"}})

    Without a `user_id` it does what `PostgresSaver` does. It also answers the async methods,
    in threads; `AsyncSessionSaver` is the native one for servers.

    Attributes:
        sessions: The `AgentSessionManager` on the same database.
    """

    sessions: AgentSessionManager

    def __init__(
        self,
        conn: str | Conn | None = None,
        pipe: Pipeline | None = None,
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
        """Choose the database; it is opened, and its tables made, on first use.

        Args:
            conn: A `Connection` or `ConnectionPool` in autocommit mode; or a conninfo string
                or URL, for which a pool is opened and owned. `None`: the variable
                `DATABASE_URL` if it is set, else the embedded PostgreSQL (extra `embedded`).
            pipe: The pipeline that *conn*, a single connection, is in.
            serde: How values are serialised, as in the parent.
            path: The embedded PostgreSQL's folder, by default `.langgraph-sessions` in the
                working directory.
            pool_size: The most connections in the pool that is opened for a string.
            auto_setup: Create missing tables; `False` never runs DDL.
            thread_id_factory: Makes a new thread id from a user id; by default
                `<user_id>_<uuid>`.
            cache_size: The most sessions that `sessions` keeps in memory; 0 for none.
            cache_ttl: For how many seconds; 0 turns that off.
            titler: From a conversation's messages to a title, sync or async, called in the
                background once for a session, after its first answer; never over a title
                that somebody gave. `langgraph_sessions.titler(model)` makes one.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: *conn* is no conninfo or not in autocommit mode, *path* is given
                beside it, or *pipe* is given with a pool.
        """
        database = Database(conn, pipe, path=path, pool_size=pool_size, auto_setup=auto_setup)
        super().__init__(cast(Any, database.conn), pipe, serde)
        # Held for a single connection only. Over a pool, the parent's one lock per saver
        # would make all users wait for each other.
        self.lock = cast(Any, database.lock)
        # Shared, as everything here is, by the copies that LangGraph makes of a saver.
        self._database = database
        if titler is not None:
            _arguments.function("titler", titler)
        self._titler = titler
        self._background = Background()
        self.sessions = AgentSessionManager(
            database,
            serde,
            thread_id_factory=thread_id_factory,
            cache_size=cache_size,
            cache_ttl=cache_ttl,
        )

    @classmethod
    @contextmanager
    def from_conn_string(
        cls,
        conn_string: str,
        *,
        pipeline: bool = False,
        serde: SerializerProtocol | None = None,
    ) -> Iterator[Self]:
        """Open *conn_string* for the length of a `with` block.

        Args:
            conn_string: A conninfo string or URL.
            pipeline: Use one connection, in pipeline mode, instead of a pool.
            serde: How values are serialised.
        """
        if not pipeline:
            with cls(conn_string, serde=serde) as saver:
                yield saver
            return
        with PostgresSaver.from_conn_string(conn_string, pipeline=True) as parent:
            # Nothing of it needs closing: the connection is the parent's.
            yield cls(cast(Any, parent.conn), parent.pipe, serde)

    def __enter__(self) -> Self:
        """Return the saver, to be closed at the end of the block."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what this opened."""
        self.close()

    def close(self) -> None:
        """Close the pool and leave the embedded server that this opened, and nothing else."""
        self._background.close()
        self._database.close()

    def setup(self) -> None:
        """Create or upgrade the tables, LangGraph's and our own, in one transaction.

        Not needed unless `auto_setup=False`: it is done on first use. Safe from many
        processes at once.

        Raises:
            psycopg.Error: As the database has it, such as missing rights.
        """
        self._database.setup()

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Cursor[DictRow]]:
        with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor
            if pipeline and (joined := _join.current()):
                joined.cursor = cursor.connection.cursor(binary=True, row_factory=dict_row)
                joined.cursor.execute(statement(joined.fetch.sql), joined.fetch.params)

    # --- Reading -----------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that *config* asks for; a run starts with this.

        Raises:
            SessionNotFoundError: The thread is another user's.
            TypeError: A key of the configurable has the wrong type.
            ValueError: A key is out of range, or one does not go with another.
        """
        request = Request.of(config)
        run, head = self._open(config, request, self.SELECT_SQL)
        if run is not None:
            config = pin(config, run)
        if head is None:
            return None
        if _saving.is_before_v4(head):
            found = super().get_tuple(config)
        else:
            found = self._load_checkpoint_tuple(head)
        return owned(found, run.user_id) if run and found else found

    def _open(
        self, config: RunnableConfig, request: Request, select: str | None = None
    ) -> _opening.Opened:
        """Find the thread of *request*; within a run, the run stays what it is."""
        plan = _opening.open_run(request, self.sessions.thread_id_factory, select)
        return _saving.continued(self._database.run(plan), config, request)

    def _reader(self, config: RunnableConfig) -> ActiveRun | None:
        """Return the run that reads *config*'s thread; one under way was let in before."""
        return active_run(config) or self._database.run(_opening.find_thread(Request.of(config)))

    def _writer(self, config: RunnableConfig) -> ActiveRun | None:
        """Return the run that writes to *config*'s thread, `None` for one without a user."""
        if run := active_run(config):
            return run
        request = Request.of(config)
        return None if request.user_id is None else self._open(config, request).run

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, newest first, as the parent does. Raises as `get_tuple`.

        Without *config* it goes through all threads of all users: an operator's call.
        """
        self._database.ready()
        run = None if config is None else self._reader(config)
        if config is not None and run is not None:
            config = pin(config, run)
        # All at once: the connection is free again before the caller gets the first.
        for found in [*super().list(config, filter=filter, before=before, limit=limit)]:
            yield owned(found, run.user_id) if run else found

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what rebuilds delta channels, as the parent does. Raises as `get_tuple`."""
        self._database.ready()
        if run := self._reader(config):
            config = pin(config, run)
        return super().get_delta_channel_history(config=config, channels=channels)

    # --- Saving ------------------------------------------------------------------------------

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint and its session's row in one transaction.

        Raises:
            SessionNotFoundError: The thread is another user's, or the session was deleted
                while the run was under way; nothing was saved.
            TypeError, ValueError: As in `get_tuple`, when it is not part of a run.
        """
        self._database.ready()
        run = self._writer(config)
        if run is None:
            thread_id = config["configurable"]["thread_id"]
            with _join.joined(_join.guard(None, config["configurable"]), None, thread_id):
                return super().put(config, checkpoint, metadata, new_versions)
        began = self.sessions.cache.now()
        with _join.joined(
            _saving.put(run, config, checkpoint), run.user_id, run.thread_id
        ) as joined:
            saved = super().put(for_storage(config, run), checkpoint, metadata, new_versions)
        row = cast(Cursor[DictRow], joined.cursor).fetchone()
        self.sessions.cache.wrote(run.has_saved(cast(DictRow, row)), began)
        if self._titler is not None and _saving.wants_title(run, config, checkpoint):
            self._background.start(partial(self.sessions.call_titler, self._titler, run.thread_id))
        return _saving.with_user(saved, run)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save a task's writes. Raises as `put`."""
        self._database.ready()
        run = self._writer(config)
        if run is not None:
            config = pin(config, run)
            _saving.note_writes(run, config, writes)
        configurable = config["configurable"]
        user_id = run.user_id if run else None
        with _join.joined(_join.guard(run, configurable), user_id, configurable["thread_id"]):
            super().put_writes(config, writes, task_id, task_path)
        if run is not None:
            _saving.note_answer(run, config, writes)

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread and its session, whoever owns it: an operator's call."""
        self.prune([thread_id], strategy="delete")

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Prune threads as the parent does; `"delete"`, or `"delete_all"`, with their sessions.

        Raises:
            TypeError: *thread_ids* is a single string.
            ValueError: *strategy* is unknown.
            NotImplementedError: `"keep_latest"`, and a thread uses a `DeltaChannel`.
        """
        self._database.ready()
        if not _saving.deletes(thread_ids, strategy):
            super().prune(thread_ids, strategy=strategy)
        elif thread_ids:
            self._database.run(_operations.delete_threads([str(t) for t in thread_ids]))
            self.sessions.clear_memory_cache()

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread, in the database; its session, if it has one, for the same user.

        Raises:
            TypeError: A thread id is not a `str`.
            ValueError: *target_thread_id* is in use.
        """
        plan = _housekeeping.copy_thread(source_thread_id, target_thread_id)
        self._database.run(plan)
        self.sessions.clear_memory_cache()

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what runs saved, by the `run_id` in checkpoint metadata.

        A thread of which nothing is left loses its session, too.

        Raises:
            TypeError: *run_ids* is a single string.
            NotImplementedError: Later runs rebuild a `DeltaChannel` from what these saved;
                nothing was deleted.
        """
        self._database.run_atomically(_housekeeping.delete_runs(run_ids))
        self.sessions.clear_memory_cache()
