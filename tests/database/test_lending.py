"""Connections that are lent: what is done with them is committed, and ends with their client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from langgraph_sessions.database.database import Database
from langgraph_sessions.database.deeds import Deed, do
from langgraph_sessions.plans import Composite, Fetch, Plan
from tests.support import config, graph_builder, psycopg_pool_options, texts


@pytest.mark.direct("a pooler keeps no connection for whoever left a transaction open in it")
def test_what_is_saved_on_a_connection_without_autocommit_is_kept(url: str) -> None:
    """A pool that an application shares may lend a connection that it left in another mode."""
    with ConnectionPool(url, min_size=1, max_size=1, kwargs=psycopg_pool_options()) as pool:
        saver = SessionSaver(pool)
        saver.setup()
        with pool.connection() as conn:
            conn.autocommit = False
        graph = graph_builder().compile(checkpointer=saver)
        for text in ("one", "two"):
            said = graph.invoke({"messages": [text]}, config(user_id="alice"))
        session = saver.sessions.get_current_user_session("alice")
        saver.sessions.update_session("alice", {"title": "Kept"})
        with SessionSaver(url) as other:
            assert other.sessions.get_session("alice", session.thread_id).title == "Kept"
            state = graph_builder().compile(checkpointer=other).get_state(session.config)
    assert texts(state) == texts(said)


def test_one_caller_uses_one_connection(url: str) -> None:
    """A saver's pool opens a second one when it is wanted, and not while the first is made."""
    with SessionSaver(url, pool_size=2) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["one"]}, config(user_id="alice"), durability="sync")
        pool: Any = saver.conn
        assert pool.get_stats()["connections_num"] == 1
        with pool.connection(), pool.connection():
            assert pool.get_stats()["connections_num"] == 2


async def test_one_task_uses_one_connection(url: str) -> None:
    """So it is with tasks."""
    async with AsyncSessionSaver(url, pool_size=2) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        await graph.ainvoke({"messages": ["one"]}, config(user_id="alice"), durability="sync")
        pool: Any = saver.conn
        assert pool.get_stats()["connections_num"] == 1
        async with pool.connection(), pool.connection():
            assert pool.get_stats()["connections_num"] == 2


@dataclass(frozen=True)
class Settings(Composite):
    """What a transaction of several statements says of itself."""

    atomic = True

    def plan(self) -> Plan[str]:
        name = "idle_in_transaction_session_timeout"
        (row,) = yield Fetch(f"SELECT current_setting('{name}') AS setting")
        return str(row["setting"])


def settings() -> Plan[Any]:
    return (yield Settings())


def test_a_transaction_does_not_outlive_its_client(url: str) -> None:
    """A deletion whose client is stopped in its middle keeps its locks for ten seconds at most."""
    database = Database(url)
    try:
        assert database.run(settings()) == "10s"
    finally:
        database.close()


def test_a_deed_cleans_up_when_it_is_interrupted_between_two_steps() -> None:
    """Ctrl-C that comes while nothing of the deed's is called is raised in it all the same."""
    done: list[str] = []

    class Interrupted:
        """A generator that is interrupted when it is asked for its second step."""

        def __init__(self, deed: Deed[None]) -> None:
            self.deed, self.sent = deed, 0

        def __next__(self) -> Any:
            return next(self.deed)

        def send(self, value: Any) -> Any:
            self.sent += 1
            raise KeyboardInterrupt

        def throw(self, error: BaseException) -> Any:
            return self.deed.throw(error)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.deed, name)

    def deed() -> Deed[None]:
        try:
            yield lambda: done.append("taken")
        finally:
            yield lambda: done.append("given back")

    interrupted: Any = Interrupted(deed())
    with pytest.raises(KeyboardInterrupt):
        do(interrupted)
    assert done == ["taken", "given back"]
