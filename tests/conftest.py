"""A real PostgreSQL for the tests, with a clean database for each.

The server is the embedded one's binaries, or what LANGGRAPH_SESSIONS_TEST_URL names. Each
test's database is cloned from a template that was migrated once. With
LANGGRAPH_SESSIONS_TEST_PGBOUNCER, addresses lead through a PgBouncer: see `tests.pgbouncer`. With
LANGGRAPH_SESSIONS_TEST_ISOLATION, they have that isolation level: see `tests.isolation`. With
LANGGRAPH_SESSIONS_TEST_PARTITIONS=8, LangGraph's tables have so many partitions. With
LANGGRAPH_SESSIONS_CITUS_URL, they are distributed by Citus: see `tests.citus`.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres.base import MIGRATIONS
from psycopg.conninfo import make_conninfo
from psycopg.rows import scalar_row

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from langgraph_sessions.cli import main
from langgraph_sessions.sql import partitions
from tests import citus, guard, isolation, pgbouncer
from tests.agents import Agents
from tests.operating import Done, Operate
from tests.servers import Server, in_memory, version
from tests.support import Chat, psycopg_pool_options

TEMPLATE = "langgraph_sessions_template"
URL_VARIABLE = "LANGGRAPH_SESSIONS_TEST_URL"
PARTITIONS_VARIABLE = "LANGGRAPH_SESSIONS_TEST_PARTITIONS"

if citus.url():
    citus.let_parents_read()

# The fixtures that start a server or a process. A test that uses one, be it by way of another
# fixture, is marked `server`; one that starts something without them says `pytest.mark.server`.
STARTING = {"server", "unused_url", "own", "own_server", "guarded", "pair", "gemini", "cluster"}


# First, so that -m finds the marker.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts servers; leave out what cannot be as wanted by a variable."""
    for item in items:
        if STARTING.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("server")
        if pgbouncer.wanted():
            for marker in item.iter_markers("direct"):
                item.add_marker(pytest.mark.skip(reason=f"not through PgBouncer: {marker.args[0]}"))
        if os.environ.get(PARTITIONS_VARIABLE):
            for marker in item.iter_markers("whole"):
                item.add_marker(pytest.mark.skip(reason=f"not on partitions: {marker.args[0]}"))
        if citus.url():
            for marker in item.iter_markers("one_server"):
                item.add_marker(pytest.mark.skip(reason=f"not on Citus: {marker.args[0]}"))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Without servers, use no workers: each would import LangGraph for seconds of tests."""
    return 0 if "not server" in config.option.markexpr else None


def _watched(item: pytest.Item) -> AbstractContextManager[None]:
    return guard.watching() if item.get_closest_marker("server") is None else nullcontext()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Fail a test whose fixtures start something although it is not marked."""
    with _watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that starts something although it is not marked."""
    with _watched(item):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _no_database_by_accident() -> Iterator[None]:
    """A DATABASE_URL of the developer's is not for tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        patch.delenv("GOOGLE_API_KEY", raising=False)
        yield


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The conninfo of a server on which databases may be created."""
    if url := citus.url():
        yield url
        return
    if url := os.environ.get(URL_VARIABLE):
        yield url
        return
    with Server("synchronous_commit=off", "max_connections=400").running() as conninfo:
        yield conninfo


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a database with the tables made."""
    name = f"{TEMPLATE}_{uuid.uuid4().hex[:8]}"
    if citus.url():
        citus.create(server, name)
        citus.set_up(server, name)
        yield name
        citus.drop(server, name)
        return
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        with SessionSaver(make_conninfo(server, dbname=name)) as saver:
            saver.setup()
        if count := os.environ.get(PARTITIONS_VARIABLE):
            with psycopg.connect(make_conninfo(server, dbname=name), autocommit=True) as made:
                made.execute(partitions.script(MIGRATIONS, int(count)).encode())
        yield name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def through(server: str) -> Iterator[Callable[[str], str]]:
    """What makes of a database's conninfo the one that tests use."""
    if not pgbouncer.wanted():
        yield str
        return
    with pgbouncer.running(server) as bouncer:
        yield bouncer.before


@pytest.fixture(scope="session")
def cluster() -> str:
    """The conninfo of a coordinator of Citus; without one, what wants it is skipped."""
    return citus.url() or pytest.skip(citus.WANTED)


@pytest.fixture(scope="session")
def citus_template(cluster: str) -> Iterator[str]:
    """The name of a database of Citus' without tables."""
    name = f"{TEMPLATE}_citus_{uuid.uuid4().hex[:8]}"
    citus.create(cluster, name)
    citus.prepare(cluster, name)
    citus.freeze(cluster, name)
    yield name
    citus.drop(cluster, name)


@pytest.fixture
def citus_url(cluster: str, citus_template: str) -> Iterator[str]:
    """The conninfo of a database of Citus' without tables, on its coordinator."""
    yield from _database(cluster, citus_template)


@pytest.fixture
def distributed_url(cluster: str, template: str) -> Iterator[str]:
    """The conninfo of a database whose tables Citus has distributed, on its coordinator."""
    yield from _database(cluster, template)


@pytest.fixture
def empty_url(server: str, through: Callable[[str], str]) -> Iterator[str]:
    """The conninfo of an empty database."""
    for database in _database(server, "template0"):
        yield through(database)


@pytest.fixture
def unused_url(request: pytest.FixtureRequest) -> str:
    """The conninfo of an empty database; on Citus, of one whose tables are distributed."""
    conninfo: str = request.getfixturevalue("distributed_url" if citus.url() else "empty_url")
    return conninfo


@pytest.fixture
def direct_url(server: str, template: str) -> Iterator[str]:
    """The conninfo of a database with the tables made, past any PgBouncer."""
    yield from _database(server, template)


@pytest.fixture
def url(direct_url: str, through: Callable[[str], str]) -> str:
    """The conninfo of a database with the tables made, and nothing in them."""
    return through(direct_url)


# What every test leaves behind: each session's status is what its checkpoints say.
_HAS_TABLES = """
SELECT to_regproc('user_sessions_status') IS NOT NULL
    AND to_regclass('user_sessions') IS NOT NULL AND to_regclass('checkpoints') IS NOT NULL
    AND to_regclass('checkpoint_writes') IS NOT NULL"""
_WRONG_STATUSES = """
SELECT thread_id FROM user_sessions WHERE status <> user_sessions_status(thread_id)"""


def _copying() -> str:
    """Return how to copy a database: in memory, files at once rather than all through the log."""
    is_ours = URL_VARIABLE not in os.environ
    return "STRATEGY file_copy" if is_ours and in_memory() and version() >= 15 else ""


def _database(server: str, template: str) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex[:12]}"
    if citus.url():
        url = citus.create(server, name, template)
        try:
            yield url
            assert _wrong_statuses(url) == []
        finally:
            citus.drop(server, name)
        return
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {_copying()}")
        if level := isolation.wanted():
            isolation.demand(admin, name, level)
        url = make_conninfo(server, dbname=name)
        yield url
        assert _wrong_statuses(url) == []
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _wrong_statuses(url: str) -> list[str]:
    """Return the threads whose session has another status than their checkpoints say."""
    with psycopg.connect(url, row_factory=scalar_row) as conn:
        if not conn.execute(_HAS_TABLES).fetchone():
            return []
        if citus.url() is None:
            return conn.execute(_WRONG_STATUSES).fetchall()
        # One by one: the sessions are on other shards than the checkpoints.
        kept = conn.execute("SELECT ARRAY[thread_id, status] FROM user_sessions LIMIT 100")
        said = "SELECT user_sessions_status(%s)"
        return [
            thread_id
            for thread_id, status in kept.fetchall()
            if conn.execute(said, [thread_id]).fetchone() != status
        ]


@pytest.fixture
def db(direct_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test's own, to look at and to meddle with the tables."""
    with psycopg.connect(direct_url, **psycopg_pool_options()) as connection:
        yield connection


@pytest.fixture
def saver(url: str) -> Iterator[SessionSaver]:
    """A synchronous saver on a clean database."""
    with SessionSaver(url) as saver:
        yield saver


@pytest.fixture(params=["sync", "async"])
async def chat(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Chat]:
    """A conversation on a clean database, with either saver."""
    if request.param == "sync":
        with SessionSaver(url) as saver:
            yield Chat(saver)
    else:
        async with AsyncSessionSaver(url) as saver:
            yield Chat(saver)


@pytest.fixture
async def agents(chat: Chat, url: str) -> AsyncIterator[Agents]:
    """What makes chats with agents, beside `chat`, which has none."""
    async with AsyncExitStack() as stack:
        yield Agents(chat, url, stack)


@pytest.fixture
def operate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> Operate:
    """Run a command as `main` does, in this process; standard input is no terminal."""

    def call(*arguments: str, database: str = url) -> Done:
        words = ["langgraph-sessions", "sessions", *arguments, "--database", database]
        monkeypatch.setattr(sys, "argv", words)
        status = main.run()
        shown = capsys.readouterr()
        first, _, rest = shown.err.partition("\n")
        if first.startswith("Database: "):
            return Done(status, shown.out, rest, first.removeprefix("Database: "))
        return Done(status, shown.out, shown.err)

    return call
