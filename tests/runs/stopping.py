"""Users who stop a run in its middle, in all the ways in which programs do it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import MessagesState

from langgraph_sessions import AsyncSessionSaver, ConcurrentRunError
from tests.graphs import chain
from tests.support import PATIENCE, config, texts

TOKENS = 4
PAUSE = 0.004  # Seconds, the most that a token takes.
LONG = 0.5  # Seconds after which an answer goes on in which something was reached.
WHOLE = ["one", "re one", "two", "re two", "three", "re three"]
# What may be left when "two" was stopped: all of it, no answer to it, nothing of it.
FAITHFUL = [WHOLE, [*WHOLE[:3], *WHOLE[4:]], [*WHOLE[:2], *WHOLE[4:]]]


def answering(
    chance: random.Random, reached: Callable[[], None] | None = None, *, is_async: bool = True
) -> Any:
    """Return a graph that answers token by token, and thinks before and after.

    Args:
        chance: From which each token's time is drawn.
        reached: Called when half of an answer to "two" is out. The rest of it is long in
            coming, or, of a graph that is not async, comes at once.
        is_async: Whether its nodes are.
    """

    def tokens(state: MessagesState) -> Iterator[float]:
        write, said = get_stream_writer(), state["messages"][-1].content
        for number in range(TOKENS):
            yield chance.random() * PAUSE
            write(number)
            if number == TOKENS // 2 and said == "two" and reached is not None:
                reached()
                yield -1

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"re {state['messages'][-1].content}")]}

    def agent(state: MessagesState) -> dict[str, Any]:
        for pause in tokens(state):
            time.sleep(max(pause, 0))
        return answer(state)

    async def aagent(state: MessagesState) -> dict[str, Any]:
        for pause in tokens(state):
            await asyncio.sleep(pause if pause >= 0 else LONG)
        return answer(state)

    async def thinks(state: MessagesState) -> dict[str, Any]:
        return {}

    if is_async:
        return chain(before=thinks, agent=aagent, after=thinks)
    return chain(before=lambda state: {}, agent=agent, after=lambda state: {})


class Caller:
    """A user of a graph.

    Attributes:
        is_async: Whether the graph's nodes are.
        kept: Streams that were left in the middle, but that somebody still refers to.
    """

    is_async = True

    def __init__(self, graph: Any, durability: str, user_id: str) -> None:
        """Be *user_id*, who talks to *graph*."""
        self.graph, self.user_id = graph, user_id
        self.durability = durability
        self.kept: list[Any] = []

    def chunks(self, text: str) -> Any:
        """Say something; what is returned is an async iterator of the turn's parts."""
        return self.graph.astream(*self._said(text), **self._how)

    async def say(self, text: str) -> None:
        """Say something, and hear the answer."""
        async for _ in self.chunks(text):
            pass

    async def close(self) -> None:
        """Close streams that were kept; a stopped run may be told that others went on."""
        while self.kept:
            with contextlib.suppress(ConcurrentRunError):
                await self.kept.pop().aclose()

    def _said(self, text: str) -> tuple[Any, Any]:
        return {"messages": [text]}, config(user_id=self.user_id)

    @property
    def _how(self) -> dict[str, Any]:
        return {"durability": self.durability, "stream_mode": ["values", "custom"]}


class Invoker(Caller):
    """A user who waits for the whole answer."""

    async def say(self, text: str) -> None:
        """Say something, and hear the answer."""
        await self.graph.ainvoke(*self._said(text), durability=self.durability)


class SyncCaller(Caller):
    """A user of a graph in a program without a loop."""

    is_async = False

    def chunks(self, text: str) -> Iterator[Any]:
        """Say something; what is returned is an iterator of the turn's parts."""
        stream: Iterator[Any] = self.graph.stream(*self._said(text), **self._how)
        return stream

    async def say(self, text: str) -> None:
        """Say something, and hear the answer."""
        await asyncio.to_thread(list, self.chunks(text))

    async def close(self) -> None:
        """Close streams that were kept; a stopped run may be told that others went on."""
        while self.kept:
            with contextlib.suppress(ConcurrentRunError):
                await asyncio.to_thread(self.kept.pop().close)


Stop = Callable[[Any, str, asyncio.Event], Awaitable[None]]


@contextlib.asynccontextmanager
async def at(moment: asyncio.Event, act: Callable[[], object]) -> AsyncIterator[None]:
    """Call *act* when the moment comes within this block."""

    async def wait() -> None:
        await moment.wait()
        act()

    task = asyncio.create_task(wait())
    try:
        yield
    finally:
        task.cancel()


async def cancelled(caller: Caller, text: str, moment: asyncio.Event) -> None:
    """Cancel the task that runs it."""
    task = asyncio.create_task(caller.say(text))
    with contextlib.suppress(asyncio.CancelledError):
        async with at(moment, task.cancel):
            await task


async def timed_out(caller: Caller, text: str, moment: asyncio.Event) -> None:
    """Run it under `asyncio.timeout`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None) as limit, at(moment, lambda: limit.reschedule(0)):
            await caller.say(text)


async def moved_on(caller: Caller, text: str, moment: asyncio.Event) -> None:
    """Run it under anyio's `move_on_after`, as Starlette does: it cancels until all have ended."""
    with anyio.move_on_after(60) as scope:
        async with at(moment, scope.cancel):
            await caller.say(text)


async def closed(caller: Caller, text: str, moment: asyncio.Event) -> None:
    """Close the stream."""
    stream = caller.chunks(text)
    async for _ in stream:
        if moment.is_set():
            break
    await stream.aclose()


async def left(caller: Caller, text: str, moment: asyncio.Event) -> None:
    """Leave the stream, to which nobody refers any more."""
    async for _ in caller.chunks(text):
        if moment.is_set():
            break


async def kept(caller: Caller, text: str, moment: asyncio.Event) -> None:
    """Leave the stream, but keep it."""
    caller.kept.append(stream := caller.chunks(text))
    async for _ in stream:
        if moment.is_set():
            break


async def sync_left(caller: SyncCaller, text: str, moment: asyncio.Event) -> None:
    """Leave a synchronous stream, to which nobody refers any more."""

    def leave() -> None:
        for _ in caller.chunks(text):
            if moment.is_set():
                break

    await asyncio.to_thread(leave)


async def sync_kept(caller: SyncCaller, text: str, moment: asyncio.Event) -> None:
    """Leave a synchronous stream, but keep it."""

    def leave() -> None:
        caller.kept.append(stream := caller.chunks(text))
        for _ in stream:
            if moment.is_set():
                break

    await asyncio.to_thread(leave)


class Tries:
    """Users who each say three things, and stop the answer to the second at some moment.

    Attributes:
        chance: From which moments are drawn.
        refused: How many of them were refused the third, by durability.
        users: Who they were.
    """

    def __init__(self, seed: int) -> None:
        """Draw the moments from *seed*."""
        self.chance = random.Random(seed)
        self.refused: Counter[str] = Counter()
        self.users: list[str] = []

    async def one(self, caller: Caller, stop: Stop, other: Caller | None = None) -> None:
        """Be *caller*, who goes on at once; or *other* does, as soon as it is not refused."""
        self.users.append(caller.user_id)
        began = time.monotonic()
        await caller.say("one")
        moment = asyncio.Event()
        within = self.chance.random() * (time.monotonic() - began)
        asyncio.get_running_loop().call_later(within, moment.set)
        await stop(caller, "two", moment)
        try:
            await (other or caller).say("three")
        except ConcurrentRunError:
            self.refused[caller.durability] += 1
            if other:
                await _heard(other, "three")
        await caller.close()


async def _heard(caller: Caller, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(ConcurrentRunError):
                return await caller.say(text)
            await asyncio.sleep(0.01)


async def assert_faithful(url: str, users: list[str]) -> None:
    """Assert that each user's history has what was saved, every word once, and waits for none."""
    async with AsyncSessionSaver(url) as saver:
        graph = answering(random.Random(0)).compile(checkpointer=saver)
        for user in users:
            (session,) = await saver.sessions.list_sessions(user)
            assert session.status == "idle"
            history = texts(await graph.aget_state(session.config))
            assert history in FAITHFUL
            async for found in saver.alist(session.config):
                assert {*texts(found.checkpoint["channel_values"])} <= {*history}
