"""What a turn writes to the log and to the tables, and how often it waits for the server."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg

from langgraph_sessions import AgentSessionManager
from tests.benchmark import work
from tests.benchmark.bench import Bench
from tests.benchmark.entrants import ALL, ByHand, NoUser, Parent
from tests.benchmark.lanes import Lane, Opened, Tasks, Threads
from tests.benchmark.meters import versions as row_versions
from tests.benchmark.rounds import interleave, ratio
from tests.benchmark.tables import Table
from tests.counter import Counter

TURNS: Final = 50  # In a round: a split page in a few of them would tell.
WARM: Final = 8  # Turns after which a connection's statements are prepared and planned.
METADATA: Final = 1000  # Bytes of metadata in a session that has some.


# --- WAL ------------------------------------------------------------------------------------------


def wal(bench: Bench) -> Table:
    """Measure the bytes of WAL that a turn's calls of a saver write."""
    columns = ["", "parent B", "ours B", "ours x", "±", "by hand x", "parent, no user x", "rounds"]
    table = Table("WAL a turn, calls of a saver, 1 user, sync", columns)
    bench.add(table, "known session", lambda: _wal(bench))
    bench.add(table, f"with {METADATA} B of metadata", lambda: _wal(bench, metadata=METADATA))
    if not bench.quick:
        bench.add(table, "new sessions", lambda: _wal(bench, every=1))
    return table


def _wal(bench: Bench, *, metadata: int = 0, every: int | None = None) -> list[Any]:
    users = bench.users()
    with Threads() as lane:
        opened = bench.open(lane, (*ALL, NoUser), work.calls)
        for one in opened:
            lane.turns(one, users, WARM, every=WARM)
        if metadata:
            _give_metadata(bench, users[0], {"note": secrets.token_hex(metadata // 2)})

        def measure(one: Opened) -> float:
            return bench.meter.wal(lambda: lane.turns(one, users, TURNS, every)) / TURNS

        rounds = list(interleave(opened, measure, bench.rounds()).values())
    parent, ours, by_hand, no_user = rounds
    mine = ratio(ours, parent)
    return [
        *(statistics.median(parent), statistics.median(ours), mine.median, mine.error),
        *(ratio(by_hand, parent).median, ratio(no_user, parent).median, len(parent)),
    ]


def _give_metadata(bench: Bench, user: str, metadata: dict[str, str]) -> None:
    """Give the session that *user* has, with us and by hand, *metadata*."""
    _, ours, by_hand = ALL
    manager = AgentSessionManager(bench.databases.url(ours))
    manager.update_session(user, {"metadata": metadata})
    manager.close()
    with psycopg.connect(bench.databases.url(by_hand), autocommit=True) as conn:
        conn.execute(ByHand.SET_METADATA, [psycopg.types.json.Jsonb(metadata), user])


# --- Row versions ---------------------------------------------------------------------------------


def versions(bench: Bench) -> Table:
    """Measure the row versions that a turn's calls make, in all tables of the database."""
    columns = ["", "inserted", "updated", "of them HOT", "not HOT"]
    table = Table("row versions a turn, calls of a saver, 1 user, sync", columns)
    for every, what in ((None, "known session"), (1, "new sessions")):
        for kind in ALL:
            bench.add(table, f"{what}, {kind.name}", partial(_versions, bench, kind, every))
    return table


def _versions(bench: Bench, kind: type[Parent], every: int | None) -> list[Any]:
    users, entrant, url = bench.users(), kind(), bench.databases.url(kind)

    def turns(count: int, every: int | None) -> dict[str, int]:
        with Threads() as lane:
            lane.turns(lane.open(entrant, url, work.calls), users, count, every)
        return row_versions(url)

    before, after = turns(1, 1), turns(TURNS, every)
    made = {what: (after[what] - before[what]) / TURNS for what in after}
    return [made["inserted"], made["updated"], made["hot"], made["updated"] - made["hot"]]


# --- Round trips ----------------------------------------------------------------------------------


def trips(bench: Bench) -> Table:
    """Count the round trips of a turn's calls."""
    table = Table("round trips a turn, calls of a saver", ["", "parent", "ours", "by hand"])
    for lane in (Tasks(),) if bench.quick else (Tasks(), Threads()):
        for what in ("known session", "new session", "new user"):
            bench.add(table, f"{lane}, {what}", partial(_trips, bench, lane, what))
    return table


def _trips(bench: Bench, lane: Lane, what: str) -> list[Any]:
    def turn(one: Opened) -> None:
        every = 1 if what == "new session" else None
        lane.turns(one, bench.users() if what == "new user" else user, every=every)

    counts, user = [], bench.users()
    for kind in ALL:
        with _counting(bench.databases.url(kind)) as counter, lane:
            one = lane.open(kind(), counter.conninfo, work.calls)
            lane.turns(one, user)
            for _ in range(WARM):  # To prepare a statement takes a trip.
                turn(one)
            before = counter.round_trips
            turn(one)
            counts.append(counter.round_trips - before)
    return counts


@contextmanager
def _counting(url: str) -> Iterator[Counter]:
    """Run a counting proxy before *url*, in a loop and a thread of its own."""
    # Not a name of any length: a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="lgs-"))
    counter, started = Counter(url, folder), threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def listen() -> None:
        async with counter.listening():
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[listen()])
    thread.start()
    started.wait()
    try:
        yield counter
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
        shutil.rmtree(folder)
