"""`AsyncAgentSessionManager`: the session manager for event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions import checks
from langgraph_sessions.checks import ThreadId, UserId
from langgraph_sessions.database.aio_database import AsyncConn, AsyncDatabase
from langgraph_sessions.database.deeds import ado
from langgraph_sessions.database.pools import POOL_SIZE
from langgraph_sessions.database.source import Path
from langgraph_sessions.models import DEFAULT_TITLE, Session
from langgraph_sessions.outage import bridge
from langgraph_sessions.outage.state import OUTAGE_LIMIT
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions.runs.turns import Turns
from langgraph_sessions.sessions import deletion, operations, upkeep
from langgraph_sessions.sessions.aio_manager_reading import AsyncManagerReading
from langgraph_sessions.sessions.aio_manager_upkeep import AsyncManagerUpkeep
from langgraph_sessions.types import OnOutage, SessionUpdates


class AsyncAgentSessionManager(AsyncManagerReading, AsyncManagerUpkeep):
    """Async version of `AgentSessionManager`: the same methods as coroutines.

    It belongs to the event loop in which it was first used: those that ask the database raise
    `RuntimeError` in another one.
    """

    _hold = staticmethod(Turns.ahold)

    def __init__(
        self,
        conn: str | AsyncConn | AsyncDatabase | None = None,
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
        auto_title: bool | None = None,
        default_title: str = DEFAULT_TITLE,
    ) -> None:
        """Choose the database; it is opened, and its tables made, on first use.

        Args:
            conn: As of `AsyncSessionSaver`: a connection, a pool, a conninfo or URL, or `None`.
            serde: How values are serialised.
            path: The embedded PostgreSQL's folder.
            pool_size: The most connections in the pool that is opened for a string.
            auto_setup: Create missing tables; `False` never runs DDL.
            agent: The agent whose sessions it makes and finds; `None`: whichever agent's.
            thread_id_factory: Makes a new thread id from a user id.
            cache_size: The most sessions that are kept in memory; 0 for none.
            cache_ttl: Seconds that a session stays there; 0 turns the cache off.
            on_outage: `"memory"` or `"raise"`: what happens while the database is away.
            outage_limit: Bytes that may be held in memory meanwhile.
            retry_for: Seconds for which a statement whose connection broke is tried again.
            auto_title: Whether adopted threads are titled by their messages; `None`: yes, unless
                *serde* encrypts.
            default_title: What a session is called until somebody, or its first message, titles it.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: One is out of range, *conn* is no conninfo or not in autocommit mode, or
                *path* is given beside it.
        """
        super().__init__(
            serde, thread_id_factory, cache_size, cache_ttl, agent, auto_title, default_title
        )
        self._owns_database = not isinstance(conn, AsyncDatabase)
        self._database = (
            conn
            if isinstance(conn, AsyncDatabase)
            else bridge.async_database(
                conn,
                path=path,
                pool_size=pool_size,
                auto_setup=auto_setup,
                thread_id_factory=thread_id_factory,
                on_outage=on_outage,
                outage_limit=outage_limit,
                retry_for=retry_for,
            )
        )
        # Sessions begun in memory are numbered by the database, and it may have other ones.
        self._database.on_change = self.cache.clear

    async def close(self) -> None:
        """Close what this opened, as `AsyncSessionSaver.close`; nothing of a saver's manager.

        Raises:
            RuntimeError: This is another event loop than that which opened it.
        """
        if self._owns_database:
            await self._database.close()

    async def create_user_session(
        self,
        user_id: UserId,
        title: str | None = None,
        *,
        thread_id: ThreadId | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        """Create a session, which becomes current, and return it.

        Args:
            user_id: Whose it is.
            title: At most 255 characters. `None`, or the manager's `default_title`: it is called
                that until its first human message titles it.
            thread_id: LangGraph's thread id, at most 255 characters; by default a new one.
            metadata: The application's own data, a JSON object of at most 64 KiB; a key with
                `None` is left out.

        Raises:
            ValueError: *thread_id* is in use.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(self._create(user_id, title, thread_id, metadata))

    async def get_or_create_user_session(
        self, user_id: UserId, title: str | None = None
    ) -> Session:
        """Return the current session; if there is none, create one as `create_user_session`.

        Args:
            user_id: Whose.
            title: At most 255 characters, as in `create_user_session`.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(self._get_or_create(user_id, title))

    async def run_config(
        self,
        user_id: UserId,
        *,
        thread_id: ThreadId | None = None,
        new_session: bool = False,
        title: str | None = None,
        make_current: bool = True,
    ) -> RunnableConfig:
        """Return the config of a run that goes where these say, with its thread settled.

        So the thread is known before the run starts: to streams, traces, callers. Nothing is
        written, and nothing set aside: a session that it names and that there is not yet is made
        by the run. The user's first one has the thread id of a first run under way, if there is
        one; else each config has another, and makes a session of its own.

        Args:
            user_id: Whose run it is.
            thread_id: Which session; by default the current one, or a new one.
            new_session: Whether to start a new one.
            title: The title that the run is to give.
            make_current: `False` for a job's run.

        Raises:
            SessionNotFoundError: The thread is another user's.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        factory = self.thread_id_factory
        return await self._database.run(
            operations.run_config(
                user_id, thread_id, new_session, title, make_current, factory, self.agent
            )
        )

    async def update_session(
        self,
        user_id: UserId,
        updates: SessionUpdates | Mapping[str, object],
        *,
        thread_id: ThreadId | None = None,
    ) -> Session:
        """Change a session and return it as it is then.

        A node or tool may change its run's own session before anything of the run is saved.

        Args:
            user_id: Whose it is.
            updates: `title`, `is_active`, and `metadata`, which is merged, key by key, into
                what is there, at most 64 KiB; a key whose value is `None` goes.
            thread_id: Which session; by default the current one.

        Raises:
            ValueError: *updates* has another key.
            SessionNotFoundError: The user has no such session.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(self._update(user_id, updates, thread_id))

    async def switch_session(self, user_id: UserId, thread_id: ThreadId) -> Session:
        """Make a session current, and active, and return it.

        Args:
            user_id: Whose it is.
            thread_id: Which session.

        Raises:
            SessionNotFoundError: The user has no such session.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(self._switch(user_id, thread_id))

    async def deactivate_session(
        self, user_id: UserId, *, thread_id: ThreadId | None = None
    ) -> int:
        """Deactivate a session, or all of the user's; return how many were active.

        Args:
            user_id: Whose.
            thread_id: One session alone; by default all.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(self._deactivate(user_id, thread_id))

    async def delete_session(self, user_id: UserId, thread_id: ThreadId) -> None:
        """Delete a session and all its checkpoints, writes and blobs, in one transaction.

        Args:
            user_id: Whose it is.
            thread_id: Which session.

        Raises:
            SessionNotFoundError: The user has no such session.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        user = checks.user_id(user_id)
        plan = self._made(deletion.delete(user, thread_id, self.agent), user, thread_id)
        await self._database.run(self.cache.forgetting(plan, user))

    async def fork_session(
        self,
        user_id: UserId,
        thread_id: ThreadId,
        *,
        checkpoint_id: str | None = None,
        title: str | None = None,
    ) -> Session:
        """Copy a conversation, up to a checkpoint, into a new session, which becomes current.

        Interrupts that wait there wait in the copy, too; the source is left as it is. The
        copying is done by the database.

        Interrupts that were answered since wait again in a copy up to their checkpoint. What
        ran beside them has run, and answers to earlier questions of the same node stay. What a
        node that asked had called itself, tasks of the functional API or subgraphs, may have
        run before or after: nothing stored tells, and it runs again. For the same reason, a node
        that asked several times and then wrote nothing, or ran under `durability="exit"`, asks
        anew from its first question.

        Args:
            user_id: Whose it is.
            thread_id: What to copy.
            checkpoint_id: Up to which of its checkpoints; by default all of it.
            title: The copy's title; by default the source's.

        Raises:
            SessionNotFoundError: The user has no such session.
            ValueError: *checkpoint_id* is not in it.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        factory = self.thread_id_factory
        plan = upkeep.fork(user_id, thread_id, checkpoint_id, title, factory, self.agent)
        return await self._database.run(self.cache.writing(self._left(plan, user_id)))

    @asynccontextmanager
    async def exclusive(
        self, user_id: UserId, thread_id: ThreadId | None = None, timeout: float | None = None
    ) -> AsyncIterator[Session]:
        """Have a session to oneself in an `async with` block: others that want it wait.

        They do over all processes; who crashes frees it. Runs that do not ask for it are kept
        apart by `concurrent_runs` alone. It is not reentrant.

        For each session, one holder or waiter of a process has a connection, outside the pool; if
        that breaks, the session is free for other processes. The others wait in the process, and
        so does a user who has, or waits for, five sessions there, for the next one.

            async with saver.sessions.exclusive("alice") as session:
                await graph.ainvoke({"messages": ["Hello"]}, session.config)

        Args:
            user_id: Whose it is.
            thread_id: Which session; by default the current one, or the one that the user's
                next run makes.
            timeout: For how many seconds to wait; by default for ever.

        Raises:
            TimeoutError: It was not free in time.
            SessionNotFoundError: The thread is another user's.
            SessionsUnavailableError: The database is away.
            ValueError: *conn* is a pool whose conninfo or kwargs are functions.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        turn = self._turn(user_id, thread_id, timeout)
        try:
            yield await ado(turn.take_deed(self._database))
        finally:
            await ado(turn.leave_deed())

    async def clear_memory_cache(self) -> None:
        """Empty the memory cache."""
        self.cache.clear()

    async def get_session_count(self) -> int:
        """Return how many sessions the memory cache holds."""
        return len(self.cache)
