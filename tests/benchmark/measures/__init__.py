"""The measures, by the names under which `--only` runs them; the most important ones first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.benchmark.bench import Bench
from tests.benchmark.measures import ages, citus, cold, cpu, distance, footprint, locks, starts
from tests.benchmark.tables import Table

MEASURES: Final[dict[str, Callable[[Bench], Table]]] = {
    "calls": cpu.calls,
    "turns": cpu.turns,
    "readme": cpu.readme,
    "no-user": cpu.no_user,
    "wal": footprint.wal,
    "trips": footprint.trips,
    "distance": distance.distance,
    "versions": footprint.versions,
    "reads": starts.reads,
    "imports": starts.imports,
    "locks": locks.locks,
    "cold": cold.cold,
    "history": ages.history,
    "scale": ages.scale,
}
# Those that want a server of their own.
ELSEWHERE: Final[dict[str, Callable[[Bench], Table]]] = {"citus": citus.citus}
QUICK: Final = ("calls", "turns", "readme", "no-user", "wal", "trips", "distance", "reads")
