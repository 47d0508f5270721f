"""CPU a turn, client and server together: calls of a saver, whole turns of graphs."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final

from tests.benchmark import work
from tests.benchmark.bench import Bench
from tests.benchmark.entrants import ALL, PAIR, NoUser, OursNamed, OursNoUser, Parent
from tests.benchmark.lanes import CROWD, POOL, Lane, Opened, Tasks, Threads
from tests.benchmark.meters import Cost
from tests.benchmark.rounds import Ratio, interleave, ratio
from tests.benchmark.tables import Table

Kinds = Sequence[type[Parent]]

COLUMNS: Final = [
    *("", "parent µs", "ours µs", "client x", "server x", "ours x", "±"),
    *("by hand x", "±", "rounds"),
]
# Of a round: the shorter they are, the less do two of them differ by what else the machine does.
TURNS: Final = 2
CROWD_TURNS: Final = 1  # Of each user in a round.
# Rounds after which users begin a new session. LangGraph reads all that a thread ever had in its
# channels, so that long ones, which `ages.history` measures, cost everybody more.
RENEWAL: Final = 10
WARM: Final = {1: 10, CROWD: 3}  # Turns of each user before the rounds, by how many they are.


def calls(bench: Bench) -> Table:
    """Measure the calls of savers."""
    table = Table("CPU a turn, calls of a saver", COLUMNS)
    lanes: list[tuple[str, Lane, Kinds]] = [
        (str(lane), lane, ALL) for lane in (Threads(), Tasks(), *crowds())
    ]
    if not bench.quick:
        lanes += [
            ("1 user, sync, thread id given", Threads(), (Parent, OursNamed)),
            ("1 user, async, the parent against itself", Tasks(), (Parent, Parent)),
        ]
    for name, lane, kinds in lanes:
        add(bench, table, name, lane, work.calls, kinds=kinds)
    return table


def turns(bench: Bench) -> Table:
    """Measure whole turns of graphs."""
    table = Table("CPU a turn, whole turns of graphs", COLUMNS)
    one, many = Tasks(), Tasks("pool", CROWD)
    for lane in (one, many) if bench.quick else (one, Threads(), *crowds()):
        add(bench, table, str(lane), lane, work.chat())
    if bench.quick:
        return table
    for durability in ("sync", "exit"):
        job = work.chat(durability=durability)
        add(bench, table, f"{one}, durability {durability!r}", one, job, kinds=PAIR)
    add(bench, table, f"{one}, {work.LONG} messages", one, work.chat(work.LONG), kinds=PAIR)
    add(bench, table, f"{one}, new sessions", one, work.chat(1), kinds=ALL, every=1)
    add(bench, table, f"{one}, new users", one, work.chat(1), kinds=ALL, strangers=True)
    with_tool = f"{one}, an agent with a tool, {TURNS} turns a session"
    add(bench, table, with_tool, one, work.agent(), kinds=PAIR, every=TURNS)
    add(bench, table, f"{one}, a subgraph", one, work.subgraph(), kinds=PAIR)
    return table


def readme(bench: Bench) -> Table:
    """Measure SessionSaver(url) against PostgresSaver.from_conn_string(url)."""
    table = Table("CPU a turn, README path: SessionSaver(url), from_conn_string(url)", COLUMNS)
    add(bench, table, "1 user, sync, calls", Threads("readme"), work.calls)
    if not bench.quick:
        add(bench, table, "1 user, async, calls", Tasks("readme"), work.calls)
        add(bench, table, "1 user, sync, whole turns", Threads("readme"), work.chat())
        add(bench, table, "1 user, async, whole turns", Tasks("readme"), work.chat())
    return table


def no_user(bench: Bench) -> Table:
    """Measure runs that name no user."""
    table = Table("CPU a turn, without a user", COLUMNS)
    kinds = (NoUser, OursNoUser)
    for lane in (Threads(),) if bench.quick else (Threads(), Tasks()):
        add(bench, table, f"{lane}, calls", lane, work.calls, kinds=kinds)
    return table


def crowds() -> list[Lane]:
    """Return the lanes of many users."""
    return [Tasks("pool", CROWD), Threads("pool", CROWD)]


def add(
    bench: Bench,
    table: Table,
    name: str,
    lane: Lane,
    job: work.Job,
    *,
    kinds: Kinds = ALL,
    every: int | None = None,
    strangers: bool = False,
) -> None:
    """Add the CPU of *job*'s turns to *table*.

    Each *every*-th turn begins a session; with *strangers*, each turn is a new user's.
    """
    over = f", pool of {POOL}" if lane.over == "pool" else ""

    def row() -> list[Any]:
        core = bench.meter.on_one_core() if lane.crowd == 1 else nullcontext()
        with core, lane:
            opened = bench.open(lane, kinds, job)
            return summary(measured(bench, lane, opened, every=every, strangers=strangers))

    bench.add(table, f"{name}{over}", row)


def measured(
    bench: Bench,
    lane: Lane,
    opened: Sequence[Opened],
    *,
    every: int | None = None,
    strangers: bool = False,
) -> dict[Opened, list[Cost]]:
    """Return what a turn cost each of *opened*, round by round, once they are warm."""
    users = bench.users(lane.crowd)
    for one in opened:
        lane.turns(one, users, WARM[lane.crowd], every=WARM[lane.crowd])
    return rounds(bench, lane, opened, None if strangers else users, every)


def rounds(
    bench: Bench,
    lane: Lane,
    opened: Sequence[Opened],
    users: Sequence[str] | None,
    every: int | None = None,
    renewal: int | None = RENEWAL,
) -> dict[Opened, list[Cost]]:
    """Return what a turn of *users* cost each of *opened*, round by round.

    Without *users*, each turn is somebody's first.
    """
    done: Counter[Opened] = Counter()
    count = TURNS if lane.crowd == 1 else CROWD_TURNS

    def turns(one: Opened) -> None:
        if users is None:
            lane.turns(one, bench.users(count))
        else:
            lane.turns(one, users, count, every)

    def measure(one: Opened) -> Cost:
        if users and renewal and done[one] % renewal == 0:
            lane.turns(one, users, every=1)
        done[one] += 1
        return bench.meter.cost(lambda: turns(one), one.url, count * lane.crowd)

    return interleave(opened, measure, bench.rounds(1 if lane.crowd == 1 else 2))


def summary(costs: Mapping[Any, Sequence[Cost]]) -> list[Any]:
    """Return the values of `COLUMNS`: medians, and ratios to the first entrant's rounds."""
    parent, ours, *others = costs.values()
    values: list[Any] = [statistics.median(cost.cpu for cost in each) for each in (parent, ours)]
    for what in ("client", "server", "cpu"):
        values.append(compared(ours, parent, what).median)
    values.append(compared(ours, parent, "cpu").error)
    for each in others:
        by_hand = compared(each, parent, "cpu")
        values += [by_hand.median, by_hand.error]
    return [*values, *[None] * (len(COLUMNS) - 2 - len(values)), len(parent)]


def compared(ours: Sequence[Cost], others: Sequence[Cost], what: str) -> Ratio:
    """Return the ratio of *what* the costs say."""
    return ratio(*([getattr(cost, what) for cost in each] for each in (ours, others)))
