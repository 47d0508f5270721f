"""The tables, on the screen and as JSON, and what they were measured on."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Final

import psycopg
from psycopg import pq

PACKAGES: Final = (
    "langgraph-sessions",
    "langgraph",
    "langgraph-checkpoint-postgres",
    "langchain",
    "psycopg",
    "psycopg-pool",
)


@dataclass
class Table:
    """What a measure found.

    Attributes:
        title: What was measured, with its unit.
        columns: What the values are; the first column names the row.
        rows: The values: text, numbers, or `None` where there is none.
        load: The machine's load average over a minute, as the table was begun and ended.
    """

    title: str
    columns: list[str]
    rows: list[list[Any]] = field(default_factory=list)
    load: list[float] = field(default_factory=lambda: [load()])

    def add(self, name: str, *values: Any) -> None:
        """Add a row."""
        self.rows.append([name, *values])
        self.load[1:] = [load()]

    def as_json(self) -> dict[str, Any]:
        """Return what `json.dumps` takes."""
        return asdict(self)

    def __str__(self) -> str:
        cells = [self.columns, *([_shown(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [_line(row, widths) for row in cells]
        loads = " to ".join(f"{value:.1f}" for value in self.load)
        return "\n".join([f"{self.title}   (load {loads})", *lines])


def _line(row: list[str], widths: list[int]) -> str:
    name, *values = (
        cell.rjust(width) if i else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(["  " + name, *values]).rstrip()


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.{0 if abs(value) >= 100 else 2}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def load() -> float:
    """Return the machine's load average over the last minute."""
    return round(os.getloadavg()[0], 1)


def environment(conninfo: str) -> dict[str, Any]:
    """Return what is measured, and on what."""
    with psycopg.connect(conninfo) as conn:
        row = conn.execute("SELECT current_setting('server_version')").fetchone()
    assert row is not None
    libpq = pq.version()
    return {
        "at": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {platform.system()}",
        "python": platform.python_version(),
        "postgresql": row[0],
        "psycopg": f"{pq.__impl__}, libpq {libpq // 10000}.{libpq % 10000}",
        "packages": {name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(": ")[1].strip() for line in info if "model name" in line)
    except (OSError, StopIteration):
        return platform.machine()
