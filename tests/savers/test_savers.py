"""What a saver can be made of."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg import AsyncConnection, Connection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    AsyncSessionSaver,
    SessionNotFoundError,
    SessionSaver,
)
from tests.support import Chat, config, graph_builder, psycopg_pool_options

OPTIONS = psycopg_pool_options()


def sync_saver(kind: str, url: str, stack: AsyncExitStack) -> SessionSaver:
    """Make a saver of *kind*."""
    if kind == "url":
        return stack.enter_context(SessionSaver(url))
    if kind == "pool":
        return SessionSaver(stack.enter_context(ConnectionPool(url, kwargs=OPTIONS, open=True)))
    if kind.startswith("from_conn_string"):
        pipeline = kind.endswith("pipeline")
        return stack.enter_context(SessionSaver.from_conn_string(url, pipeline=pipeline))
    conn = stack.enter_context(Connection.connect(url, **OPTIONS))
    if kind == "connection":
        return SessionSaver(conn)
    return SessionSaver(conn, stack.enter_context(conn.pipeline()))


async def async_saver(kind: str, url: str, stack: AsyncExitStack) -> AsyncSessionSaver:
    """Make an async saver of *kind*."""
    enter = stack.enter_async_context
    if kind == "url":
        return await enter(AsyncSessionSaver(url))
    if kind == "pool":
        pool = AsyncConnectionPool(url, kwargs=OPTIONS, open=False)
        return AsyncSessionSaver(await enter(pool))
    if kind.startswith("from_conn_string"):
        pipeline = kind.endswith("pipeline")
        return await enter(AsyncSessionSaver.from_conn_string(url, pipeline=pipeline))
    conn = await enter(await AsyncConnection.connect(url, **OPTIONS))
    if kind == "connection":
        return AsyncSessionSaver(conn)
    return AsyncSessionSaver(conn, await enter(conn.pipeline()))


KINDS = ["url", "pool", "connection", "pipeline", "from_conn_string", "from_conn_string pipeline"]


@pytest.fixture(params=KINDS)
async def kind_of_chat(request: Any, url: str, is_async: bool) -> AsyncIterator[Chat]:
    """A chat over each kind of connection."""
    async with AsyncExitStack() as stack:
        if is_async:
            yield Chat(await async_saver(request.param, url, stack))
        else:
            yield Chat(sync_saver(request.param, url, stack))


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_every_kind_of_connection_does_it_all(kind_of_chat: Chat) -> None:
    """Runs, the manager, reading, refusal and deletion work over each kind of connection."""
    chat = kind_of_chat
    await chat.say("one", user_id="alice")
    session = await chat.session("update_session", "alice", {"title": "Renamed"})
    await chat.say("two", user_id="alice")
    assert await chat.current() != session
    assert (await chat.current()).title == "Renamed"
    assert await chat.history(session) == ["one", "1 so far", "two", "3 so far"]
    history = await chat.call(chat.graph, "get_state_history", session.config)
    assert len(history) == 6
    with pytest.raises(SessionNotFoundError):
        await chat.say("three", user_id="bob", thread_id=session.thread_id)
    checkpoint = (await chat.call(chat.saver, "get_tuple", session.config)).checkpoint
    stranger = config(thread_id=session.thread_id, checkpoint_ns="")
    with pytest.raises(SessionNotFoundError):
        await chat.call(chat.saver, "put", stranger, checkpoint, {}, {})
    await chat.say("plain", thread_id="plain")
    await chat.call(chat.saver, "delete_thread", session.thread_id)
    assert await chat.sessions(None) == []
    await chat.say("four", user_id="alice")
    assert len(await chat.sessions(None)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_another_connection_sees_what_was_saved(kind: str, url: str, db: Any) -> None:
    """When a call returns, what it wrote is committed, in pipeline mode too."""
    stack = AsyncExitStack()

    def sessions() -> int:
        return len(db.execute("SELECT 1 FROM user_sessions").fetchall())

    saver = sync_saver(kind, url, stack)
    saver.sessions.create_user_session("alice")
    assert sessions() == 1
    graph_builder().compile(checkpointer=saver).invoke({"messages": ["x"]}, config(user_id="bob"))
    assert sessions() == 2
    saver.sessions.delete_session("bob", saver.sessions.get_current_user_session("bob").thread_id)
    assert sessions() == 1
    asyncio.run(stack.aclose())


def test_without_autocommit_construction_fails(url: str) -> None:
    """A connection or pool that would never commit is refused by name at once."""
    with (
        psycopg.connect(url) as conn,
        pytest.raises(ValueError, match="conn must be in autocommit mode"),
    ):
        SessionSaver(conn)
    pool: Any = ConnectionPool(url, open=False)
    with pytest.raises(ValueError, match="conn must be in autocommit mode"):
        SessionSaver(pool)


async def test_without_autocommit_async_construction_fails(url: str) -> None:
    """So is an async one."""
    async with await AsyncConnection.connect(url) as conn:
        with pytest.raises(ValueError, match="conn must be in autocommit mode"):
            AsyncSessionSaver(conn)
        pool: Any = AsyncConnectionPool(url, open=False)
        with pytest.raises(ValueError, match="conn must be in autocommit mode"):
            AsyncSessionSaver(pool)


@pytest.mark.parametrize("autocommit", ["false", "true", 1, None])
async def test_a_pools_autocommit_is_true_or_refused(autocommit: Any, url: str) -> None:
    """What merely looks like a yes in a pool's options is refused: it may mean no."""
    options: dict[str, Any] = {"kwargs": {"autocommit": autocommit}, "open": False}
    with pytest.raises(ValueError, match="conn must be in autocommit mode"):
        SessionSaver(ConnectionPool(url, **options))
    with pytest.raises(ValueError, match="conn must be in autocommit mode"):
        AsyncSessionSaver(AsyncConnectionPool(url, **options))


def test_autocommit_may_come_from_a_pools_configure(url: str) -> None:
    """A pool that sets autocommit on each connection is as good; one that does not is refused."""

    def configure(conn: Connection[Any]) -> None:
        conn.autocommit = True

    with ConnectionPool(url, configure=configure, open=True) as pool:
        saver: Any = SessionSaver(pool)  # type: ignore[arg-type]
        assert saver.sessions.count_sessions() == 0
    with ConnectionPool(url, configure=lambda conn: None, open=True) as pool:
        saver = SessionSaver(pool)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="autocommit"):
            saver.sessions.count_sessions()


@pytest.mark.parametrize("make", [SessionSaver, AgentSessionManager])
@pytest.mark.parametrize(
    ("conn", "error"),
    [(5, TypeError), ("not a url", ValueError), ("", ValueError), (object(), TypeError)],
)
def test_what_is_no_database_is_named(
    make: Callable[[Any], Any], conn: Any, error: type[Exception]
) -> None:
    """A wrong `conn` says what is allowed, without quoting what may hold a password."""
    with pytest.raises(error, match="conn must be") as caught:
        make(conn)
    assert "not a url" not in str(caught.value)


def test_an_async_connection_is_not_for_the_sync_saver(url: str) -> None:
    """The wrong world's pool is a TypeError that names the right ones."""
    pool: Any = AsyncConnectionPool(url, kwargs=OPTIONS, open=False)
    with pytest.raises(TypeError, match="Connection, ConnectionPool"):
        SessionSaver(pool)


def test_a_wrong_database_or_server_says_so_at_once(url: str) -> None:
    """No pool hides why it cannot connect: a wrong name surfaces as psycopg's error."""
    wrong = psycopg.conninfo.make_conninfo(url, dbname="nothing_here")
    with (
        SessionSaver(wrong) as saver,
        pytest.raises(psycopg.OperationalError, match="nothing_here"),
    ):
        saver.sessions.count_sessions()


def test_database_url_is_the_default(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `conn`, the variable DATABASE_URL says where; `path` means the embedded one."""
    monkeypatch.setenv("DATABASE_URL", url)
    with SessionSaver() as saver:
        saver.sessions.create_user_session("alice")
    with SessionSaver(url) as saver:
        assert saver.sessions.count_sessions() == 1
    with pytest.raises(ValueError, match="path"):
        SessionSaver(url, path="folder")


def test_managers_built_alone(url: str) -> None:
    """A manager takes the saver's `conn` argument and sees the same sessions."""
    manager = AgentSessionManager(url)
    session = manager.create_user_session("alice", "One")
    with SessionSaver(url) as saver:
        assert saver.sessions.get_current_user_session("alice") == session
    manager.close()


async def test_async_managers_built_alone(url: str) -> None:
    """So does the async one."""
    manager = AsyncAgentSessionManager(url)
    session = await manager.create_user_session("alice", "One")
    async with AsyncSessionSaver(url) as saver:
        assert await saver.sessions.get_current_user_session("alice") == session
    await manager.close()


def test_thread_id_factory(url: str) -> None:
    """New sessions get the factory's ids, the default one for what is in use; what is unfit: none.

    An unfit one is refused by name.
    """
    ids = iter(["first", "first", "x" * 256, "second"])
    with SessionSaver(url, thread_id_factory=lambda user_id: next(ids)) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["hi"]}, config(user_id="alice"))
        assert saver.sessions.get_current_user_session("alice").thread_id == "first"
        graph.invoke({"messages": ["hi"]}, config(user_id="alice", new_session=True))
        assert saver.sessions.get_current_user_session("alice").thread_id.startswith("alice_")
        with pytest.raises(ValueError, match="thread_id_factory"):
            graph.invoke({"messages": ["hi"]}, config(user_id="alice", new_session=True))
        graph.invoke({"messages": ["hi"]}, config(user_id="alice", new_session=True))
        assert saver.sessions.get_current_user_session("alice").thread_id == "second"


@pytest.mark.direct("what waits in the database holds all the connections that it lends")
def test_runs_over_a_pool_do_not_wait_for_each_other(url: str) -> None:
    """While one run's save waits in the database, another user's whole run completes."""
    with SessionSaver(url) as saver, psycopg.connect(url) as blocker:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["hi"]}, config(user_id="alice"))
        blocker.execute("SELECT * FROM user_sessions WHERE user_id = 'alice' FOR UPDATE")
        waiting = threading.Thread(
            target=graph.invoke, args=({"messages": ["hi"]}, config(user_id="alice"))
        )
        waiting.start()
        graph.invoke({"messages": ["hi"]}, config(user_id="bob"))
        assert waiting.is_alive()
        blocker.rollback()
        waiting.join()


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("pool_size", 0, ValueError),
        ("pool_size", "x", TypeError),
        ("pool_size", True, TypeError),
        ("cache_size", -1, ValueError),
        ("cache_size", 1.5, TypeError),
        ("cache_ttl", "5", TypeError),
        ("cache_ttl", -1, ValueError),
        ("cache_ttl", float("nan"), ValueError),
        ("thread_id_factory", None, TypeError),
        ("auto_setup", "no", TypeError),
        ("titler", 5, TypeError),
        ("serde", 5, TypeError),
        ("serde", object(), TypeError),
        ("serde", JsonPlusSerializer, TypeError),
        ("retry_for", None, TypeError),
        ("retry_for", -1, ValueError),
        ("outage_limit", "1 MB", TypeError),
        ("outage_limit", -1, ValueError),
        ("on_outage", "ignore", ValueError),
        ("concurrent_runs", None, TypeError),
        ("concurrent_runs", "maybe", ValueError),
        ("path", 5, TypeError),
        ("path", "", ValueError),
        ("path", "two\nlines", ValueError),
    ],
)
async def test_a_wrong_option_is_named(argument: str, value: Any, error: type[Exception]) -> None:
    """A saver's and a manager's options are checked when it is made."""
    for make in (SessionSaver, AsyncSessionSaver, AgentSessionManager, AsyncAgentSessionManager):
        if argument in ("titler", "concurrent_runs") and "Manager" in make.__name__:
            continue
        with pytest.raises(error, match=argument):
            make(**{argument: value})


@pytest.mark.parametrize("value", ["postgresql+psycopg://localhost/app", "  "])
def test_a_wrong_database_url_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment got wrong is not blamed on an argument."""
    monkeypatch.setenv("DATABASE_URL", value)
    with pytest.raises(ValueError, match="DATABASE_URL must be"):
        SessionSaver()


def test_copies_of_a_saver_share_everything(url: str) -> None:
    """The copies that LangGraph makes of a saver use its pool, its lock and its cache."""
    import copy

    with SessionSaver(url) as saver:
        clone = copy.copy(saver)
        clone.sessions.create_user_session("alice")
        assert clone.conn is saver.conn
        assert saver.sessions.get_session_count() == 1


def test_rows_are_read_whatever_the_pools_row_factory(url: str) -> None:
    """A pool with another row factory works, as with the parent."""
    from psycopg.rows import namedtuple_row

    options: Any = {**OPTIONS, "row_factory": namedtuple_row}
    with ConnectionPool(url, kwargs=options, open=True) as pool:
        saver: Any = SessionSaver(pool)  # type: ignore[arg-type]
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["hi"]}, config(user_id="alice"))
        assert saver.sessions.get_current_user_session("alice").title == "hi"
    assert dict_row is not namedtuple_row
