"""Async version of `manager_upkeep`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any

from langgraph_sessions import checks
from langgraph_sessions.checks import ThreadId, UserId
from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.models import Session
from langgraph_sessions.sessions import deletion, upkeep
from langgraph_sessions.sessions.base_manager import BaseManager
from langgraph_sessions.sessions.retention import Purge
from langgraph_sessions.sessions.transfer import transfer
from langgraph_sessions.titles import by_model
from langgraph_sessions.titles.by_model import Titler


class AsyncManagerUpkeep(BaseManager):
    """Async version of `ManagerUpkeep`."""

    _database: AsyncDatabase

    async def delete_user(self, user_id: UserId) -> dict[str, int]:
        """Delete everything of a user, whichever agent's, in one transaction.

        That is all sessions with their threads, threads without a session that are the user's
        (see `backfill`), and preferences.

        Args:
            user_id: Who.

        Returns:
            How many `sessions`, `checkpoints`, `blobs`, `writes` and `users` were deleted.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        user = checks.user_id(user_id)
        plan = self._made(deletion.delete_user(user), user)
        return await self._database.run(self.cache.forgetting(plan, user))

    def export_user(self, user_id: UserId) -> AsyncIterator[dict[str, Any]]:
        """Yield everything of a user, whichever agent's, as records of strict JSON.

        They go into `json.dumps` with `allow_nan=False`, `jq` and PostgreSQL's jsonb. One
        conversation is in memory at a time.

        The first, if there are any, is `{"record": "preferences", …}`; then come, for each
        session, `{"record": "session", …}` with its fields; a `{"record": "message", …}` for each
        message, with `thread_id`, `role`, `content` and the whole `message`, in the order they
        were said; and `{"record": "state", …}` with `thread_id`, and what else its newest
        checkpoint holds, by channel, in `values` and `pending`, if there is anything. Threads
        without a session that are the user's (see `backfill`) come after those, each as
        `{"record": "thread", …}` and the same.

        A thread that cannot be read is `{"record": "unreadable", …}` with `thread_id` and
        `error`, and ends nothing. If something was replaced that JSON cannot hold, such as NaN by
        null, the last record says so: `{"record": "note", …}` with `note` and `thread_ids`.
        Errors are raised by the first step, not by the call.

        Args:
            user_id: Whose.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return self._database.stream(self._export(checks.user_id(user_id)))

    async def purge_sessions(
        self,
        *,
        idle_for: timedelta | None = None,
        older_than: timedelta | None = None,
        active: bool | None = None,
        unused: bool | None = None,
        interrupted: bool = False,
        dry_run: bool = False,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Delete sessions that are old enough, all the conditions given together.

        A manager of an agent purges its own alone.

        It works in batches, each a short transaction, and waits for nobody. What is locked, by
        a save or another purge, is left alone, and so is a session with a run at work: there
        are tasks to come, and a checkpoint was saved within a day. So is one that waits for an
        answer to an interrupt, of whatever age. A run that has saved nothing since it began
        (`durability="exit"`, a run tried again after an error, an answer where *interrupted* is
        given, the first of a session) cannot be seen: with *unused*, give *older_than*, too,
        or what was just made is taken from whoever is about to use it. After an error, what was
        purged stays purged: call it again.

        Args:
            idle_for: Only sessions not used, and without a new checkpoint, for at least this long.
            older_than: Only sessions created at least this long ago.
            active: Only active ones, or only others.
            unused: Only sessions in which nothing was ever said. `False`: only others; that alone
                is no condition.
            interrupted: Also those that wait for an answer.
            dry_run: Only count.
            batch_size: How many to look at in a transaction, from 1 to 1000.
            on_progress: Called with the counts after each batch; what is awaitable is awaited.

        Returns:
            How many sessions were `purged`, and `kept` although old enough.

        Raises:
            ValueError: No condition is given, or a duration is negative or over 36500 days.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        checks.optional_function("on_progress", on_progress)
        purge = Purge(
            idle_for, older_than, active, unused, interrupted, dry_run, batch_size, self.agent
        )
        return await self._database.run(self._purge(purge, on_progress))

    async def transfer_sessions(
        self, from_user: UserId, to_user: UserId, *, thread_id: ThreadId | None = None
    ) -> int:
        """Move sessions to another user: a guest who signs up, a hand-over.

        What is moved is the new user's everywhere: its runs, lists, exports and deletions, and by
        the user that its checkpoints name. A run of the old user's that is under way there raises
        `SessionNotFoundError` when it saves. With all sessions go the preferences; those that
        *to_user* has already win. A manager of an agent moves its own sessions alone, and no
        preferences. Everything is moved in one transaction. Which session is current then is what
        it always is: the one that was made current last, by whichever of the two. Threads without
        a session stay whose they are. What another process holds in memory for the old user,
        while the database is away from that one alone, is refused when it comes back, and logged.

        Args:
            from_user: Whose they are.
            to_user: Whose they are to be.
            thread_id: One session alone; by default all.

        Returns:
            How many sessions were moved.

        Raises:
            ValueError: Both are the same user, or their preferences take more than 64 KiB together.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        plan = transfer(from_user, to_user, thread_id, self.agent)
        made = self._made(plan, from_user, thread_id)
        return await self._database.run(self.cache.forgetting(made))

    async def adopt_session(
        self, user_id: UserId, thread_id: ThreadId, *, title: str | None = None
    ) -> Session:
        """Make a session for a thread that a plain `PostgresSaver` left behind.

        Its times are those of the first and last checkpoint; without *title* it is titled by
        the first human message. What is the user's session already is returned as it is.
        LangGraph's tables are only read. The session is of the manager's agent.

        Args:
            user_id: Whose it is to be.
            thread_id: LangGraph's thread.
            title: Its title; by default from its messages.

        Raises:
            SessionNotFoundError: There is no such thread, or it is another user's, by its
                session or by its checkpoints (see `backfill`), or another agent's.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(self._adopt_checked(user_id, thread_id, title))

    async def backfill(
        self,
        *,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Adopt every thread whose checkpoints name a `user_id` in their metadata.

        The thread belongs to whom the newest checkpoint that names anybody names; the root
        graph's come before subgraphs'.

        The sessions are of the manager's agent.

        It can be stopped and called again at any time: nothing is adopted twice. A thread that
        cannot be read gets no title; one that was deleted meanwhile, or whose id is too long
        for a session, is skipped. Both are logged.

        Args:
            batch_size: How many threads to look up at a time, from 1 to 1000.
            on_progress: Called with the counts after each batch; what is awaitable is awaited.

        Returns:
            How many threads were `seen`, `adopted`, `unowned` and `skipped`.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        checks.optional_function("on_progress", on_progress)
        walk = upkeep.Backfill(batch_size)
        return await self._database.run(self._backfill(walk, on_progress))

    async def call_titler(self, titler: Titler, thread_id: str) -> None:
        """Title a session by *titler*, as the savers do after its first answer.

        Nothing happens while one is at work on it, if somebody or a model gave the session a title,
        and once three titlers have failed.

        Args:
            titler: From the conversation's messages to a title.
            thread_id: Which session's.

        Raises:
            TypeError: *titler* is no function, or does not return a `str`.
            ValueError: There is no title in what it returns.
            Exception: Whatever the titler raises.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        checks.function("titler", titler)
        await self._database.run(self._call_titler(by_model.ask, titler, thread_id))

    async def get_preferences(self, user_id: UserId) -> dict[str, Any]:
        """Return the user's preferences, which all sessions share.

        Args:
            user_id: Whose.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(upkeep.get_preferences(user_id))

    async def update_preferences(self, user_id: UserId, changes: dict[str, Any]) -> dict[str, Any]:
        """Merge *changes* into the user's preferences, and return them all.

        Args:
            user_id: Whose.
            changes: A JSON object; a value of `None` removes its key. Together they take at most
                64 KiB.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(upkeep.update_preferences(user_id, changes))
