"""What an operator needs of the session manager: whole users, threads and databases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions import checks
from langgraph_sessions.checks import UserId
from langgraph_sessions.database.database import Database
from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import Session
from langgraph_sessions.plans import Plan
from langgraph_sessions.sessions import operations, reading, upkeep
from langgraph_sessions.sessions.cache import SessionCache
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.titles import by_model
from langgraph_sessions.titles.by_model import Titler

logger = logging.getLogger("langgraph_sessions")


class Housekeeper:
    """The part of `AgentSessionManager` that is not about a certain session."""

    cache: SessionCache
    _database: Database
    _serde: SerializerProtocol | None

    def delete_user(self, user_id: UserId) -> dict[str, int]:
        """Delete everything of a user, in one transaction.

        That is all sessions with their threads, threads without a session that are the user's
        (see `backfill`), and preferences.

        Returns:
            How many `sessions`, `checkpoints`, `blobs`, `writes` and `users` were deleted.
        """
        user = checks.user_id(user_id)
        try:
            return self._database.run(upkeep.delete_user(user))
        finally:
            self.cache.forget_user(user)

    def export_user(self, user_id: UserId) -> Iterator[dict[str, Any]]:
        """Yield everything of a user as JSON-ready records, a conversation in memory at a time.

        The first, if there are any, is `{"record": "preferences", …}`; then come, for each
        session, `{"record": "session", …}` with its columns, and `{"record": "message", …}` with
        `thread_id`, `role`, `content` and the whole `message`, in the order they were said. Last
        come threads without a session that are the user's (see `backfill`), as
        `{"record": "thread", …}`.
        """
        user = checks.user_id(user_id)
        if preferences := self.get_preferences(user):
            yield {"record": "preferences", "user_id": user, "preferences": preferences}
        # All at once: page by page, one that is used meanwhile would be missed.
        for session in self._database.run(operations.list_all(Listing(user))):
            yield {"record": "session", **session}
            for message in self._messages(session.thread_id):
                yield reading.record(session.thread_id, message)
        for thread_id in self._database.run(upkeep.plain_threads(user)):
            yield {"record": "thread", "thread_id": thread_id}
            for message in self._messages(thread_id):
                yield reading.record(thread_id, message)

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

        It works in batches, each a short transaction, and waits for nobody. What is locked, by
        a save or another purge, is left alone, and so is a session with a run at work: there
        are tasks to come, and a checkpoint was saved within the hour. So is one that waits for
        somebody, of whatever age: for an answer to an interrupt, or, with tasks to come and no
        error, for a run that goes on, as at a static breakpoint. A run that has saved nothing
        since it began (`durability="exit"`, a run tried again after an error, an answer where
        *interrupted* is given) cannot be seen. Stopped half way, call it again.

        Args:
            idle_for: Not used for this long.
            older_than: Created this long ago.
            active: Only active ones, or only others.
            interrupted: Also those that wait for somebody.
            dry_run: Only count.
            batch_size: How many to look at in a transaction, from 1 to 1000.
            on_progress: Called with the counts after each batch.

        Returns:
            How many sessions were `purged`, and `kept` although old enough.

        Raises:
            ValueError: No condition is given, or a duration is negative or over 36500 days.
        """
        checks.optional_function("on_progress", on_progress)
        purge = upkeep.Purge(idle_for, older_than, active, interrupted, dry_run, batch_size)
        while self._database.run(purge.batch()):
            self.cache.clear()
            if on_progress is not None:
                on_progress(dict(purge.counts))
        return purge.counts

    def adopt_session(
        self, user_id: UserId, thread_id: str, *, title: str | None = None
    ) -> Session:
        """Make a session for a thread that a plain `PostgresSaver` left behind.

        Its times are those of the first and last checkpoint; without *title* it is titled by
        the first human message. What is the user's session already is returned as it is.
        LangGraph's tables are only read.

        Raises:
            SessionNotFoundError: There is no such thread, or it is another user's, by its
                session or by its checkpoints (see `backfill`).
            TypeError, ValueError: *title* is none, even if it is not needed.
        """
        theirs = self._database.run(upkeep.may_adopt(user_id, thread_id, title))
        return theirs or self._adopt(user_id, thread_id, title)

    def backfill(
        self,
        *,
        batch_size: int = 100,
        on_progress: Callable[[Mapping[str, int]], object] | None = None,
    ) -> dict[str, int]:
        """Adopt every thread whose checkpoints name a `user_id` in their metadata.

        The thread belongs to whom the newest checkpoint that names anybody names; the root
        graph's come before subgraphs'.

        It can be stopped and called again at any time: nothing is adopted twice. A thread that
        cannot be read gets no title; one that was deleted meanwhile, or whose id is too long
        for a session, is skipped. Both are logged.

        Args:
            batch_size: How many threads to look up at a time, from 1 to 1000.
            on_progress: Called with the counts after each batch.

        Returns:
            How many threads were `seen`, `adopted`, `unowned` and `skipped`.
        """
        checks.optional_function("on_progress", on_progress)
        walk = upkeep.Backfill(batch_size)
        while (threads := self._database.run(walk.batch())) is not None:
            for owner, thread_id in threads:
                try:
                    self._adopt(owner, thread_id, None)
                except (SessionNotFoundError, psycopg.DataError) as error:
                    # Deleted since, or another's session; or an id too long for a session.
                    logger.warning("thread %r was not adopted: %s", thread_id, error)
                    walk.counts["skipped"] += 1
                else:
                    walk.counts["adopted"] += 1
            if on_progress is not None:
                on_progress(dict(walk.counts))
        return walk.counts

    def call_titler(self, titler: Titler, thread_id: str) -> None:
        """Title a session by *titler*, as the savers do after its first answer.

        Nothing happens if that was done before, or if somebody gave the session a title.

        Raises:
            TypeError: *titler* is no function, or does not return a `str`.
            Exception: Whatever the titler raises.
        """
        checks.function("titler", titler)
        if self._database.run(by_model.claim(thread_id)):
            title = by_model.ask_now(titler, self._messages(thread_id))
            if session := self._database.run(by_model.set_title(thread_id, title)):
                self.cache.forget_user(session.user_id)

    def _adopt(self, user_id: UserId, thread_id: str, title: str | None) -> Session:
        said = None
        if title is None:
            try:
                said = reading.title(self._messages(thread_id))
            except Exception:
                # Encrypted, of another serializer, damaged: it is the user's all the same.
                logger.warning("thread %r cannot be read for a title", thread_id, exc_info=True)
        return self._write(upkeep.adopt(user_id, thread_id, title, said))

    def _messages(self, thread_id: str) -> list[BaseMessage]:
        """Return what was said in a thread."""
        return self._database.attempt(partial(self._read_messages, thread_id))

    def _read_messages(self, thread_id: str) -> list[BaseMessage]:
        self._database.ready()
        reader = reading.reader(self._database, self._serde)
        config = reading.thread(thread_id)
        found = reader.get_tuple(config)
        if found is None:
            return []
        channels = reading.unloaded_channels(found)
        histories = reader.get_delta_channel_history(config=found.config, channels=channels)
        return reading.messages(found, histories)

    def get_preferences(self, user_id: UserId) -> dict[str, Any]:
        """Return the user's preferences, which all sessions share."""
        return self._database.run(upkeep.get_preferences(user_id))

    def update_preferences(self, user_id: UserId, changes: dict[str, Any]) -> dict[str, Any]:
        """Merge *changes* into the user's preferences, and return them all.

        A value of `None` removes its key.
        """
        return self._database.run(upkeep.update_preferences(user_id, changes))

    def _write(self, plan: Plan[Session]) -> Session:
        began = self.cache.now()
        session = self._database.run(plan)
        self.cache.wrote(session, began)
        return session
