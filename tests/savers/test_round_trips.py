"""What a turn costs, counted at the socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import le
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection, Connection

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.counter import Counter
from tests.support import config, graph_builder, psycopg_pool_options


@pytest.fixture
async def counter(url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Counter]:
    """A counting proxy before the test's database."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="lgs-"))  # A socket's path must be short.
    counter = Counter(url, folder)
    async with counter.listening():
        yield counter
    shutil.rmtree(folder)


async def turns(counter: Counter, saver: Any, count: int, **who: Any) -> list[int]:
    """Return the round trips of each of *count* turns."""
    graph = graph_builder().compile(checkpointer=saver)
    costs = []
    for number in range(count):
        before = counter.round_trips
        given = {"messages": [f"turn {number}"]}
        if isinstance(saver, AsyncPostgresSaver):
            await graph.ainvoke(given, config(**who), durability="sync")
        else:
            await asyncio.to_thread(graph.invoke, given, config(**who), durability="sync")
        costs.append(counter.round_trips - before)
    return costs


@asynccontextmanager
async def pair(counter: Counter, kind: str) -> AsyncIterator[tuple[Any, Any]]:
    """The parent's saver and ours on connections of the same kind, not preparing statements."""
    options: Any = {**psycopg_pool_options(), "prepare_threshold": None}
    if kind == "async":
        async with (
            await AsyncConnection.connect(counter.conninfo, **options) as first,
            await AsyncConnection.connect(counter.conninfo, **options) as second,
        ):
            yield AsyncPostgresSaver(first), AsyncSessionSaver(second)
        return
    first_conn = await asyncio.to_thread(Connection.connect, counter.conninfo, **options)
    second_conn = await asyncio.to_thread(Connection.connect, counter.conninfo, **options)
    yield PostgresSaver(first_conn), SessionSaver(second_conn)
    first_conn.close()
    second_conn.close()


@pytest.mark.one_server("a run opens its thread on two shards")
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_turn_costs_no_round_trip_more_than_the_parents(
    counter: Counter, kind: str
) -> None:
    """A turn of an existing session costs at most the parent's trips; a first one, one more."""
    async with pair(counter, kind) as (parent, ours):
        if kind == "async":
            await ours.sessions.count_sessions()
        else:
            await asyncio.to_thread(ours.sessions.count_sessions)
        plain = await turns(counter, parent, 3, thread_id="plain")
        known = await turns(counter, ours, 3, user_id="alice")
        named = await turns(counter, ours, 2, user_id="alice", thread_id="named")
        fresh = await turns(counter, ours, 2, user_id="alice", new_session=True)
        again = await turns(counter, ours, 3, thread_id="plain too")
    print(f"{kind}: parent {plain}, first turn and later {known}, named {named}, plain {again}")
    # Fewer where saves met, and went together.
    assert all(map(le, known, [plain[0] + 1, *plain[1:]])), (known, plain)
    assert all(map(le, named, plain[:2])), (named, plain)
    assert all(map(le, fresh, [plain[0], plain[0]])), (fresh, plain)
    assert all(map(le, again, plain)), (again, plain)
