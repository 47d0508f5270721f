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
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import Cursor, Pipeline
from psycopg.rows import DictRow, dict_row

from langgraph_sessions import checks
from langgraph_sessions.database.connections import Conn
from langgraph_sessions.database.database import Database
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
from langgraph_sessions.savers.upkeep import ThreadUpkeep
from langgraph_sessions.sessions.manager import AgentSessionManager
from langgraph_sessions.titles.background import Background
from langgraph_sessions.titles.by_model import Titler


class SessionSaver(HeldReading, ThreadUpkeep):
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

    def __init__(
        self,
        conn: str | Conn | None = None,
        pipe: Pipeline | None = None,
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
            on_outage: What happens while the database is away. `"memory"`: conversations go on
                in memory, with one warning, and are written when it is back. `"raise"`: its
                errors are raised.
            outage_limit: How many bytes may be held in memory meanwhile.
            retry_for: For how many seconds an operation whose connection broke is tried again
                before the database counts as away.
            titler: From a conversation's messages to a title, sync or async, called in the
                background once for a session, after its first answer; never over a title
                that somebody gave. `langgraph_sessions.titler(model)` makes one.
            concurrent_runs: `"reject"`: a run with a `user_id` raises `ConcurrentRunError`
                rather than save what would hide, or be hidden by, what another run of the
                session saved since this one loaded it. `"allow"`: as in LangGraph, the later
                branch hides the earlier one.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: *conn* is no conninfo or not in autocommit mode, *path* is given
                beside it, or *pipe* is given with a pool.
        """
        database = Database(
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
        # Held for a single connection only. Over a pool, the parent's one lock per saver
        # would make all users wait for each other.
        self.lock = cast(Any, database.lock)
        # Shared, as everything here is, by the copies that LangGraph makes of a saver.
        self._database = database
        checks.optional_function("titler", titler)
        self._titler = titler
        self._thread_id_factory = database.thread_id_factory
        self._concurrent_runs = checks.one_of(
            "concurrent_runs", concurrent_runs, saving.CONCURRENT_RUNS
        )
        self._background = Background()
        self.sessions = AgentSessionManager(
            database,
            serde,
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
            pipeline: Use one connection at a time, instead of up to 10.
            serde: How values are serialised.
        """
        # A pool of one, not a lone connection: that could not be replaced. Saves are sent as a
        # pipeline anyway.
        size = 1 if pipeline else POOL_SIZE
        with cls(conn_string, serde=serde, pool_size=size) as saver:
            yield saver

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
            SessionError: The tables are newer than this package, the embedded server cannot be
                started, or this process was forked from the one that opened the connections.
            ValueError: The connection is not in autocommit mode.
            psycopg.Error: As the database has it, such as missing rights.
        """
        self._database.setup()

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Cursor[DictRow]]:
        with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor
            if pipeline and (joined := join.current()):
                joined.cursor = cursor.connection.cursor(binary=True, row_factory=dict_row)
                joined.cursor.execute(statement(joined.fetch.sql), joined.fetch.params)

    @property
    def durable(self) -> bool:
        """Whether what is saved now is in the database; not while that is away."""
        return self._database.durable

    # --- Reading -----------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that *config* asks for; a run starts with this.

        Raises:
            SessionNotFoundError: The thread is another user's.
            TypeError: A key of the configurable has the wrong type.
            ValueError: A key is out of range, or one does not go with another.
        """
        request = Request.of(config)
        stored = partial(self._get_stored, config, request)
        if request.user_id is None:
            return self._database.attempt(stored)
        return self._database.either(stored, partial(self._get_held, config, request))

    def _get_stored(self, config: RunnableConfig, request: Request) -> CheckpointTuple | None:
        plan = self._open(request, self.SELECT_SQL)
        opened = saving.continued(self._database.run_durably(plan), config, request)
        run, head = opened
        saving.start(opened, config, request, self._concurrent_runs)
        if run is not None:
            config = pin(config, run)
        if head is None:
            return None
        if saving.is_before_v4(head):
            found = super().get_tuple(config)
        else:
            found = self._load_checkpoint_tuple(head)
        return owned(found, run.user_id) if run and found else found

    def _reader(self, config: RunnableConfig) -> ActiveRun | None:
        """Return the run that reads *config*'s thread; one under way was let in before."""
        find = opening.find_thread(Request.of(config))
        return active_run(config) or self._database.run_durably(find)

    def _writer(self, config: RunnableConfig) -> ActiveRun | None:
        """Return the run that writes to *config*'s thread, `None` for one without a user."""
        if run := active_run(config):
            return run
        request = Request.of(config)
        if request.user_id is None:
            return None
        return (self._database.run(self._open(request))).run

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
        find = partial(self._list_stored, config, filter=filter, before=before, limit=limit)
        if config is None or Request.of(config).user_id is None:
            yield from self._database.attempt(find)
            return
        hold = partial(self._list_held, config, filter=filter, before=before, limit=limit)
        yield from self._database.either(find, hold)

    def _list_stored(
        self, config: RunnableConfig | None, **filters: Any
    ) -> Sequence[CheckpointTuple]:
        self._database.ready()
        run = None if config is None else self._reader(config)
        if config is not None and run is not None:
            config = pin(config, run)
        # All at once: the connection is free again before the caller gets the first.
        listed = [*super().list(config, **filters)]
        return [owned(found, run.user_id) if run else found for found in listed]

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what rebuilds delta channels, as the parent does. Raises as `get_tuple`."""

        def stored() -> Mapping[str, DeltaChannelHistory]:
            self._database.ready()
            run = self._reader(config)
            pinned = pin(config, run) if run else config
            return parent(config=pinned, channels=channels)

        parent = super().get_delta_channel_history
        if Request.of(config).user_id is None:
            return self._database.attempt(stored)
        return self._database.either(stored, partial(self._history_held, config, channels))

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
            ConcurrentRunError: Another run saved to the session since this one loaded it;
                nothing was saved.
            TypeError, ValueError: As in `get_tuple`, when it is not part of a run.
        """
        run = self._writer(config)
        if run is None:
            plain = partial(self._put_plain, config, checkpoint, metadata, new_versions)
            return self._database.attempt(plain)
        began = self.sessions.cache.now()
        save = Save.of(run, config, checkpoint, metadata, new_versions)
        row = self._database.either(
            partial(self._put, save),
            lambda memory: memory.put(save, self.serde, dumped.storing(self)._put),
        )
        self.sessions.cache.wrote(save.done(row), began)
        if self._titler is None or not self._database.durable:
            return save.saved_config
        if saving.wants_title(run, config, checkpoint):
            self._background.start(partial(self.sessions.call_titler, self._titler, run.thread_id))
        return save.saved_config

    def _put_plain(self, config: RunnableConfig, *saved: Any) -> RunnableConfig:
        self._database.ready()
        with join.joined(join.guard_nobody(config["configurable"]["thread_id"])):
            return super().put(config, *saved)

    def _put(self, save: Save) -> DictRow:
        self._database.ready()
        try:
            with join.joined(save.statement) as joined:
                super().put(save.config, save.checkpoint, save.metadata, save.new_versions)
            return cast(DictRow, cast(Cursor[DictRow], joined.cursor).fetchone())
        except ConcurrentRunError:
            row = self._database.run_durably(save.find())
            if row is None:
                save.run.overtaken = True
                raise
            return row

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save a task's writes. Raises as `put`."""
        run = self._writer(config)
        if run is None:
            plain = partial(self._put_writes_plain, config, writes, task_id, task_path)
            self._database.attempt(plain)
            return
        wrote = Writes.of(run, config, writes, task_id, task_path)
        self._database.either(
            partial(self._put_writes, wrote),
            lambda memory: memory.put_writes(wrote, self.serde, dumped.storing(self)._put_writes),
        )
        wrote.done()

    def _put_writes_plain(self, config: RunnableConfig, *written: Any) -> None:
        self._database.ready()
        with join.joined(join.guard_nobody(config["configurable"]["thread_id"])):
            super().put_writes(config, *written)

    def _put_writes(self, wrote: Writes) -> None:
        self._database.ready()
        with join.joined(wrote.statement):
            super().put_writes(wrote.config, wrote.writes, wrote.task_id, wrote.task_path)
