"""What a run saves while the database is slow goes in one transaction, and is what it would be."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from langchain_core.runnables import RunnableConfig

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from langgraph_sessions.runs.surroundings import run_of
from tests.graphs import chain
from tests.support import config, texts, until

XMINS = """
SELECT xmin::text AS xmin FROM checkpoints WHERE checkpoint_id > %(after)s
UNION ALL SELECT xmin::text FROM checkpoint_writes WHERE checkpoint_id > %(after)s"""
QUEUED = 3  # What the run saves while its first save waits: its input's writes, and two nodes'.


def two_nodes(runs: list[Any]) -> Any:
    """Return a graph of two nodes that note their run."""

    def says(name: str) -> Any:
        def node(state: Any, config: RunnableConfig) -> dict[str, Any]:
            runs.append(run_of(config["configurable"]))
            return {"messages": [("ai", name)]}

        return node

    return chain(one=says("one"), two=says("two"))


def newest(conn: psycopg.Connection[Any]) -> str:
    """Return the newest checkpoint."""
    found: Any = conn.execute("SELECT max(checkpoint_id) AS id FROM checkpoints").fetchone()
    return str(found["id"])


def transactions(conn: psycopg.Connection[Any], after: str) -> Counter[str]:
    """Return how many rows each transaction saved to checkpoints after this one."""
    return Counter(row["xmin"] for row in conn.execute(XMINS, {"after": after}))


def test_what_waits_is_saved_together(url: str, db: psycopg.Connection[Any]) -> None:
    """A slow first save, and all that came meanwhile; the state is what was said."""
    runs: list[Any] = []
    with SessionSaver(url) as saver, ThreadPoolExecutor(1) as pool:
        graph = two_nodes(runs).compile(checkpointer=saver)
        graph.invoke({"messages": ["a"]}, config(user_id="alice"))
        runs.clear()
        after = newest(db)
        with db.transaction():
            db.execute("LOCK TABLE checkpoints IN SHARE MODE")
            with_b = pool.submit(graph.invoke, {"messages": ["b"]}, config(user_id="alice"))
            until(lambda: runs and len(runs[0].turns._waiting) == QUEUED)
        with_b.result()
        saved = transactions(db, after)
        state = graph.get_state(saver.sessions.get_current_user_session("alice").config)
    assert max(saved.values()) >= QUEUED
    assert texts(state) == ["a", "one", "two", "b", "one", "two"]


async def test_what_waits_is_saved_together_in_tasks(url: str, db: psycopg.Connection[Any]) -> None:
    """So it is with tasks."""
    runs: list[Any] = []
    async with AsyncSessionSaver(url) as saver:
        graph = two_nodes(runs).compile(checkpointer=saver)
        await graph.ainvoke({"messages": ["a"]}, config(user_id="alice"))
        runs.clear()
        after = newest(db)
        with db.transaction():
            db.execute("LOCK TABLE checkpoints IN SHARE MODE")
            run = graph.ainvoke({"messages": ["b"]}, config(user_id="alice"))
            with_b = asyncio.create_task(run)
            await asyncio.to_thread(until, lambda: runs and len(runs[0].turns._waiting) == QUEUED)
        await with_b
        saved = transactions(db, after)
        session = await saver.sessions.get_current_user_session("alice")
        state = await graph.aget_state(session.config)
    assert max(saved.values()) >= QUEUED
    assert texts(state) == ["a", "one", "two", "b", "one", "two"]
