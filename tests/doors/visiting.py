"""Who comes to a door, with which saver, and what becomes of it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from langchain_core.runnables import RunnableConfig

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.doors.house import SECRET, House, words
from tests.support import Chat, asking

Saver = SessionSaver | AsyncSessionSaver


@dataclass(frozen=True)
class Visitor:
    """Somebody who comes to a door.

    Attributes:
        name: What they are called.
        identity: What says who they are in a configurable.
        user_id: Who they are to a manager; `None` for nobody.
        agent: The agent of their saver.
        extra: What else is in their configs.
    """

    name: str
    identity: dict[str, Any]
    user_id: str | None
    agent: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def asks_as(self) -> str | None:
        """Who they are to be in a refusal: who they say they are."""
        return self.identity.get("user_id")


OWNER: Final = Visitor("the owner", {"user_id": "alice"}, "alice")
ANOTHER: Final = Visitor("another user", {"user_id": "bob"}, "bob")
NOBODY: Final = Visitor("nobody", {}, None)
SIGNED_IN: Final = Visitor(
    "a signed-in user", {"langgraph_auth_user_id": "bob", "user_id": "alice"}, None
)
# What a client can put into a config as JSON, and LangGraph's own names for what it puts there.
FORGER: Final = Visitor(
    "a forger",
    {
        "user_id": "bob",
        "__pregel_langgraph_sessions_run": {"user_id": "alice"},
        "__pregel_task_id": "task",
    },
    None,
    extra={"metadata": {"user_id": "alice", "langgraph_auth_user_id": "alice"}},
)
NAMELESS_FORGER: Final = Visitor(
    "nobody, who says in metadata that they are the owner",
    {"__pregel_task_id": "task"},
    None,
    extra={"metadata": {"user_id": "alice", "langgraph_auth_user_id": "alice"}},
)
AGENT: Final = Visitor("another agent", {"user_id": "alice"}, "alice", agent="guide")

# To a graph, or a saver, comes whoever can write a config; to a manager, who is named.
STRANGERS: Final = (ANOTHER, NOBODY, SIGNED_IN, FORGER, NAMELESS_FORGER, AGENT)
CALLERS: Final = (ANOTHER, NOBODY, AGENT)

# How a saver is used: both as what they are, the sync one awaited, the async one from threads.
KINDS: Final = ("sync", "async", "awaited", "from threads")
NATIVE: Final = KINDS[:2]


def ways(visitor: Visitor, kinds: Sequence[str] = KINDS) -> Iterator[str]:
    """Yield how a visitor uses a saver: those who differ by what they say, only natively."""
    everywhere = visitor in (OWNER, ANOTHER, NOBODY)
    yield from (kind for kind in kinds if everywhere or kind in NATIVE)


class Talk(Chat):
    """A saver of either kind, used one way."""

    def __init__(self, saver: Saver, kind: str) -> None:
        """Compile the graphs with *saver*."""
        super().__init__(saver)
        self.kind = kind
        self.is_async = kind in ("async", "awaited")
        self.asks = self.compile(asking(below=True))

    async def session(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method* of the session manager, and have all that it yields."""

        def call() -> Any:
            found = getattr(self.saver.sessions, method)(*args, **kwargs)
            return list(found) if inspect.isgenerator(found) else found

        if isinstance(self.saver, SessionSaver):
            return await asyncio.to_thread(call)
        found = call()
        if inspect.isasyncgen(found):
            return [each async for each in found]
        return await found if inspect.isawaitable(found) else found


@dataclass(frozen=True)
class Visit:
    """A visitor at a door: what the door is opened with.

    Attributes:
        talk: The saver.
        visitor: Who comes.
        house: Where to.
        thread_id: To which thread.
        checkpoint: The checkpoint to try in place of the thread's own.
        like: The thread whose checkpoints are tried, where it is another.
    """

    talk: Talk
    visitor: Visitor
    house: House
    thread_id: str
    checkpoint: str | None = None
    like: str = ""

    def config(self, **more: Any) -> RunnableConfig:
        """Return the visitor's config on the thread."""
        given = {**self.visitor.identity, "thread_id": self.thread_id, **more}
        return {"configurable": given, **self.visitor.extra}  # type: ignore[typeddict-item]

    def place(self, **more: Any) -> RunnableConfig:
        """Return the same for a saver's own methods."""
        return self.config(**{"checkpoint_ns": "", **more})

    def checkpoint_id(self, number: int = 0) -> str:
        """Return the id of one of the thread's checkpoints, or the one to try."""
        if self.checkpoint is not None:
            return self.checkpoint
        return self.house.checkpoints[self.like or self.thread_id][number]

    async def graph(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method* of the counting graph."""
        return await self.talk.call(self.talk.graph, method, *args, **kwargs)

    async def asks(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method* of the graph that asks, below a subgraph."""
        return await self.talk.call(self.talk.asks, method, *args, **kwargs)

    async def saver(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method* of the saver."""
        return await self.talk.call(self.talk.saver, method, *args, **kwargs)

    async def sessions(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method* of the session manager, which has read nothing yet."""
        await self.talk.session("clear_memory_cache")
        return await self.talk.session(method, self.visitor.user_id, *args, **kwargs)

    async def exclusive(self) -> Any:
        """Have the session to oneself for a moment."""
        turn = self.talk.saver.sessions.exclusive(self.visitor.user_id, self.thread_id, 5)  # type: ignore[arg-type]
        if isinstance(turn, AbstractAsyncContextManager):
            async with turn as session:
                return session
        with turn as session:
            return session


@dataclass(frozen=True)
class Outcome:
    """What became of a visit: what was returned, or raised."""

    found: Any
    error: Exception | None = None

    def shown(self, thread_id: str) -> tuple[str, str]:
        """Return its type and text, without the thread's id."""
        found = self.found if self.error is None else self.error
        return type(found).__name__, str(found).replace(repr(thread_id), "THREAD")


async def outcome(visit: Visit, use: Callable[[Visit], Coroutine[Any, Any, Any]]) -> Outcome:
    """Open a door, and return what became of it."""
    try:
        return Outcome(await use(visit))
    except Exception as error:
        return Outcome(None, error)


def leaks(
    visitor: Visitor, found: Outcome, caplog: pytest.LogCaptureFixture | None = None
) -> list[str]:
    """Return where her words, or her name where the visitor did not say it, can be read."""
    logged = [] if caplog is None else [record.getMessage() for record in caplog.records]
    read = [*words(found.error or found.found), *logged]
    told = [SECRET] if "alice" in str(visitor) else [SECRET, "alice"]
    return [text for text in read if any(word in text for word in told)]
