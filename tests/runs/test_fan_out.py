"""Wide runs: thousands of tasks side by side, whose commits take their time."""

from __future__ import annotations

import asyncio
import operator
import statistics
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.slow import slow_commits
from tests.support import config, graph_builder, psycopg_pool_options

POOL = 10
WIDE = [pytest.param(300, id="short"), pytest.param(3000, id="long", marks=pytest.mark.long)]
TURNS = 20  # That another user has alone, for comparison.
SLOWER = 3  # Times, at most, that a turn may take beside a wide run.


class State(TypedDict):
    done: Annotated[list[int], operator.add]


def fan_out(tasks: int) -> Any:
    """Return a graph of so many tasks side by side."""
    builder = StateGraph(State)
    builder.add_node("work", lambda number: {"done": [number]})
    builder.add_conditional_edges(START, lambda state: [Send("work", n) for n in range(tasks)])
    return builder


class Lent:
    """How many connections of a pool's are lent.

    Attributes:
        now: At this moment.
        most: At most, so far.
    """

    def __init__(self) -> None:
        self.now = self.most = 0

    def note(self, change: int) -> None:
        """Note that one is taken, or given back."""
        self.now += change
        self.most = max(self.most, self.now)


class Pool(ConnectionPool[Any]):
    """A pool that counts what it lends."""

    def getconn(self, timeout: float | None = None) -> Any:
        conn = super().getconn(timeout)
        self.lent.note(1)
        return conn

    def putconn(self, conn: Any) -> None:
        self.lent.note(-1)
        super().putconn(conn)


class AsyncPool(AsyncConnectionPool[Any]):
    """A pool that counts what it lends."""

    async def getconn(self, timeout: float | None = None) -> Any:
        conn = await super().getconn(timeout)
        self.lent.note(1)
        return conn

    async def putconn(self, conn: Any) -> None:
        self.lent.note(-1)
        await super().putconn(conn)


class Service:
    """A saver over a pool, and how its graphs are called: sync, async, or from threads."""

    def __init__(self, kind: str, saver: Any) -> None:
        self.is_async, self.saver = kind != "sync", saver
        self.lent = saver.conn.lent = Lent()

    async def turn(self, builder: Any, given: Any, user_id: str) -> Any:
        """Run a graph of *builder*."""
        graph, where = builder.compile(checkpointer=self.saver), config(user_id=user_id)
        if self.is_async:
            return await graph.ainvoke(given, where)
        return await asyncio.to_thread(graph.invoke, given, where)


@pytest.fixture(params=["sync", "async", "threads"])
async def service(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Service]:
    """A service on a database whose commits take 5 ms."""
    slow_commits(url)
    options: dict[str, Any] = {"max_size": POOL, "open": False, "kwargs": psycopg_pool_options()}
    if request.param == "async":
        async with AsyncPool(url, **options) as pool:
            yield Service(request.param, AsyncSessionSaver(pool))
    else:
        with Pool(url, **options) as pool:
            yield Service(request.param, SessionSaver(pool))


@pytest.mark.parametrize("tasks", WIDE)
async def test_a_run_uses_one_connection(service: Service, tasks: int) -> None:
    """However wide it fans out: all is done, and the others of the pool are free."""
    state = await service.turn(fan_out(tasks), {"done": []}, "alice")
    assert sorted(state["done"]) == [*range(tasks)]
    assert service.lent.most == 1


async def times(service: Service, over: asyncio.Future[Any] | None = None) -> list[float]:
    """Return the seconds of bob's turns: of some, or of all that he has until *over*."""
    found: list[float] = []
    while len(found) < TURNS if over is None else not over.done():
        began = time.monotonic()
        where = f"bob-{len(found) // TURNS}"
        await service.turn(graph_builder(), {"messages": ["hi"]}, where)
        found.append(time.monotonic() - began)
    return found


@pytest.mark.parametrize("tasks", [WIDE[0], pytest.param(3000, id="long", marks=pytest.mark.long)])
async def test_a_wide_run_holds_nobody_up(
    service: Service, tasks: int, request: pytest.FixtureRequest
) -> None:
    """Another user's turns beside it go on, and take at most three times as long as alone."""
    alone = statistics.median(await times(service))
    wide = asyncio.ensure_future(service.turn(fan_out(tasks), {"done": []}, "alice"))
    beside = await times(service, wide)
    assert len((await wide)["done"]) == tasks
    ratio = statistics.median(beside) / alone
    print(f"{len(beside)} turns beside {tasks} tasks took {ratio:.1f} times as long as alone")
    # A short run is no measure: other tests take their share of the machine.
    assert ratio <= SLOWER or request.node.get_closest_marker("long") is None
