"""Who is compared: our savers, LangGraph's own, and what people write by hand around those."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Final, LiteralString

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from langgraph_sessions import AsyncSessionSaver, SessionSaver

# Statements, with their parameters, that a lane executes; it sends their rows.
Steps = Generator[tuple[LiteralString, Sequence[Any]], list[Any], Any]
Configurable = dict[str, Any]


class Parent:
    """LangGraph's own savers: the application keeps each user's thread id.

    Thread ids are as long as ours, and the configurable names the user as it does for ours, so
    that both store as much; see `NoUser` for a run that says nothing of a user.
    """

    name: ClassVar[str] = "parent"
    sync: ClassVar[type[PostgresSaver]] = PostgresSaver
    twin: ClassVar[type[AsyncPostgresSaver]] = AsyncPostgresSaver

    def __init__(self) -> None:
        """Know no threads."""
        self.threads: dict[str, str] = {}

    def before(self, user: str, *, new: bool) -> Steps:
        """Do what comes before a run, and return its configurable."""
        if new or user not in self.threads:
            self.threads[user] = f"{user}_{uuid.uuid4()}"
        return {"user_id": user, "thread_id": self.threads[user]}
        yield  # Nothing is asked.

    def after(self, configurable: Configurable) -> Steps:
        """Do what comes after a run."""
        yield from ()


class Ours(Parent):
    """Our savers: the configurable names the user, and the run finds their current session."""

    name = "ours"
    sync = SessionSaver
    twin = AsyncSessionSaver

    def before(self, user: str, *, new: bool) -> Steps:
        return {"user_id": user, "new_session": True} if new else {"user_id": user}
        yield


class OursNamed(Parent):
    """Our savers, with the thread id in the configurable, too."""

    name = "ours"
    sync = SessionSaver
    twin = AsyncSessionSaver


class NoUser(Parent):
    """LangGraph's own savers, with the thread id alone."""

    def before(self, user: str, *, new: bool) -> Steps:
        configurable = yield from super().before(user, new=new)
        return {"thread_id": configurable["thread_id"]}


class OursNoUser(NoUser):
    """Our savers, with the thread id alone: no session is made."""

    name = "ours"
    sync = SessionSaver
    twin = AsyncSessionSaver


class ByHand(Parent):
    """LangGraph's own savers and a table of sessions: get or create before, touch after a run."""

    name = "by hand"
    TABLE: ClassVar[LiteralString] = """
CREATE TABLE chat_sessions (
    thread_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, title TEXT,
    metadata JSONB NOT NULL DEFAULT '{}', is_active BOOLEAN NOT NULL DEFAULT TRUE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(), updated_at TIMESTAMPTZ NOT NULL DEFAULT now());
CREATE INDEX chat_sessions_user_idx ON chat_sessions (user_id, updated_at DESC)"""
    GET: ClassVar[LiteralString] = """
SELECT thread_id FROM chat_sessions WHERE user_id = %s AND is_active
ORDER BY updated_at DESC LIMIT 1"""
    CREATE: ClassVar[LiteralString] = (
        "INSERT INTO chat_sessions (thread_id, user_id, title) VALUES (%s, %s, %s)"
    )
    SET_METADATA: ClassVar[LiteralString] = (
        "UPDATE chat_sessions SET metadata = %s WHERE user_id = %s"
    )
    TOUCH: ClassVar[LiteralString] = (
        "UPDATE chat_sessions SET updated_at = now() WHERE thread_id = %s"
    )

    def before(self, user: str, *, new: bool) -> Steps:
        found = [] if new else (yield self.GET, [user])
        if found:
            return {"user_id": user, "thread_id": found[0]["thread_id"]}
        thread_id = f"{user}_{uuid.uuid4()}"
        yield self.CREATE, [thread_id, user, "New Chat"]
        return {"user_id": user, "thread_id": thread_id}

    def after(self, configurable: Configurable) -> Steps:
        yield self.TOUCH, [configurable["thread_id"]]


PAIR: Final[tuple[type[Parent], ...]] = (Parent, Ours)
ALL: Final[tuple[type[Parent], ...]] = (Parent, Ours, ByHand)
