"""What a turn takes on Citus, beside one PostgreSQL on the same machine."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from langgraph_sessions import SessionSaver
from tests import citus as clusters
from tests.benchmark.bench import Bench
from tests.benchmark.entrants import Ours
from tests.benchmark.lanes import Opened, Threads
from tests.benchmark.rounds import interleave, ratio
from tests.benchmark.tables import Table
from tests.benchmark.work import chat

TURNS: Final = 20  # Of one entrant, then of the next; each tenth begins a session.
SHARDS: Final = (32, 128)
MANY: Final = 100_000  # Sessions, unless a number is asked for.
_FILL: Final = (
    "INSERT INTO session_threads (thread_id, user_id, last_save) "
    "SELECT 'old-' || i, 'old-' || i %% 1000, 'x' FROM generate_series(1, %s) AS i",
    "INSERT INTO user_sessions (user_id, thread_id, title) "
    "SELECT 'old-' || i %% 1000, 'old-' || i, 'A chat' FROM generate_series(1, %s) AS i",
    "ANALYZE",
)


def citus(bench: Bench) -> Table:
    """Measure turns of a graph on one PostgreSQL, and on Citus with few shards and with many.

    It is wall time: a turn's work is done by processes of several nodes. That of the lists, too,
    where there are many sessions.
    """
    assert bench.citus is not None
    columns = ["", "turn ms", "turn x", "±", "list ms", "rounds"]
    table = Table("Time of a turn of a graph, 1 user, sync; of a user's list", columns)
    many = bench.sessions or MANY
    with ExitStack() as stack, Threads() as lane:
        urls = {"one PostgreSQL": bench.databases.url(Ours)}
        for shards in SHARDS:
            made = stack.enter_context(_distributed(bench.citus, shards, 0))
            urls[f"Citus, {shards} shards"] = made
        made = stack.enter_context(_distributed(bench.citus, SHARDS[0], many))
        urls[f"Citus, {SHARDS[0]} shards, {many:,} sessions"] = made
        opened = [lane.open(Ours(), url, chat()) for url in urls.values()]
        found = interleave(opened, lambda one: _seconds(bench, lane, one), bench.rounds(10))
        for name, one in zip(urls, opened, strict=True):
            table.add(name, *_compared([found[one], found[opened[0]]]), _list(one), len(found[one]))
    return table


@contextmanager
def _distributed(server: str, shards: int, sessions: int) -> Iterator[str]:
    """Give the address of a database with tables over *shards*, and so many sessions in them."""
    name = f"bench_{uuid.uuid4().hex[:8]}"
    try:
        clusters.create(server, name)
        clusters.prepare(server, name, shards)
        url = make_conninfo(server, dbname=name)
        with SessionSaver(url) as saver:
            saver.setup(citus=True)
        with psycopg.connect(url, autocommit=True) as conn:
            for fill in _FILL if sessions else ():
                conn.execute(fill, [sessions] if "%s" in fill else None)
        yield url
    finally:
        clusters.drop(server, name)


def _seconds(bench: Bench, lane: Threads, one: Opened) -> float:
    (user,) = bench.users()
    began = time.perf_counter()
    lane.turns(one, [user], TURNS, every=10)
    return (time.perf_counter() - began) / TURNS


def _compared(both: Sequence[Sequence[float]]) -> list[float]:
    more = ratio(*both)
    return [statistics.median(both[0]) * 1000, more.median, more.error]


def _list(one: Opened) -> float:
    """Return how many milliseconds a page of a user's sessions takes."""
    taken = []
    for number in range(60):
        began = time.perf_counter()
        one.saver.sessions.list_sessions(f"old-{number}", limit=20)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000
