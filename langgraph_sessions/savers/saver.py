"""`SessionSaver`: LangGraph's `PostgresSaver` that knows users."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import Pipeline

from langgraph_sessions.database.database import Conn
from langgraph_sessions.database.pools import POOL_SIZE
from langgraph_sessions.database.source import Path
from langgraph_sessions.models import DEFAULT_TITLE
from langgraph_sessions.outage import bridge
from langgraph_sessions.outage.state import OUTAGE_LIMIT
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions.runs.underway import CLEANING
from langgraph_sessions.savers.plans import SaverPlans
from langgraph_sessions.savers.upkeep import ThreadUpkeep
from langgraph_sessions.sessions.manager import AgentSessionManager
from langgraph_sessions.titles.background import Background
from langgraph_sessions.titles.by_model import Titler
from langgraph_sessions.types import ConcurrentRuns, OnOutage

# Seconds in which a stopped run's next save begins, also on a busy machine. Only a run that begins
# beside one that has not ended waits so.
PAUSE: Final = 0.05


class SessionSaver(SaverPlans, ThreadUpkeep):
    """A LangGraph checkpointer on PostgreSQL that remembers every user's sessions.

    Compile a graph with it and give a `user_id` in the config; sessions are then created,
    resumed, renamed and deactivated by themselves:

        saver = SessionSaver("postgresql://localhost/app")
        graph = builder.compile(checkpointer=saver)
        graph.invoke({"messages": ["Hello"]}, {"configurable": {"user_id": "alice"}})

    Without a `user_id` it does what `PostgresSaver` does. It also answers the async methods,
    in threads; `AsyncSessionSaver` is the native one for servers.

    Besides what they name, all methods raise errors of the database as psycopg's own, and
    `SessionError` as `setup` does. While the database is away (see `on_outage`), they raise
    `SessionsUnavailableError` for what memory cannot answer; as a rule `psycopg.OperationalError`
    with `on_outage="raise"`, on a single connection, and for runs without a `user_id`.

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
            agent: A name of 1 to 255 characters, for several agents on one database. Sessions that
                this makes carry it; those alone it finds, lists and goes on with, and *current* is
                for each user and agent. `None`: all of a user's sessions, whichever agent's.
            thread_id_factory: Makes a new thread id from a user id; by default
                `<user_id>_<uuid>`, which also stands for an id of the factory's that is in use.
            cache_size: The most sessions that `sessions` keeps in memory; 0 for none.
            cache_ttl: Seconds that a session stays there; 0 turns the cache off.
            on_outage: What happens while the database is away. `"memory"`: conversations go on
                in memory, with one warning, and are written when it is back. `"raise"`: its
                errors are raised.
            outage_limit: Bytes that may be held in memory meanwhile, of which no user may have
                more than is left for others (alone, one half); beyond that, their saves raise
                `SessionsUnavailableError`.
            retry_for: Seconds for which a statement, or transaction, whose connection broke is
                tried again before the database counts as away. Each has its own, so that a method
                of several may take longer.
            titler: From a conversation's messages to a title, sync or async, called in the
                background after a session's first answer, and once more with each of the next two
                turns if it fails, or returns no title; never over a title that somebody gave, or
                for a fork of what has a model's. `langgraph_sessions.titler(model)` makes one.
            auto_title: Whether sessions are titled by their messages, and by *titler*. `None`: yes,
                unless *serde* is LangGraph's `EncryptedSerializer`: titles are stored in clear.
            default_title: What a session is called until somebody, or its first message, titles
                it: 1 to 255 characters.
            concurrent_runs: `"reject"`: a run with a `user_id` raises `ConcurrentRunError`
                rather than save what would hide, or be hidden by, what another run of the
                session saved since this one loaded it. `"allow"`: as in LangGraph, the later
                branch hides the earlier one.
            trust_thread_id: `True`: a run, a read or an update by `thread_id` alone of an owned
                thread is its owner's, for applications that have checked who may use it. The
                owner is the session's; without one, the user whom a checkpoint names last.
            require_user: `True`: a run, or an update, without a user is a `ValueError`, whatever
                else it names.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: *conn* is no conninfo or not in autocommit mode, *path* is given
                beside it, or *pipe* is given with a pool.
        """
        database = bridge.database(
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
        self._database = database
        self._saving = ThreadPoolExecutor(POOL_SIZE, "langgraph-sessions-saves")
        self._background = Background()
        self.sessions = AgentSessionManager(
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

        Raises:
            TypeError, ValueError: As the constructor.
        """
        # A pool of one, not a lone connection: that could not be replaced. A save is one
        # round trip anyway.
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
        """Close the pool and leave the embedded server that this opened; leave what was given open.

        It first waits up to 5 seconds for titlers under way. What memory holds of an outage is
        written if the database is back; else it is logged how many changes are lost.
        """
        self._saving.shutdown()  # Once it has saved what is under way.
        self._background.close()
        self._database.close()

    # --- Reading -----------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that *config* asks for; a run starts with this.

        Args:
            config: The run's: its `configurable` says whose it is, and which thread's.

        Raises:
            SessionNotFoundError: The thread is another user's, or a user's and no `user_id` was
                given, or `user_id` is not who is signed in on the Agent Server.
            TypeError: A key of the configurable has the wrong type.
            ValueError: A key is out of range, or one does not go with another.
            KeyError: There is neither a `user_id` nor a `thread_id`.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
        """
        return self._database.run(self._get_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, newest first, as the parent does.

        Without *config* it goes through all threads of all users: an operator's call.

        Args:
            config: The run's: its `configurable` says whose it is, and which thread's.
            filter: Only those whose metadata have these values.
            before: Only those older than this config's checkpoint.
            limit: The most to yield; by default all.

        Raises:
            SessionNotFoundError: As `get_tuple`; or the user has no current session, and no
                `thread_id` was given. This and all else is raised by the first `next`.
            TypeError, ValueError, KeyError: As `get_tuple`.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
        """
        plan = self._list(config, filter=filter, before=before, limit=limit)
        yield from self._database.run(plan)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what rebuilds delta channels, as the parent does.

        Args:
            config: The run's: its `configurable` says whose it is, and which thread's.
            channels: Which.

        Raises:
            SessionNotFoundError: As `get_tuple`, or the user has no current session.
            TypeError, ValueError, KeyError: As `get_tuple`.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
        """
        return self._database.run(self._history(config, channels))

    # --- Saving ------------------------------------------------------------------------------

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint and its session's row in one transaction.

        Args:
            config: The run's: its `configurable` says whose it is, and which thread's.
            checkpoint: What to save.
            metadata: LangGraph's, of the checkpoint.
            new_versions: The channels that it changed.

        Raises:
            SessionNotFoundError: The thread is another user's, or the session was deleted
                while the run was under way; nothing was saved.
            ConcurrentRunError: Another run saved to the session since this one loaded it;
                nothing was saved.
            SessionsUnavailableError: The database is away, and `outage_limit` is reached, or
                memory cannot answer.
            TypeError, ValueError, KeyError: As in `get_tuple`, when it is not part of a run.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
        """
        plan = self._put(config, checkpoint, metadata, new_versions)
        return self._under_way.save(config, plan, self._database.run)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save a task's writes.

        Args:
            config: The run's: its `configurable` says whose it is, and which thread's.
            writes: Channels and values.
            task_id: Whose they are.
            task_path: Where that task stands among its step's.

        Raises:
            SessionNotFoundError: The thread is another user's, or the session was deleted.
            ConcurrentRunError: Another run saved to the session since this one loaded it;
                nothing was saved.
            SessionsUnavailableError: The database is away, and `outage_limit` is reached, or
                memory cannot answer.
            TypeError, ValueError, KeyError: As in `get_tuple`, when it is not part of a run.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
        """
        plan = self._put_writes(config, writes, task_id, task_path)
        self._under_way.save(config, plan, self._database.run)

    def _await_saves(self, saves: Sequence[Future[None]]) -> None:
        wait(saves, CLEANING)
        if not self._loop_has_gone_on():
            time.sleep(PAUSE)

    def _start_titler(self, titler: Titler, thread_id: str) -> None:
        if self.durable:
            self._background.start(partial(self.sessions.call_titler, titler, thread_id), thread_id)
