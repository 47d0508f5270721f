"""A server that tests stop, and talk with either saver on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests import citus
from tests.gate import Gate, stoppable
from tests.outage.talking import chatting
from tests.servers import Server
from tests.support import TABLES, Chat


@pytest.fixture(scope="package")
def own() -> Iterator[Server | Gate]:
    """A server that tests stop; its first database has the tables."""
    with stoppable() as server:
        yield server


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
