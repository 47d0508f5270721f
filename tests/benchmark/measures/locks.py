"""Eight users of whom one's session is locked by somebody: how long the other seven take."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from functools import partial
from typing import Any, Final

import psycopg

from tests.benchmark import work
from tests.benchmark.bench import Bench
from tests.benchmark.entrants import ALL, Parent, Steps
from tests.benchmark.lanes import Lane, Opened, Tasks, Threads
from tests.benchmark.rounds import interleave, ratio
from tests.benchmark.tables import Table

USERS: Final = 8
TURNS: Final = 3
PATIENCE: Final = 10.0  # Seconds after which the lock is given up, so that seven who wait end.

# All tables but LangGraph's that have a row of a thread: nobody knows which of them a save touches.
_TABLES: Final = """
SELECT quote_ident(table_name) FROM information_schema.columns
WHERE table_schema = 'public' AND column_name = 'thread_id' AND table_name NOT LIKE 'checkpoint%'
ORDER BY table_name"""


def locks(bench: Bench) -> Table:
    """Measure seven users' turns by wall time, while the eighth waits for a lock and before."""
    columns = ["", "free ms", "beside a lock ms", "x", "±", "rounds"]
    table = Table(f"{TURNS} turns of each of seven users, calls, pool of 16, wall time", columns)
    for kind in ALL[1:]:
        for lane in (Tasks("pool", USERS), Threads("pool", USERS)):
            name = f"{kind.name}, {'tasks' if isinstance(lane, Tasks) else 'threads'}"
            bench.add(table, name, partial(_row, bench, lane, kind))
    return table


def _row(bench: Bench, lane: Lane, kind: type[Parent]) -> list[Any]:
    *seven, eighth = bench.users(USERS)
    with lane:
        (one,) = bench.open(lane, [_watched(kind)], work.calls)
        lane.turns(one, [*seven, eighth], 2, every=2)

        def measure(locked: bool) -> float:
            return _beside(lane, one, seven, eighth) if locked else _alone(lane, one, seven)

        rounds = interleave([False, True], measure, bench.rounds())
    free, beside = rounds[False], rounds[True]
    times = ratio(beside, free)
    medians = (statistics.median(free) * 1000, statistics.median(beside) * 1000)
    return [*medians, times.median, times.error, len(free)]


def _alone(lane: Lane, one: Opened, users: list[str]) -> float:
    began = time.perf_counter()
    lane.turns(one, users, TURNS)
    return time.perf_counter() - began


def _beside(lane: Lane, one: Opened, users: list[str], locked: str) -> float:
    """Return how many seconds *users* take while *locked* waits, at most `PATIENCE`."""
    entrant: Any = one.entrant
    entrant.watch(users)
    began, ended = time.perf_counter(), 0.0

    def release() -> None:
        nonlocal ended
        entrant.done.wait(PATIENCE)
        ended = time.perf_counter()
        lock.rollback()

    with psycopg.connect(one.url, application_name="lock") as lock:
        _lock(lock, locked)
        releaser = threading.Thread(target=release)
        began = time.perf_counter()
        releaser.start()
        lane.turns(one, [locked, *users], TURNS)  # Returns when the lock is given up, too.
        releaser.join()
    return ended - began


def _watched(kind: type[Parent]) -> type[Parent]:
    """Return *kind*, noticing when those whom it is to watch have had their turns."""

    class Watched(kind):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.watch([])

        def watch(self, users: list[str]) -> None:
            self.left, self.done = Counter(users * TURNS), threading.Event()
            self.lock = threading.Lock()

        def after(self, configurable: dict[str, Any]) -> Steps:
            yield from super().after(configurable)
            with self.lock:
                self.left -= Counter([configurable["user_id"]])  # Nobody has less than none.
            if not self.left:
                self.done.set()

    return Watched


def _lock(conn: psycopg.Connection[Any], user: str) -> None:
    """Lock, until the transaction ends, all that says something of the user's only thread."""
    thread = conn.execute(
        "SELECT thread_id FROM checkpoints WHERE metadata ->> 'user_id' = %s LIMIT 1", [user]
    ).fetchone()
    for (table,) in conn.execute(_TABLES).fetchall():
        conn.execute(f"SELECT FROM {table} WHERE thread_id = %s FOR UPDATE".encode(), thread)
