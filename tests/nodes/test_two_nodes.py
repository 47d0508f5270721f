"""Programs that reach one database through different nodes meet as through one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from langgraph_sessions import ConcurrentRunError, SessionNotFoundError, SessionSaver
from tests.answering import FORKING
from tests.nodes.cluster import halves, loose, needs_citus
from tests.runs.test_first_runs import (
    AGENTS,
    agents_worker,
    async_worker,
    manager_worker,
    sync_worker,
    work,
)
from tests.support import config, graph_builder

pytestmark = needs_citus

ROUNDS = pytest.mark.parametrize(
    "rounds", [3, pytest.param(100, marks=pytest.mark.long)], ids=["short", "long"]
)


def at_once(workers: list[Any], urls: list[str], rounds: int) -> None:
    """Have a process for each node take part in rounds, and wait until they have, without errors.

    They are the coordinator's and the last node's.
    """
    start = FORKING.Barrier(2)
    parts = zip(workers, (urls[0], urls[-1]), strict=True)
    processes = [
        FORKING.Process(target=work, args=(worker, url, rounds, start)) for worker, url in parts
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


@pytest.fixture
def whole(url: str) -> Any:
    """At the end, sessions have their threads, and threads their sessions."""
    yield
    with psycopg.connect(url) as conn:
        assert halves(conn) == []
        assert loose(conn) == []


@ROUNDS
@pytest.mark.parametrize("worker", [sync_worker, async_worker, manager_worker])
def test_first_runs_through_two_nodes_make_one_session(
    urls: list[str], whole: None, db: psycopg.Connection[Any], worker: Any, rounds: int
) -> None:
    """8 first runs of one user at once through each of two nodes make 1 session, in every round."""
    at_once([worker, worker], urls, rounds)
    counts = db.execute("SELECT user_id, count(*) FROM user_sessions GROUP BY 1").fetchall()
    assert [row for row in counts if row["count"] != 1] == []
    assert len(counts) == rounds


@ROUNDS
def test_first_runs_of_two_agents_through_two_nodes_make_a_session_each(
    urls: list[str], whole: None, db: psycopg.Connection[Any], rounds: int
) -> None:
    """Each agent's runs make its one session, those of no agent another user's one."""
    at_once([agents_worker, agents_worker], urls, max(2, rounds // 2))
    made = "SELECT user_id, array_agg(agent ORDER BY agent) AS agents FROM user_sessions GROUP BY 1"
    for row in db.execute(made):
        assert row["agents"] == ([*AGENTS] if row["user_id"].startswith("user-") else [None])


def eraser(url: str, rounds: int, start: Any) -> None:
    """Erase each round's user while they begin."""
    with SessionSaver(url) as saver:
        saver.sessions.count_sessions()
        for number in range(rounds):
            start.wait()
            for _ in range(3):
                saver.sessions.delete_user(f"user-{number}")


def beginner(url: str, rounds: int, start: Any) -> None:
    """Begin conversations of each round's user; one that is erased meanwhile is refused."""
    with SessionSaver(url, pool_size=8) as saver, ThreadPoolExecutor(8) as pool:
        graph = graph_builder().compile(checkpointer=saver)
        saver.sessions.count_sessions()

        def begin(number: int) -> None:
            with suppress(ConcurrentRunError, SessionNotFoundError):
                graph.invoke({"messages": ["hello"]}, config(user_id=f"user-{number}"))

        for number in range(rounds):
            start.wait()
            list(pool.map(begin, [number] * 8))


@ROUNDS
def test_first_runs_beside_an_erasure_through_another_node_leave_no_half(
    urls: list[str], whole: None, rounds: int
) -> None:
    """Of a user who is erased while they begin, everything is there, or nothing."""
    at_once([beginner, eraser], urls, rounds)
