"""The measures, by the names under which `--only` runs them; the most important ones first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.benchmark.bench import Bench
from tests.benchmark.measures import ages, cpu, distance, footprint, locks
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
    "locks": locks.locks,
    "history": ages.history,
    "scale": ages.scale,
}
QUICK: Final = ("calls", "turns", "readme", "no-user", "wal", "trips", "distance")
