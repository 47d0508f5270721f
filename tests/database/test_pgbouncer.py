"""Through PgBouncer in transaction mode; `.ci/run` sends more of the tests through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests import pgbouncer
from tests.support import PATIENCE, config, graph_builder

pytestmark = [
    pytest.mark.skipif(pgbouncer.find() is None, reason=pgbouncer.HOW),
    pytest.mark.direct("these run one of their own"),
]

USERS, TURNS = 8, 6


@pytest.fixture(params=[3], ids=["pool of 3"])
def pooled(request: pytest.FixtureRequest, direct_url: str) -> Iterator[str]:
    """A database's conninfo through a PgBouncer that lends so many connections to it."""
    with pgbouncer.running(direct_url, pool_size=request.param) as bouncer:
        yield bouncer.before(direct_url)


EXPECTED = [[2 * turn + 2 for turn in range(TURNS)]] * USERS


def test_threads_through_it_lose_nothing(pooled: str, db: psycopg.Connection[Any]) -> None:
    """8 threads talk 6 turns each over a pool of 8 on 3 lent connections: all is there."""
    at_once = threading.Barrier(USERS)

    def talk(number: int) -> list[int]:
        who = config(user_id=f"user-{number}")
        at_once.wait()
        states = [graph.invoke({"messages": ["hi"]}, who) for _ in range(TURNS)]
        return [len(state["messages"]) for state in states]

    with SessionSaver(pooled, pool_size=USERS) as saver, ThreadPoolExecutor(USERS) as threads:
        graph = graph_builder().compile(checkpointer=saver)
        assert list(threads.map(talk, range(USERS))) == EXPECTED
        assert saver.durable
    assert len(db.execute("SELECT 1 FROM user_sessions").fetchall()) == USERS


async def test_tasks_through_it_lose_nothing(pooled: str, db: psycopg.Connection[Any]) -> None:
    """So do 8 tasks of the async saver."""

    async def talk(number: int) -> list[int]:
        who = config(user_id=f"user-{number}")
        states = [await graph.ainvoke({"messages": ["hi"]}, who) for _ in range(TURNS)]
        return [len(state["messages"]) for state in states]

    async with AsyncSessionSaver(pooled, pool_size=USERS) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        assert await asyncio.gather(*(talk(number) for number in range(USERS))) == EXPECTED
        assert saver.durable
    assert len(db.execute("SELECT 1 FROM user_sessions").fetchall()) == USERS


# Who holds a session, or waits for it, keeps a lent connection all the while: so many, and as
# many as the holder's run uses at once.
ENOUGH = pytest.mark.parametrize("pooled", [USERS + 4], indirect=True, ids=["pool of 12"])


@ENOUGH
def test_exclusive_through_it(pooled: str) -> None:
    """8 threads that wait for one session in turn have all their messages in it."""

    def talk(number: int) -> None:
        with saver.sessions.exclusive("alice", timeout=PATIENCE) as session:
            graph.invoke({"messages": [f"turn {number}"]}, session.config)

    with SessionSaver(pooled) as saver, ThreadPoolExecutor(USERS) as threads:
        graph = graph_builder().compile(checkpointer=saver)
        list(threads.map(talk, range(USERS)))
        (session,) = saver.sessions.list_sessions("alice")
        state = graph.get_state(session.config)
        assert len(state.values["messages"]) == 2 * USERS


@ENOUGH
async def test_async_exclusive_through_it(pooled: str) -> None:
    """So have 8 tasks of the async saver."""

    async def talk(number: int) -> None:
        async with saver.sessions.exclusive("alice", timeout=PATIENCE) as session:
            await graph.ainvoke({"messages": [f"turn {number}"]}, session.config)

    async with AsyncSessionSaver(pooled) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        await asyncio.gather(*(talk(number) for number in range(USERS)))
        (session,) = await saver.sessions.list_sessions("alice")
        state = await graph.aget_state(session.config)
        assert len(state.values["messages"]) == 2 * USERS


def test_exclusive_with_too_few_connections_ends(pooled: str) -> None:
    """Where waiters take all that PgBouncer lends, `timeout` ends it: nothing hangs, or is lost."""
    took: list[int] = []

    def talk(number: int) -> None:
        try:
            with saver.sessions.exclusive("alice", timeout=2) as session:
                graph.invoke({"messages": [f"turn {number}"]}, session.config)
        except TimeoutError:
            return
        took.append(number)

    with SessionSaver(pooled) as saver, ThreadPoolExecutor(USERS) as threads:
        graph = graph_builder().compile(checkpointer=saver)
        saver.sessions.create_user_session("alice")
        list(threads.map(talk, range(USERS)))
        session = saver.sessions.get_current_user_session("alice")
        messages = graph.get_state(session.config).values.get("messages", [])
        assert len(messages) == 2 * len(took)
