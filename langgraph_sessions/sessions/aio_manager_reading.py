"""The session manager's methods that read sessions and conversations, for event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from langchain_core.messages import BaseMessage

from langgraph_sessions.checks import EVERYBODY, Everybody, ThreadId, UserId
from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.models import CheckpointInfo, Session, SessionPage
from langgraph_sessions.sessions import conversations, operations
from langgraph_sessions.sessions.base_manager import BaseManager
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.types import SessionStatus


class AsyncManagerReading(BaseManager):
    """Async version of `ManagerReading`."""

    _database: AsyncDatabase

    async def get_current_user_session(self, user_id: UserId) -> Session:
        """Return the current session.

        Args:
            user_id: Whose.

        Raises:
            SessionNotFoundError: The user has no active session.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(
            self._reading(operations.get_current(user_id, self.agent), user_id)
        )

    async def get_session(self, user_id: UserId, thread_id: ThreadId) -> Session:
        """Return a certain session.

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
        plan = operations.get(user_id, thread_id, self.agent)
        return await self._database.run(self._reading(plan, user_id, thread_id))

    async def has_session(self, user_id: UserId) -> bool:
        """Say whether the user has an active session.

        Args:
            user_id: Whose.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return bool(await self._database.run(operations.has(user_id, self.agent)))

    async def get_messages(
        self, user_id: UserId, thread_id: ThreadId, *, checkpoint_id: str | None = None
    ) -> list[BaseMessage]:
        """Return a conversation's messages, in the order they were said, without its graph.

        They are those of every channel that holds some, each once: under `add_messages`, what the
        graph's state has. Answers that a run which waits, failed or is under way has given so far
        are among them.

        Args:
            user_id: Whose it is.
            thread_id: Which session.
            checkpoint_id: Up to this checkpoint; by default all.

        Raises:
            SessionNotFoundError: The user has no such session.
            ValueError: *checkpoint_id* is not in it.
            SessionError: The thread cannot be read; it is named.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(
            conversations.messages(user_id, thread_id, checkpoint_id, self.agent, self._serde)
        )

    async def list_checkpoints(
        self, user_id: UserId, thread_id: ThreadId, *, limit: int = 20, before: str | None = None
    ) -> list[CheckpointInfo]:
        """Return a session's checkpoints, newest first: those of its graph, not of subgraphs.

        Args:
            user_id: Whose it is.
            thread_id: Which session.
            limit: How many, from 1 to 1000.
            before: Only those older than this checkpoint, which must be the session's.

        Raises:
            SessionNotFoundError: The user has no such session.
            ValueError: *before* is not in it.
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(
            conversations.checkpoints(user_id, thread_id, limit, before, self.agent)
        )

    async def list_active_sessions(self, user_id: UserId | Everybody = EVERYBODY) -> list[Session]:
        """Return the active sessions, newest first; of all users if *user_id* is left out.

        Args:
            user_id: Whose; left out, everybody's: an operator's call. `None` is nobody.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        return await self._database.run(Listing(user_id, active=True, agent=self.agent).all())

    async def list_sessions(
        self,
        user_id: UserId | Everybody = EVERYBODY,
        *,
        active: bool | None = None,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        status: SessionStatus | None = None,
        agent: str | None = None,
        updated_after: datetime | None = None,
        updated_before: datetime | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SessionPage:
        """Return a page of sessions, newest first.

        Args:
            user_id: Whose; left out, everybody's: an operator's call. `None` is nobody.
            active: Only active ones, or only others.
            title: Only those whose title contains this, in whatever case and language.
            metadata: Only those whose metadata contain this (PostgreSQL's `@>`).
            status: Only those that are `"idle"`, `"interrupted"` or in `"error"`.
            agent: Only this agent's. A manager of an agent lists its own alone.
            updated_after: Only those used after this moment (aware).
            updated_before: Only those used before this moment (aware).
            limit: How many, from 1 to 1000.
            cursor: The `next_cursor` of the page before, listed with the same filters.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        listing = Listing(
            user_id,
            active=active,
            title=title,
            metadata=metadata,
            status=status,
            agent=self._listed(agent),
            updated_after=updated_after,
            updated_before=updated_before,
            cursor=cursor,
        )
        return await self._database.run(listing.page(limit))

    async def count_sessions(
        self,
        user_id: UserId | Everybody = EVERYBODY,
        *,
        active: bool | None = None,
        agent: str | None = None,
    ) -> int:
        """Return how many sessions a user has; everybody, if *user_id* is left out.

        Args:
            user_id: Whose; left out, everybody's: an operator's call. `None` is nobody.
            active: Only active ones, or only others.
            agent: Only this agent's, as in `list_sessions`.

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        listing = Listing(user_id, active=active, agent=self._listed(agent))
        return await self._database.run(listing.count())

    def iter_sessions(
        self,
        user_id: UserId | Everybody = EVERYBODY,
        *,
        active: bool | None = None,
        title: str | None = None,
        metadata: dict[str, Any] | None = None,
        status: SessionStatus | None = None,
        agent: str | None = None,
        updated_after: datetime | None = None,
        updated_before: datetime | None = None,
    ) -> AsyncIterator[Session]:
        """Yield all sessions that `list_sessions` has on its pages, newest first.

        It takes the same filters, and reads a page at a time. A session that is used meanwhile
        moves to the front, and may be missed. Errors are raised by the first step, not by the call.

        Args:
            user_id: Whose; left out, everybody's: an operator's call. `None` is nobody.
            active: Only active ones, or only others.
            title: Only those whose title contains this, in whatever case and language.
            metadata: Only those whose metadata contain this (PostgreSQL's `@>`).
            status: Only those that are `"idle"`, `"interrupted"` or in `"error"`.
            agent: Only this agent's. A manager of an agent lists its own alone.
            updated_after: Only those used after this moment (aware).
            updated_before: Only those used before this moment (aware).

        Raises:
            TypeError, ValueError: An argument is not what is allowed; it is named.
            SessionsUnavailableError: The database is away, and memory cannot answer.
            SessionError, psycopg.Error: The tables cannot be used, or the database says no.
            RuntimeError: It is used in another event loop than before.
        """
        listing = Listing(
            user_id,
            active=active,
            title=title,
            metadata=metadata,
            status=status,
            agent=self._listed(agent),
            updated_after=updated_after,
            updated_before=updated_before,
        )
        return self._database.stream(listing.each())
