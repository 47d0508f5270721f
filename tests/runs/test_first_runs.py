"""First runs of one user at the same moment, from any number of processes, make one session.

It is one for each agent.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from langgraph_sessions import (
    AgentSessionManager,
    AsyncSessionSaver,
    ConcurrentRunError,
    SessionSaver,
)
from tests.answering import FORKING
from tests.support import graph_builder

PROCESSES, RUNS_EACH = 8, 8


def sync_runs(saver: SessionSaver, user: str) -> None:
    """Start this process's share of *user*'s first runs at once, in threads."""
    graph = graph_builder().compile(checkpointer=saver)
    at_once = threading.Barrier(RUNS_EACH)

    def run(_: int) -> None:
        at_once.wait()
        with suppress(ConcurrentRunError):  # All but one of them: it is one session.
            graph.invoke({"messages": ["hello"]}, {"configurable": {"user_id": user}})

    with ThreadPoolExecutor(RUNS_EACH) as pool:
        list(pool.map(run, range(RUNS_EACH)))


def sync_worker(url: str, rounds: int, start: Any) -> None:
    """Take part in *rounds* rounds, with a new user in each."""
    with SessionSaver(url, pool_size=RUNS_EACH) as saver:
        saver.sessions.count_sessions()
        for number in range(rounds):
            start.wait()
            sync_runs(saver, f"user-{number}")


def async_worker(url: str, rounds: int, start: Any) -> None:
    """Take part in *rounds* rounds, as coroutines."""

    async def main() -> None:
        async with AsyncSessionSaver(url, pool_size=RUNS_EACH) as saver:
            await saver.sessions.count_sessions()
            graph = graph_builder().compile(checkpointer=saver)
            for number in range(rounds):
                await asyncio.to_thread(start.wait)
                who: Any = {"configurable": {"user_id": f"user-{number}"}}
                runs = [graph.ainvoke({"messages": ["hi"]}, who) for _ in range(RUNS_EACH)]
                for outcome in await asyncio.gather(*runs, return_exceptions=True):
                    assert isinstance(outcome, dict | ConcurrentRunError)

    asyncio.run(main())


def manager_worker(url: str, rounds: int, start: Any) -> None:
    """Take part with half runs, half calls of `get_or_create_user_session`."""
    manager = AgentSessionManager(url, pool_size=RUNS_EACH)
    with SessionSaver(url) as saver, ThreadPoolExecutor(RUNS_EACH) as pool:
        graph = graph_builder().compile(checkpointer=saver)
        saver.sessions.count_sessions()
        for number in range(rounds):
            start.wait()
            user = f"user-{number}"
            made = pool.map(manager.get_or_create_user_session, [user] * (RUNS_EACH - 1))
            with suppress(ConcurrentRunError):
                graph.invoke({"messages": ["hello"]}, {"configurable": {"user_id": user}})
            list(made)
    manager.close()


def work(worker: Any, url: str, rounds: int, start: Any) -> None:
    """Be a worker; if it fails, the others do not wait for it."""
    try:
        worker(url, rounds, start)
    except BaseException:
        start.abort()
        raise


AGENTS = ("cook", "guide")


def agents_worker(url: str, rounds: int, start: Any) -> None:
    """Take part with two agents, and with none: each its share of the runs of a round."""
    savers = [SessionSaver(url, pool_size=RUNS_EACH, agent=agent) for agent in (*AGENTS, None)]
    for saver in savers:
        saver.sessions.count_sessions()
    for number in range(rounds):
        start.wait()
        with ThreadPoolExecutor(len(AGENTS)) as pool:
            list(pool.map(sync_runs, savers[:-1], [f"user-{number}"] * len(AGENTS)))
        sync_runs(savers[-1], f"alone-{number}")
    for saver in savers:
        saver.close()


WORKERS = [sync_worker, async_worker, manager_worker]


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize(
    "rounds", [3, pytest.param(100, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_concurrent_first_runs_make_one_session(
    url: str, db: psycopg.Connection[Any], worker: Any, rounds: int
) -> None:
    """64 first runs of one user at once, over 8 processes, make 1 session, in every round."""
    at_once(worker, url, rounds)
    counts = db.execute("SELECT user_id, count(*) FROM user_sessions GROUP BY 1").fetchall()
    assert {row["count"] for row in counts} == {1}
    assert len(counts) == rounds


@pytest.mark.parametrize(
    "rounds", [2, pytest.param(50, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_concurrent_first_runs_of_two_agents_make_a_session_each(
    url: str, db: psycopg.Connection[Any], rounds: int
) -> None:
    """64 of each of two agents at once make 2 sessions, on two threads, in every round."""
    at_once(agents_worker, url, rounds)
    made = "SELECT user_id, array_agg(agent ORDER BY agent) AS agents FROM user_sessions GROUP BY 1"
    agents = {row["user_id"]: row["agents"] for row in db.execute(made)}
    for number in range(rounds):
        assert agents.pop(f"user-{number}") == [*AGENTS]
        assert agents.pop(f"alone-{number}") == [None]
    assert agents == {}


def at_once(worker: Any, url: str, rounds: int) -> None:
    """Have processes take part in rounds, and wait until all have done so without an error."""
    start = FORKING.Barrier(PROCESSES)
    parts = [(worker, url, rounds, start)] * PROCESSES
    workers = [FORKING.Process(target=work, args=part) for part in parts]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    assert [process.exitcode for process in workers] == [0] * PROCESSES
