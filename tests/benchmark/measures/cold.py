"""CPU of a saver that is opened for a few turns, as a script or a function in a cloud does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.benchmark import work
from tests.benchmark.bench import Bench
from tests.benchmark.entrants import PAIR, Parent
from tests.benchmark.lanes import Lane, Tasks, Threads
from tests.benchmark.measures.cpu import COLUMNS, summary
from tests.benchmark.meters import Cost
from tests.benchmark.rounds import interleave
from tests.benchmark.tables import Table


def cold(bench: Bench) -> Table:
    """Measure savers opened as in each README, for one turn and for three of a known session."""
    table = Table("CPU a turn, a saver opened anew, README path, calls", COLUMNS)
    lanes: tuple[Callable[[str], Lane], ...] = (Threads, Tasks)
    for new_lane in lanes:
        for turns in (1, 3):
            name = f"{new_lane('readme')}, opened for {turns} turn{'s' * (turns > 1)}"
            bench.add(table, name, partial(_row, bench, new_lane, turns))
    return table


def _row(bench: Bench, new_lane: Callable[[str], Lane], turns: int) -> list[Any]:
    users, entrants = bench.users(), [kind() for kind in PAIR]

    def measure(entrant: Parent) -> Cost:
        url = bench.databases.url(type(entrant))
        with new_lane("readme") as lane:

            def work_() -> None:
                lane.turns(lane.open(entrant, url, work.calls), users, turns)

            return bench.meter.cost(work_, url, turns)

    for entrant in entrants:
        measure(entrant)
    return summary(interleave(entrants, measure, bench.rounds()))
