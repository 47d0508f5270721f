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
        """Choose the database; it is opened, and its tables made, on first use.

        Args:
            conn: An `AsyncConnection` or `AsyncConnectionPool` in autocommit mode; or a conninfo
                string or URL, for which a pool is opened and owned. `None`: the variable
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
            RuntimeError: No event loop is running.
        """
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
        """Open *conn_string* for the length of an `async with` block.

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
        """Close the pool and leave the embedded server that this opened; leave what was given open.

        It first waits for what stopped runs are still saving, then up to 5 seconds for titlers
        under way, and cancels what is left. What memory holds of an outage is written if the
        database is back; else it is logged how many changes are lost.

        Raises:
            RuntimeError: This is another event loop than that which opened it.
        """
        self._database.refuse_other_loop()
        await self._under_way.end()
        await self._background.close()
        await self._database.close()

    # --- Reading -----------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
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
            RuntimeError: It is used in another event loop than its own.
        """
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
        """Yield checkpoints, newest first, as the parent does.

        Without *config* it goes through all threads of all users: an operator's call.

        Args:
            config: The run's: its `configurable` says whose it is, and which thread's.
            filter: Only those whose metadata have these values.
            before: Only those older than this config's checkpoint.
            limit: The most to yield; by default all.

        Raises:
            SessionNotFoundError: As `aget_tuple`; or the user has no current session, and no
                `thread_id` was given. This and all else is raised by the first step.
            TypeError, ValueError, KeyError: As `aget_tuple`.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than its own.
        """
        plan = self._list(config, filter=filter, before=before, limit=limit)
        for found in await self._database.run(plan):
            yield found

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what rebuilds delta channels, as the parent does.

        Args:
            config: The run's: its `configurable` says whose it is, and which thread's.
            channels: Which.

        Raises:
            SessionNotFoundError: As `aget_tuple`, or the user has no current session.
            TypeError, ValueError, KeyError: As `aget_tuple`.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than its own.
        """
        return await self._database.run(self._history(config, channels))

    # --- Saving ------------------------------------------------------------------------------

    async def aput(
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
            TypeError, ValueError, KeyError: As in `aget_tuple`, when it is not part of a run.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than its own.
        """
        plan = self._put(config, checkpoint, metadata, new_versions)
        return await self._under_way.asave(config, plan, self._database.run_uncancelled)

    async def aput_writes(
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
            TypeError, ValueError, KeyError: As in `aget_tuple`, when it is not part of a run.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than its own.
        """
        plan = self._put_writes(config, writes, task_id, task_path)
        await self._under_way.asave(config, plan, self._database.run_uncancelled)

    async def _await_saves(self, saves: Sequence[Future[None]]) -> None:
        if saves:
            await asyncio.wait([asyncio.wrap_future(save) for save in saves])

    def _start_titler(self, titler: Titler, thread_id: str) -> None:
        if self.durable:
            self._background.start(self.sessions.call_titler(titler, thread_id), thread_id)
