"""How the tables come about."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import sql

from langgraph_sessions import AgentSessionManager, AsyncSessionSaver, SessionError, SessionSaver
from tests.answering import FORKING
from tests.catalogue import catalogue
from tests.support import asking, config, graph_builder, past_pooler, psycopg_pool_options

PROCESSES = 20


def first_use(url: str, start: Any, kind: int) -> None:
    """Use an empty database for the first time, together with the other processes."""
    start.wait()
    with SessionSaver(url, pool_size=2) as saver:
        if kind % 3 == 0:
            saver.setup()
        elif kind % 3 == 1:
            saver.sessions.count_sessions()
        else:
            graph = graph_builder().compile(checkpointer=saver)
            graph.invoke({"messages": ["hi"]}, config(user_id=f"user-{kind}"))


def langgraphs(url: str) -> dict[str, dict[str, Any]]:
    """Return what stands in a database and is not ours."""
    return {
        kind: {name: what for name, what in found.items() if "session" not in name}
        for kind, found in catalogue(url).items()
    }


def test_creation_from_20_processes_at_once_succeeds_in_all(empty_url: str) -> None:
    """Twenty processes that meet an empty database all find their tables."""
    start = FORKING.Barrier(PROCESSES)
    workers = [
        FORKING.Process(target=first_use, args=(empty_url, start, n)) for n in range(PROCESSES)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    assert [process.exitcode for process in workers] == [0] * PROCESSES


def test_langgraphs_tables_are_exactly_its_own(empty_url: str, server: str) -> None:
    """The checkpoint tables that we make are those that the parent makes."""
    with SessionSaver(empty_url) as saver:
        saver.setup()
    ours = langgraphs(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    with PostgresSaver.from_conn_string(past_pooler(empty_url)) as parent:
        parent.setup()
    assert ours == langgraphs(empty_url)


def test_setup_after_the_parents_and_again_changes_nothing_of_its(empty_url: str) -> None:
    """On a database that the parent set up, setup adds ours; a second one changes nothing."""
    with PostgresSaver.from_conn_string(past_pooler(empty_url)) as parent:
        parent.setup()
    before = catalogue(empty_url)
    with SessionSaver(empty_url) as saver:
        saver.setup()
        after = catalogue(empty_url)
        assert langgraphs(empty_url) == before
        saver.setup()
        assert catalogue(empty_url) == after


@pytest.mark.parametrize("pipeline", [False, True])
def test_without_auto_setup_it_says_what_is_missing(empty_url: str, pipeline: bool) -> None:
    """`auto_setup=False` never runs DDL, says what to do, and works once setup() was called."""
    with SessionSaver(empty_url, auto_setup=False) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        with pytest.raises(SessionError, match=r"are missing in .* setup\(\)"):
            graph.invoke({"messages": ["hi"]}, config(user_id="alice"))
        assert not any(catalogue(empty_url).values())
        saver.setup()
        graph.invoke({"messages": ["hi"]}, config(user_id="alice"))


def test_tables_from_a_newer_version_are_refused(url: str, db: psycopg.Connection[Any]) -> None:
    """An old package does not touch tables that a newer one broke with, and says so."""
    db.execute("INSERT INTO user_sessions_migrations (version, breaking) VALUES (999, TRUE)")
    with AgentSessionManagerContext(url) as manager, pytest.raises(SessionError, match="newer"):
        manager.count_sessions()


class AgentSessionManagerContext:
    """A manager of its own, closed at the end."""

    def __init__(self, url: str) -> None:
        self.manager = AgentSessionManager(url)

    def __enter__(self) -> AgentSessionManager:
        return self.manager

    def __exit__(self, *_: object) -> None:
        self.manager.close()


async def test_async_setup(empty_url: str) -> None:
    """The async saver's setup makes the same tables."""
    async with AsyncSessionSaver(empty_url) as saver:
        await saver.setup()
    made = catalogue(empty_url)
    with SessionSaver(empty_url) as sync_saver:
        sync_saver.setup()
    assert catalogue(empty_url) == made
    assert len(made["columns"]) > 20


OLDER_TOOL = """
CREATE TABLE user_sessions (
    id SERIAL PRIMARY KEY, user_id VARCHAR(255) NOT NULL, thread_id VARCHAR(255) UNIQUE NOT NULL,
    title VARCHAR(255), created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, is_active BOOLEAN DEFAULT TRUE)"""


@pytest.mark.direct("what a database sets is for new connections, and it lends old ones")
def test_a_table_of_the_older_tool_is_upgraded_in_place(empty_url: str) -> None:
    """Its rows are kept, its naive times read in the server's zone, its gaps filled."""
    with psycopg.connect(empty_url, **psycopg_pool_options()) as db:
        name = sql.Identifier(db.info.dbname)
        db.execute(sql.SQL("ALTER DATABASE {} SET timezone = 'Asia/Tokyo'").format(name))
        db.execute(OLDER_TOOL)
        db.execute(
            "INSERT INTO user_sessions (user_id, thread_id, title, created_at, updated_at) "
            "VALUES ('alice', 't1', 'Trip', '2025-01-02 12:00', '2025-01-03 12:00')"
        )
        db.execute("INSERT INTO user_sessions VALUES (7, 'alice', 't2', NULL, NULL, NULL, NULL)")
    with SessionSaver(empty_url) as saver:
        saver.setup()
        first = saver.sessions.get_session("alice", "t1")
        second = saver.sessions.get_session("alice", "t2")
        assert (first.id, first.title, first.is_active) == (1, "Trip", True)
        assert first.created_at == datetime.fromisoformat("2025-01-02T12:00:00+09:00")
        assert (second.id, second.title, second.is_active) == (7, "New Chat", True)
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["Titled now"]}, second.config)
        graph.invoke({"messages": ["Not titled"]}, first.config)
        titles = {s.thread_id: s.title for s in saver.sessions.list_sessions("alice")}
        assert titles == {"t1": "Trip", "t2": "Titled now"}
        made = saver.sessions.create_user_session("bob")
        assert made.id > 0
    columns = catalogue(empty_url)["columns"]
    ours = {name: what for name, what in columns.items() if name.startswith("user_sessions ")}
    types = {name.split()[2]: what for name, what in ours.items()}
    assert types["id"].startswith("bigint t")
    assert types["created_at"].startswith("timestamp with time zone t")
    assert types["is_active"].split() == ["boolean", "t", "true"]


def test_the_threads_of_an_older_table_have_a_status(empty_url: str) -> None:
    """What its sessions' threads wait for is known as soon as it is upgraded."""
    with PostgresSaver.from_conn_string(past_pooler(empty_url)) as plain:
        plain.setup()
        asks = asking().compile(checkpointer=plain)
        asks.invoke({"messages": ["one"]}, config(thread_id="waits"))
    with psycopg.connect(empty_url, **psycopg_pool_options()) as db:
        db.execute(OLDER_TOOL)
        db.execute(
            "INSERT INTO user_sessions (user_id, thread_id, title) "
            "VALUES ('alice', 'waits', 'Trip'), ('alice', 'idle', 'CV')"
        )
    with SessionSaver(empty_url) as saver:
        (waiting,) = saver.sessions.list_sessions("alice", status="interrupted")
        assert waiting.thread_id == "waits"


@pytest.mark.parametrize(
    "id_column",
    ["INTEGER PRIMARY KEY DEFAULT nextval('of_nobody')", "INTEGER PRIMARY KEY"],
)
def test_an_older_table_whose_sequence_is_not_its_own_is_upgraded(
    empty_url: str, id_column: str
) -> None:
    """A sequence that only the default names becomes the column's; a missing one is made."""
    with psycopg.connect(empty_url, **psycopg_pool_options()) as db:
        db.execute("CREATE SEQUENCE of_nobody START 8")
        older = OLDER_TOOL.replace("SERIAL PRIMARY KEY", id_column)
        db.execute(sql.SQL(older))  # type: ignore[arg-type]
        db.execute("INSERT INTO user_sessions (id, user_id, thread_id) VALUES (7, 'alice', 't')")
        with SessionSaver(empty_url) as saver:
            assert saver.sessions.create_user_session("alice").id == 8
        owned = db.execute("SELECT pg_get_serial_sequence('user_sessions', 'id') AS name")
        assert [row["name"] is not None for row in owned] == [True]
