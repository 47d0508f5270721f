"""What is not about a run, for event loops: the tables, and whole threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from langgraph_sessions import checks
from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.savers.from_threads import FromThreads
from langgraph_sessions.sessions import deletion, upkeep
from langgraph_sessions.sessions.aio_manager import AsyncAgentSessionManager
from langgraph_sessions.sql.citus.reading import Pruning


class AsyncThreadUpkeep(FromThreads):
    """Async version of `ThreadUpkeep`."""

    sessions: AsyncAgentSessionManager
    _database: AsyncDatabase

    async def setup(self, *, citus: bool = False) -> None:
        """Create or upgrade the tables, LangGraph's and our own, in one transaction.

        Not needed unless `auto_setup=False`: it is done on first use. Safe from many
        processes at once.

        Args:
            citus: Whether to distribute them over the nodes of Citus, with what is in them; once
                they are, every saver finds that by itself.

        Raises:
            TypeError: *citus* is no `bool`.
            SessionError: With *citus*, there is no Citus, no node for shards, this is no
                coordinator, the role may not distribute, or some tables are distributed already.
                Or the tables are newer by a breaking migration, are gone or somebody else's, a
                search path leads past them, the embedded server cannot be started, or this process
                was forked from the one that opened the connections.
            ValueError: The connection is not in autocommit mode.
            psycopg.Error: Any error of the database, such as missing rights.
        """
        await self._database.setup(citus=checks.boolean("citus", citus))

    @property
    def durable(self) -> bool:
        """Whether what is saved now is in the database; not while that is away."""
        return self._database.durable

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[Any]:
        async with super()._cursor(pipeline=pipeline) as cursor:
            yield Pruning(cursor) if self._database.place.are_distributed else cursor

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread and its session, whoever owns it: an operator's call.

        Args:
            thread_id: Which.

        Raises:
            TypeError: *thread_id* is no id.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than its own.
        """
        await self.aprune([thread_id], strategy="delete")

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Prune threads as the parent does; `"delete"`, or `"delete_all"`, with their sessions.

        Args:
            thread_ids: Which.
            strategy: `"keep_latest"`: all but each namespace's newest checkpoint goes; `"delete"`,
                or `"delete_all"`: everything does.

        Raises:
            TypeError: *thread_ids* is a single string.
            ValueError: *strategy* is unknown.
            NotImplementedError: `"keep_latest"`, and a thread uses a `DeltaChannel`.
            psycopg.errors.SerializationFailure: Another transaction changed a thread's rows while
                `"keep_latest"` pruned it; threads before it are pruned.
            psycopg.errors.DeadlockDetected: Likewise, by another prune of the thread.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than its own.
        """
        if not deletion.deletes(thread_ids, strategy):
            prune = partial(super().aprune, thread_ids, strategy=strategy)
            await self._database.attempt(prune)
        elif thread_ids:
            plan = deletion.delete_threads([str(t) for t in thread_ids])
            await self._database.run(self.sessions.cache.forgetting(plan))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread, in the database; its session, if it has one, for the same user.

        Where the source has neither checkpoints nor a session, nothing is copied, and no error
        raised.

        Args:
            source_thread_id: What to copy.
            target_thread_id: The copy's id, which nothing has.

        Raises:
            TypeError: A thread id is not a `str`, `int` or `UUID`.
            ValueError: *target_thread_id* is in use, or a thread id is blank or over 255
                characters.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than its own.
        """
        plan = upkeep.copy_thread(source_thread_id, target_thread_id)
        await self._database.run(self.sessions.cache.forgetting(plan))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what runs saved, by the `run_id` in checkpoint metadata.

        A thread of which nothing is left loses its session, too.

        Args:
            run_ids: Which.

        Raises:
            TypeError: *run_ids* is a single string.
            NotImplementedError: Later runs rebuild a `DeltaChannel` from what these saved;
                nothing was deleted.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than its own.
        """
        plan = deletion.delete_runs(run_ids)
        await self._database.run(self.sessions.cache.forgetting(plan))
