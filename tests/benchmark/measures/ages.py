"""A session that has had many turns, and a database that has many sessions."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from tests.benchmark import work
from tests.benchmark.bench import Bench
from tests.benchmark.databases import Databases, old_thread
from tests.benchmark.entrants import PAIR, Parent
from tests.benchmark.lanes import Opened, Threads
from tests.benchmark.measures.cpu import COLUMNS, TURNS, compared, rounds, summary
from tests.benchmark.meters import Cost
from tests.benchmark.rounds import interleave
from tests.benchmark.tables import Table

WARM: Final = 10  # Turns before the first that are measured.
OLD: Final = 1000  # Turns before the last.
STEP: Final = 50  # So many of one saver, then of the other.
OLD_SECONDS: Final = 45.0  # That they may take.
MANY: Final = 300_000  # Sessions, unless a number is asked for.
FILL_SECONDS: Final = 45.0  # That making their threads may take, and as much again all else.
LEAST: Final = 30.0  # Seconds that must be left to begin with either of these.


def history(bench: Bench) -> Table:
    """Measure the calls of a session's first turns, and after a thousand."""
    table = Table("CPU a turn of one session, calls of a saver, 1 user, sync", COLUMNS)
    if not bench.has_time(table, f"after {OLD} turns", LEAST):
        return table
    users = bench.users()
    with bench.meter.on_one_core(), Threads() as lane:
        opened = bench.open(lane, PAIR, work.calls)
        for one in opened:
            lane.turns(one, users, WARM, every=WARM)
        table.add("young", *summary(rounds(bench, lane, opened, users)))
        done = 0
        until = time.monotonic() + min(OLD_SECONDS, bench.left - bench.seconds)
        while done < OLD and time.monotonic() < until:
            for one in opened:
                lane.turns(one, users, STEP)
            done += STEP
        later = rounds(bench, lane, opened, users, renewal=None)
        table.add(f"after {done} turns", *summary(later))
    return table


def scale(bench: Bench) -> Table:
    """Measure the calls of turns of old sessions, among few of them and among many."""
    columns = ["", "few µs", "many µs", "many x", "±", "rounds"]
    table = Table("CPU a turn, calls of a saver, 1 user, sync", columns)
    if not bench.has_time(table, "many sessions", 2 * LEAST):
        return table
    number, seconds = MANY, min(FILL_SECONDS, bench.left - 2 * LEAST)
    if bench.sessions is not None:
        number, seconds = bench.sessions, bench.left / 2
    with (
        closing(Databases(bench.conninfo)) as few,
        closing(Databases(bench.conninfo, number, seconds, by_hand=False)) as many,
    ):
        table.title += f", among {few.sessions:,} sessions and among {many.sessions:,}"
        costs = _costs(bench, [few, many])
        for number, kind in enumerate(PAIR):
            table.add(kind.name, *_compared(costs[number], costs[number + len(PAIR)]))
    return table


def _costs(bench: Bench, databases: Sequence[Databases]) -> list[list[Cost]]:
    """Return what turns of old sessions cost in each of *databases*, of each kind there."""
    sessions: dict[Opened, int] = {}
    with bench.meter.on_one_core(), Threads() as lane:
        for number, each in enumerate(databases):
            for kind in PAIR:
                entrant = _with_old_threads(kind, each.sessions)
                url = each.url(kind, f"{kind.name} {number}")
                sessions[lane.open(entrant, url, work.calls)] = each.sessions

        def measure(one: Opened) -> Cost:
            users = [old_thread(random.randrange(sessions[one]))[0] for _ in range(TURNS)]
            return bench.meter.cost(lambda: lane.turns(one, users), one.url, TURNS)

        for one in sessions:
            measure(one)
        return list(interleave(list(sessions), measure, 2 * bench.rounds()).values())


def _with_old_threads(kind: type[Parent], sessions: int) -> Parent:
    entrant = kind()
    entrant.threads = dict(map(old_thread, range(sessions)))
    return entrant


def _compared(few: Sequence[Cost], many: Sequence[Cost]) -> list[Any]:
    more = compared(many, few, "cpu")
    medians = [statistics.median(cost.cpu for cost in each) for each in (few, many)]
    return [*medians, more.median, more.error, len(few)]
