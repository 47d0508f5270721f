"""A server that tests stop, and talk with either saver on it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from langgraph_sessions import SessionSaver
from tests import citus
from tests.gate import Gate
from tests.outage.talking import chatting
from tests.servers import Server
from tests.support import TABLES, Chat


@pytest.fixture(scope="package")
def own() -> Iterator[Server | Gate]:
    """A server that tests stop; its first database has the tables."""
    if citus.url() is not None:
        yield from _before_citus(citus.url())
        return
    server = Server()
    with server.running() as conninfo:
        with SessionSaver(conninfo) as saver:
            saver.setup()
        yield server


def _before_citus(server: str) -> Iterator[Gate]:
    """Make a database whose tables are distributed, and a gate that tests shut."""
    with citus.cloned(server, f"t_{uuid.uuid4().hex[:12]}", "template0") as url:
        citus.prepare(server, psycopg.conninfo.conninfo_to_dict(url)["dbname"])
        with SessionSaver(url) as saver:
            saver.setup(citus=True)
        gate = Gate(url)
        with gate.running():
            yield gate


@pytest.fixture
def server(own: Server | Gate) -> Iterator[Server | Gate]:
    """The same, which runs when a test begins."""
    if not own.is_running:
        own.start()
    yield own
    own.stop()


@pytest.fixture
def place(server: Server) -> str:
    """The conninfo of a database of that server's with the tables made, and nothing in them."""
    # Emptied, not made anew: a server's files that are not synced are slow to be removed.
    server.execute(f"TRUNCATE {', '.join(TABLES)}")
    citus.on_each_node(server.conninfo, "DROP SEQUENCE IF EXISTS inserts")
    server.execute("DROP FUNCTION IF EXISTS crash CASCADE")
    return server.conninfo


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def chat(kind: str, place: str) -> AsyncIterator[Chat]:
    """A conversation with either saver, on a server that can be stopped."""
    async with chatting(kind, place) as chat:
        yield chat
