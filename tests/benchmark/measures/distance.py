"""Turns a second when the server is some milliseconds away."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import psycopg

from tests.benchmark import work
from tests.benchmark.bench import Bench
from tests.benchmark.entrants import PAIR
from tests.benchmark.far import away
from tests.benchmark.lanes import POOL, Lane, Opened, Tasks, Threads
from tests.benchmark.measures.cpu import crowds
from tests.benchmark.rounds import interleave, ratio
from tests.benchmark.tables import Table

MILLISECONDS: Final = (1, 0, 5)  # There and back; the most important one first.
ONE_USER_TURNS: Final = 5  # In a round.
TRIPS: Final = 50


def distance(bench: Bench) -> Table:
    """Measure how many turns a second there are, by wall time, through the delaying proxy."""
    columns = ["", "trip ms", "parent turns/s", "ours turns/s", "ours x", "±", "rounds"]
    table = Table("turns a second by distance, there and back; x is faster", columns)
    tasks, threads = crowds()
    rows: list[tuple[float, Lane, work.Job, str]] = [
        (ms, lane, work.calls, "calls") for ms in MILLISECONDS for lane in (tasks, threads)
    ]
    rows += [(ms, Tasks(), work.calls, "calls") for ms in MILLISECONDS]
    rows += [(1, Threads(), work.calls, "calls"), (1, tasks, work.chat(), "whole turns")]
    for ms, lane, job, what in rows[:1] if bench.quick else rows:
        over = f", pool of {POOL}" if lane.over == "pool" else ""
        name = f"{ms} ms, {lane}{over}, {what}"
        bench.add(table, name, partial(_row, bench, ms, lane, job))
    return table


def _row(bench: Bench, milliseconds: float, lane: Lane, job: work.Job) -> list[Any]:
    users = bench.users(lane.crowd)
    share = 2 if milliseconds == MILLISECONDS[0] else 1
    count = ONE_USER_TURNS if lane.crowd == 1 else 1
    with away(bench.conninfo, milliseconds) as far, lane:
        opened = [lane.open(k(), bench.databases.url(k, server=far), job) for k in PAIR]
        for one in opened:
            lane.turns(one, users, 2, every=2)

        def measure(one: Opened) -> float:
            began = time.perf_counter()
            lane.turns(one, users, count)
            return (time.perf_counter() - began) / (count * lane.crowd)

        parent, ours = interleave(opened, measure, bench.rounds(share)).values()
        faster = ratio(parent, ours)
        return [
            *(_trip(far), 1 / statistics.median(parent), 1 / statistics.median(ours)),
            *(faster.median, faster.error, len(ours)),
        ]


def _trip(far: str) -> float:
    """Return the milliseconds that a trip to the server really takes: the median of some."""
    with psycopg.connect(far, autocommit=True) as conn:
        return statistics.median(_times(conn)) * 1000


def _times(conn: psycopg.Connection[Any]) -> Sequence[float]:
    taken = []
    for _ in range(TRIPS):
        began = time.perf_counter()
        conn.execute("SELECT 1")
        taken.append(time.perf_counter() - began)
    return taken
