"""Databases that can be read alone: nobody waits for what will not come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from langgraph_sessions.embedded.server import find_binaries
from tests.servers import Server
from tests.support import Chat, psycopg_pool_options

pytestmark = pytest.mark.direct("a pooler lends connections that were made before")
KINDS = pytest.mark.parametrize("kind", [SessionSaver, AsyncSessionSaver])
OUTAGES = pytest.mark.parametrize("on_outage", ["raise", "memory"])


@pytest.fixture
def read_only(url: str) -> str:
    """A database whose transactions are read-only by default."""
    with psycopg.connect(url, **psycopg_pool_options()) as db:
        name = sql.Identifier(db.info.dbname)
        db.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
    return url


@pytest.fixture(scope="module")
def own() -> Iterator[str]:
    """A hot standby."""
    if not (find_binaries() / "pg_basebackup").exists():
        pytest.skip("no pg_basebackup here")
    primary = Server("wal_level=replica", "hot_standby=on")
    standby = None
    try:
        primary.start()
        with SessionSaver(primary.conninfo) as saver:
            saver.setup()
        standby = Server.standby_of(primary)
        standby.start()
        yield standby.conninfo
    finally:
        if standby is not None:
            standby.remove()
        primary.remove()


@contextmanager
def nobody_waits() -> Iterator[None]:
    """Fail whoever waits in this block, in order to try again."""

    def refuse(self: Any, seconds: float) -> None:
        raise AssertionError("it is tried again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("langgraph_sessions.database.database.Database._sleep", refuse)
        patch.setattr("langgraph_sessions.database.aio_database.AsyncDatabase._sleep", refuse)
        yield


async def assert_told_at_once(url: str, kind: Any, on_outage: str) -> None:
    """Assert that a run raises what the server says, the first time."""
    saver = kind(url, on_outage=on_outage)
    chat = Chat(saver)
    try:
        with nobody_waits(), pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await chat.say("hi", user_id="alice")
        assert saver.durable
    finally:
        if chat.is_async:
            await saver.close()
        else:
            saver.close()


@KINDS
@OUTAGES
async def test_a_read_only_database_is_an_error_at_once(
    read_only: str, kind: Any, on_outage: str
) -> None:
    """It is no outage, and not tried again until `retry_for` is over."""
    await assert_told_at_once(read_only, kind, on_outage)


@KINDS
@OUTAGES
async def test_a_standby_is_an_error_at_once(own: str, kind: Any, on_outage: str) -> None:
    """A saver that was given a standby's address alone finds no primary there."""
    await assert_told_at_once(own, kind, on_outage)
