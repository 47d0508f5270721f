"""`AgentSessionManager`: what a chat sidebar and an operator need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions import _arguments, _housekeeping, _operations, _reading, _titling
from langgraph_sessions._cache import SessionCache
from langgraph_sessions._database import Conn, Database, Path
from langgraph_sessions._drive import Plan
from langgraph_sessions._functions import DEFAULT_TITLE
from langgraph_sessions._pages import Listing
from langgraph_sessions._thread_ids import ThreadIdFactory, default_thread_id
from langgraph_sessions._titling import Titler
from langgraph_sessions.models import Session, SessionPage


class AgentSessionManager:
    """The sessions of all users: `saver.sessions`, or built alone.

    A *session* is a user's conversation. The *current* one is the active one used last:
    created, run or switched to. Every method takes a `user_id` as a run does: a `str`, or
    an `int` or `UUID` as its `str`.

    Each method raises `TypeError` or `ValueError`, naming the argument, for what is not
    allowed, before anything is written; and `psycopg.Error` as the database has it.
    """

    def __init__(
        self,
        conn: str | Conn | Database | None = None,
        serde: SerializerProtocol | None = None,
        *,
        path: Path | None = None,
        pool_size: int = 10,
        auto_setup: bool = True,
        thread_id_factory: ThreadIdFactory = default_thread_id,
        cache_size: int = 1000,
        cache_ttl: float = 5.0,
    ) -> None:
        """Choose the database. Takes and raises what `SessionSaver` does."""
        self._database = (
            conn
            if isinstance(conn, Database)
            else Database(conn, path=path, pool_size=pool_size, auto_setup=auto_setup)
        )
        _arguments.function("thread_id_factory", thread_id_factory)
        self.thread_id_factory = thread_id_factory
        self._serde = serde
        self.cache = SessionCache(cache_size, cache_ttl)

    def close(self) -> None:
        """Close what this opened, and nothing else."""
        self._database.close()

    def create_user_session(
        self,
        user_id: str,
        title: str = DEFAULT_TITLE,
        *,
        thread_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Create a session, which becomes current, and return it.

        Args:
            user_id: Whose it is.
            title: At most 255 characters. Left at the default, it gives way to the first
                human message.
            thread_id: LangGraph's thread id, at most 255 characters; by default a new one.
            metadata: The application's own data, a JSON object.

        Raises:
            ValueError: *thread_id* is in use.
        """
        factory = self.thread_id_factory
        return self._write(_operations.create(user_id, title, thread_id, metadata, factory))

    def get_or_create_user_session(self, user_id: str, title: str = DEFAULT_TITLE) -> Session:
        """Return the current session; if there is none, create one called *title*."""
        return self._write(_operations.get_or_create(user_id, title, self.thread_id_factory))

    def get_current_user_session(self, user_id: str) -> Session:
        """Return the current session.

        Raises:
            SessionNotFoundError: The user has no active session.
        """
        return self._read(_operations.get_current(user_id), user_id)

    def get_session(self, user_id: str, thread_id: str) -> Session:
        """Return a certain session.

        Raises:
            SessionNotFoundError: The user has no such session.
        """
        return self._read(_operations.get(user_id, thread_id), user_id, thread_id)

    def update_session(
        self, user_id: str, updates: Mapping[str, Any], *, thread_id: str | None = None
    ) -> Session:
        """Change a session and return it as it is then.

        Args:
            user_id: Whose it is.
            updates: `title`, `is_active`, and `metadata`, which is merged, key by key, into
                what is there.
            thread_id: Which session; by default the current one.

        Raises:
            ValueError: *updates* has another key.
            SessionNotFoundError: The user has no such session.
        """
        return self._write(_operations.update(user_id, updates, thread_id))

    def switch_session(self, user_id: str, thread_id: str) -> Session:
        """Make a session current, and active, and return it.

        Raises:
            SessionNotFoundError: The user has no such session.
        """
        return self._write(_operations.switch(user_id, thread_id))

    def deactivate_session(self, user_id: str, *, thread_id: str | None = None) -> int:
        """Deactivate a session, or all of the user's; return how many were active."""
        count = self._database.run(_operations.deactivate(user_id, thread_id))
        self.cache.forget_user(user_id)
        return count

    def has_session(self, user_id: str) -> bool:
        """Say whether the user has an active session."""
        return bool(self._database.run(_operations.has(user_id)))

    def list_active_sessions(self, user_id: str | None = None) -> list[Session]:
        """Return the active sessions, of all users if none is given, newest first."""
        return self._database.run(_operations.list_all(Listing(user_id, active=True)))

    def list_sessions(
        self,
        user_id: str | None = None,
        *,
        active: bool | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        status: str | None = None,
        updated_after: datetime | None = None,
        updated_before: datetime | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SessionPage:
        """Return a page of sessions, newest first.

        Args:
            user_id: Whose; by default everybody's.
            active: Only active ones, or only others.
            title: Only those whose title contains this, in upper or lower case.
            metadata: Only those whose metadata contain this (PostgreSQL's `@>`).
            status: Only those that are `"idle"`, `"interrupted"` or in `"error"`.
            updated_after: Only those used after this moment (aware).
            updated_before: Only those used before this moment (aware).
            limit: How many, from 1 to 1000.
            cursor: The `next_cursor` of the page before, listed with the same filters.
        """
        listing = Listing(
            user_id,
            active=active,
            title=title,
            metadata=metadata,
            status=status,
            updated_after=updated_after,
            updated_before=updated_before,
            cursor=cursor,
        )
        return self._database.run(_operations.list_page(listing, limit))

    def count_sessions(self, user_id: str | None = None, *, active: bool | None = None) -> int:
        """Return how many sessions a user has, or everybody."""
        return self._database.run(_operations.count(Listing(user_id, active=active)))

    def delete_session(self, user_id: str, thread_id: str) -> None:
        """Delete a session and all its checkpoints, writes and blobs, in one transaction.

        Raises:
            SessionNotFoundError: The user has no such session.
        """
        try:
            self._database.run(_operations.delete(user_id, thread_id))
        finally:
            self.cache.forget_user(user_id)

    def fork_session(
        self,
        user_id: str,
        thread_id: str,
        *,
        checkpoint_id: str | None = None,
        title: str | None = None,
    ) -> Session:
        """Copy a conversation, up to a checkpoint, into a new session, which becomes current.

        Interrupts that wait there wait in the copy, too; the source is left as it is. The
        copying is done by the database.

        Args:
            user_id: Whose it is.
            thread_id: What to copy.
            checkpoint_id: Up to which of its checkpoints; by default all of it.
            title: The copy's title; by default the source's.

        Raises:
            SessionNotFoundError: The user has no such session.
            ValueError: *checkpoint_id* is not in it.
        """
        factory = self.thread_id_factory
        plan = _housekeeping.fork(user_id, thread_id, checkpoint_id, title, factory)
        return self._write(plan)

    def delete_user(self, user_id: str) -> dict[str, int]:
        """Delete everything of a user, in one transaction.

        That is all sessions with their threads, threads without a session whose checkpoints
        name the user, and preferences.

        Returns:
            How many `sessions`, `checkpoints`, `blobs`, `writes` and `users` were deleted.
        """
        try:
            return self._database.run(_housekeeping.delete_user(user_id))
        finally:
            self.cache.forget_user(user_id)

    def export_user(self, user_id: str) -> Iterator[dict[str, Any]]:
        """Yield everything of a user as JSON-ready records, one session in memory at a time.

        The first, if there are any, is `{"record": "preferences", …}`; then come, for each session,
        `{"record": "session", …}` with its columns, and `{"record": "message", …}` with
        `thread_id`, `role`, `content` and the whole `message`, in the order they were said.
        """
        if preferences := self.get_preferences(user_id):
            yield {"record": "preferences", "user_id": str(user_id), "preferences": preferences}
        cursor = None
        while True:
            page = self.list_sessions(user_id, limit=100, cursor=cursor)
            for session in page:
                yield {"record": "session", **session}
                for message in self._messages(session.thread_id):
                    yield _reading.record(session.thread_id, message)
            if (cursor := page.next_cursor) is None:
                return

    def purge_sessions(
        self,
        *,
        idle_for: timedelta | None = None,
        older_than: timedelta | None = None,
        active: bool | None = None,
        interrupted: bool = False,
        dry_run: bool = False,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Delete sessions that are old enough, all the conditions given together.

        It works in batches, each a short transaction, and waits for nobody: a session that a
        run or another purge is at work on is left alone. Stopped half way, call it again.

        Args:
            idle_for: Not used for this long.
            older_than: Created this long ago.
            active: Only active ones, or only others.
            interrupted: Also those that wait for an answer to an interrupt.
            dry_run: Only count.
            batch_size: How many to look at in a transaction, from 1 to 1000.
            on_progress: Called with the counts after each batch.

        Returns:
            How many sessions were `purged`, and `kept` although old enough.

        Raises:
            ValueError: No condition is given, or a duration is negative.
        """
        purge = _housekeeping.Purge(idle_for, older_than, active, interrupted, dry_run, batch_size)
        while self._database.run(purge.batch()):
            self.cache.clear()
            if on_progress is not None:
                on_progress(purge.counts)
        return purge.counts

    def adopt_session(self, user_id: str, thread_id: str, *, title: str | None = None) -> Session:
        """Make a session for a thread that a plain `PostgresSaver` left behind.

        Its times are those of the first and last checkpoint; without *title* it is titled by
        the first human message. What is the user's session already is returned as it is.
        LangGraph's tables are only read.

        Raises:
            SessionNotFoundError: There is no such thread, it is another user's session, or
                its newest checkpoint names another user.
        """
        self._database.run(_housekeeping.may_adopt(user_id, thread_id))
        return self._adopt(user_id, thread_id, title)

    def backfill(
        self,
        *,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Adopt every thread whose newest checkpoint names a `user_id` in its metadata.

        It can be stopped and called again at any time: nothing is adopted twice.

        Args:
            batch_size: How many threads to look up at a time, from 1 to 1000.
            on_progress: Called with the counts after each batch.

        Returns:
            How many threads were `seen`, `adopted`, and `unowned`.
        """
        walk = _housekeeping.Backfill(batch_size)
        while (threads := self._database.run(walk.batch())) is not None:
            for owner, thread_id in threads:
                self._adopt(owner, thread_id, None)
                walk.counts["adopted"] += 1
            if on_progress is not None:
                on_progress(walk.counts)
        return walk.counts

    def get_preferences(self, user_id: str) -> dict[str, Any]:
        """Return the user's preferences, which all sessions share."""
        return self._database.run(_housekeeping.get_preferences(user_id))

    def update_preferences(self, user_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Merge *changes* into the user's preferences, and return them all.

        A value of `None` removes its key.
        """
        return self._database.run(_housekeeping.update_preferences(user_id, changes))

    def call_titler(self, titler: Titler, thread_id: str) -> None:
        """Title a session by *titler*, as the savers do after its first answer.

        Nothing happens if that was done before, or if somebody gave the session a title.

        Raises:
            Exception: Whatever the titler raises.
        """
        if self._database.run(_titling.claim(thread_id)):
            title = asyncio.run(_titling.ask(titler, self._messages(thread_id)))
            if session := self._database.run(_titling.set_title(thread_id, title)):
                self.cache.forget_user(session.user_id)

    def clear_memory_cache(self) -> None:
        """Empty the memory cache."""
        self.cache.clear()

    def get_session_count(self) -> int:
        """Return how many sessions the memory cache holds."""
        return len(self.cache)

    def _write(self, plan: Plan[Session]) -> Session:
        began = self.cache.now()
        session = self._database.run(plan)
        self.cache.wrote(session, began)
        return session

    def _read(self, plan: Plan[Session], user_id: str, thread_id: str | None = None) -> Session:
        if cached := self.cache.get(user_id, thread_id):
            return cached
        began = self.cache.now()
        session = self._database.run(plan)
        self.cache.keep(session, began, current=thread_id is None)
        return session

    def _adopt(self, user_id: str, thread_id: str, title: str | None) -> Session:
        said = None if title is not None else _reading.title(self._messages(thread_id))
        return self._write(_housekeeping.adopt(user_id, thread_id, title, said))

    def _messages(self, thread_id: str) -> list[BaseMessage]:
        """Return what was said in a thread."""
        reader = _reading.reader(self._database, self._serde)
        config = _reading.thread(thread_id)
        found = reader.get_tuple(config)
        if found is None:
            return []
        channels = _reading.unloaded_channels(found)
        histories = reader.get_delta_channel_history(config=found.config, channels=channels)
        return _reading.messages(found, histories)
