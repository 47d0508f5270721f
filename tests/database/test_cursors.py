"""Cursors of statements that are executed often are kept, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from langgraph_sessions.database.aio_database import _rest
from langgraph_sessions.database.cursors import MOST, cursor
from langgraph_sessions.plans import LARGE, Fetch, Statement
from langgraph_sessions.sql.opening import OpenCurrent
from tests import citus
from tests.citus import waits
from tests.support import PATIENCE, until

SQL = "SELECT %s::int AS number"


@dataclass(frozen=True)
class Often(Fetch):
    """A statement that each turn executes."""

    often = True


@pytest.fixture
def conn(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of this test's."""
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn


def number(conn: psycopg.Connection[Any], statement: Statement, params: Any) -> Any:
    """Execute *statement* with these parameters, and return its only value."""
    found = cursor(conn, statement, statement.sql).execute(SQL, params)
    return found.fetchall()[0]["number"]


def test_one_that_is_executed_often_keeps_its_cursor(conn: psycopg.Connection[Any]) -> None:
    """Its answers are those of its last parameters, also after one that failed."""
    often = Often(SQL)
    first = cursor(conn, often, SQL)
    assert number(conn, often, [1]) == 1
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        number(conn, often, ["one"])
    assert number(conn, often, [2]) == 2
    assert cursor(conn, often, SQL) is first


def test_any_other_gets_a_fresh_one(conn: psycopg.Connection[Any]) -> None:
    """What it answered is not kept in memory."""
    assert cursor(conn, Fetch(SQL), SQL) is not cursor(conn, Fetch(SQL), SQL)


def test_in_a_pipeline_each_gets_a_fresh_one(conn: psycopg.Connection[Any]) -> None:
    """There one that was used before could return an earlier answer."""
    often = Often(SQL)
    kept = cursor(conn, often, SQL)
    with conn.pipeline():
        assert cursor(conn, often, SQL) is not kept


def test_a_closed_one_is_replaced(conn: psycopg.Connection[Any]) -> None:
    """And is not executed."""
    often = Often(SQL)
    cursor(conn, often, SQL).close()
    assert number(conn, often, [1]) == 1


def test_a_connection_keeps_a_few(conn: psycopg.Connection[Any]) -> None:
    """However many statements there are."""
    for text in map(str, range(3 * MOST)):
        cursor(conn, Often(text), text)
    assert len(vars(conn)["_langgraph_sessions_cursors"]) <= MOST


VALUE: Final = "x" * (LARGE + 1)
STATES = [
    pytest.param({"words": ["short"]}, True, id="small"),
    pytest.param({"words": [VALUE]}, False, id="a large value"),
    pytest.param({"text": VALUE}, False, id="a large text in the checkpoint itself"),
]


def keeps(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Say whether *conn* keeps what it loaded when a user's second run began."""
    sql = OpenCurrent(user_id="bob", select=SessionSaver.SELECT_SQL).sql
    return sql in vars(conn)["_langgraph_sessions_cursors"]


class State(TypedDict, total=False):
    """Something short, and something long."""

    words: list[str]
    text: str


def graph() -> StateGraph[State]:
    """Return a graph that does nothing."""
    return StateGraph(State).add_node("rest", lambda _: {}).add_edge(START, "rest")


@pytest.mark.one_server("there a load is two statements, whose cursors are not kept")
@pytest.mark.parametrize(("state", "is_kept"), STATES)
def test_what_a_run_loads_is_kept_if_it_is_small(
    conn: psycopg.Connection[Any], state: State, is_kept: bool
) -> None:
    """No connection holds a large checkpoint until it loads another one."""
    saver = SessionSaver(conn)
    chat = graph().compile(saver)
    for given in (state, State()):
        chat.invoke(given, {"configurable": {"user_id": "bob"}})
    assert keeps(conn) is is_kept


@pytest.mark.one_server("there a load is two statements, whose cursors are not kept")
@pytest.mark.parametrize(("state", "is_kept"), STATES)
async def test_what_an_async_run_loads_is_kept_if_it_is_small(
    url: str, state: State, is_kept: bool
) -> None:
    """As that of a sync one."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        saver = AsyncSessionSaver(conn)
        chat = graph().compile(saver)
        for given in (state, State()):
            await chat.ainvoke(given, {"configurable": {"user_id": "bob"}})
        assert keeps(conn) is is_kept


async def test_a_load_that_was_cancelled_leaves_nothing_behind(
    url: str, db: psycopg.Connection[Any]
) -> None:
    """The next one, by the same connection and cursor, loads what it asks for."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        saver = AsyncSessionSaver(conn)
        chat = graph().compile(saver)
        for user in ("alice", "bob"):
            for _ in range(2):
                await chat.ainvoke({"words": [user]}, {"configurable": {"user_id": user}})
        with db.transaction():
            db.execute("LOCK TABLE checkpoints IN ACCESS EXCLUSIVE MODE")
            load = asyncio.ensure_future(chat.ainvoke({}, {"configurable": {"user_id": "alice"}}))
            await asyncio.to_thread(until, lambda: waits(db))
            load.cancel()
            with pytest.raises(asyncio.CancelledError):
                await load
        found = await saver.aget_tuple({"configurable": {"user_id": "bob"}})
        assert found is not None
        assert found.checkpoint["channel_values"]["words"] == ["bob"]
        assert citus.url() or keeps(conn)


def saves(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> int:
    """Count the cursors that *conn* keeps of what saves values."""
    kept = vars(conn)["_langgraph_sessions_cursors"]
    return sum("INSERT INTO checkpoint_blobs" in sql for sql in kept)


@pytest.mark.parametrize(("word", "number"), [("short", 1), (VALUE, 0)], ids=["small", "large"])
async def test_what_a_run_saves_is_kept_if_it_is_small(url: str, word: str, number: int) -> None:
    """A cursor has the parameters that it had last."""
    given: State = {"words": [word]}
    alice: RunnableConfig = {"configurable": {"user_id": "alice"}}
    with psycopg.connect(url, autocommit=True) as conn:
        graph().compile(SessionSaver(conn)).invoke(given, alice, durability="exit")
        assert saves(conn) == number
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as aconn:
        chat = graph().compile(AsyncSessionSaver(aconn))
        await chat.ainvoke(given, alice, durability="exit")
        assert saves(aconn) == number


def test_what_tasks_wrote_counts_too() -> None:
    """What waits to be part of a checkpoint is loaded with it."""
    rows = [{"checkpoint": None, "pending_writes": [[b"t", b"words", b"msgpack", VALUE.encode()]]}]
    opens = OpenCurrent(user_id="alice")
    assert opens.are_large(rows)
    assert not opens.are_large([{"session_id": 1}])


@pytest.mark.parametrize("older", [{}, {"channel_values": None}], ids=["absent", "null"])
def test_a_checkpoint_of_an_older_langgraph_has_its_values_beside_it(older: Any) -> None:
    """Its saver kept none of them in the checkpoint itself; all were blobs."""
    row = {"checkpoint": {"v": 1, **older}, "channel_values": [[b"words", b"msgpack", b"x"]]}
    opens = OpenCurrent(user_id="alice")
    assert not opens.are_large([row])
    assert opens.are_large([{**row, "channel_values": [[b"words", b"msgpack", VALUE.encode()]]}])


async def test_a_coroutine_that_has_begun_goes_on_in_a_task() -> None:
    """With what it waits for, and what it waits for then."""

    async def work() -> int:
        for _ in range(3):
            await asyncio.sleep(0.001)
        return 5

    begun = work()
    waits = begun.send(None)
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.create_task(_rest(begun, waits)) == 5
