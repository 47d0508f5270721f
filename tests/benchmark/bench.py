"""What all measures are given: where, for how long, and how much of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from tests.benchmark.databases import Databases
from tests.benchmark.entrants import Parent
from tests.benchmark.lanes import Lane, Opened
from tests.benchmark.meters import Meter
from tests.benchmark.tables import Table
from tests.benchmark.work import Job

RESERVE: Final = 8.0  # Seconds that a row may take beyond its rounds: databases, warming up.


@dataclass
class Bench:
    """A run of the benchmark.

    Attributes:
        conninfo: The server.
        databases: Clean ones for the entrants.
        meter: Reads what they cost.
        quick: Whether to measure the main rows only.
        seconds: How long a row's rounds last.
        sessions: How many are many; `None`: as many as are soon made.
        citus: The coordinator of a Citus, if one is named.
        deadline: When all must be done, by `time.monotonic`.
        skipped: The rows for which no time was left.
    """

    conninfo: str
    databases: Databases
    meter: Meter
    quick: bool
    seconds: float
    sessions: int | None
    citus: str | None
    deadline: float
    skipped: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self.deadline - time.monotonic()

    def users(self, number: int = 1) -> list[str]:
        """Return so many users who have never been here."""
        return [f"user-{next(self._numbers)}" for _ in range(number)]

    def open(self, lane: Lane, kinds: Sequence[type[Parent]], job: Job) -> list[Opened]:
        """Open the savers of *kinds* in *lane*."""
        urls = [self.databases.url(kind, f"{kind.name} {i}") for i, kind in enumerate(kinds)]
        return [lane.open(kind(), url, job) for kind, url in zip(kinds, urls, strict=True)]

    def rounds(self, share: float = 1) -> float:
        """Return how many seconds a row's rounds may last."""
        return max(0.0, min(self.seconds * share, self.left - RESERVE))

    def add(self, table: Table, name: str, row: Callable[[], list[Any]]) -> None:
        """Add a row to *table*, without values if no time is left for it."""
        if self.has_time(table, name):
            table.add(name, *row())

    def has_time(self, table: Table, name: str, seconds: float = RESERVE) -> bool:
        """Say whether so many *seconds* are left; if not, *table* gets a row without values."""
        if self.left > seconds:
            return True
        table.add(name, *[None] * (len(table.columns) - 1))
        self.skipped.append(f"{table.title}: {name}")
        return False
