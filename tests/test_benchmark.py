"""The benchmark's command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from tests import citus
from tests.benchmark.rounds import Ratio, interleave, ratio

ROOT = Path(__file__).parents[1]


def measured(server: str, file: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """Run the command quickly; return what it prints, and what it writes to *file*."""
    command = [sys.executable, "-m", "tests.benchmark", "--quick", *options]
    command += ["--limit", "600"]  # On a busy machine, too.
    done = subprocess.run(
        [*command, "--json", str(file), "--database", server],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != citus.VARIABLE},
        timeout=300,
    )
    return done.stdout, json.loads(file.read_text())


def test_a_measure_prints_a_table_and_writes_it(server: str, tmp_path: Path) -> None:
    """`--quick --only trips` prints what its JSON file says, and leaves no database behind."""
    printed, found = measured(server, tmp_path / "found.json", "--only", "trips")
    (table,) = found["tables"]
    assert table["columns"] == ["", "parent", "ours", "by hand"]
    assert found["packages"].keys() >= {"langgraph", "psycopg"}
    assert found["skipped"] == []
    name, *trips = table["rows"][0]
    assert all(isinstance(trip, int) and trip > 0 for trip in trips)
    (shown,) = [line for line in printed.splitlines() if line.strip().startswith(name)]
    assert shown.split()[-3:] == [str(trip) for trip in trips]
    with psycopg.connect(server) as conn:
        left = conn.execute("SELECT datname FROM pg_database WHERE datname LIKE 'bench%'")
        assert left.fetchall() == []


def test_many_sessions_are_as_many_as_are_asked_for(server: str, tmp_path: Path) -> None:
    """With `--sessions` the measure of many has so many, however long making them takes."""
    options = ("--only", "scale", "--sessions", "1200", "--seconds", "0.1")
    _, found = measured(server, tmp_path / "found.json", *options)
    (table,) = found["tables"]
    assert table["title"].endswith("among 1,000 sessions and among 1,200")
    assert [name for name, *_ in table["rows"]] == ["parent", "ours"]


def test_citus_is_measured_beside_one_server(cluster: str, tmp_path: Path) -> None:
    """With `--citus`, turns are timed on one PostgreSQL, and on tables over few and many shards."""
    options = ("--citus", cluster, "--sessions", "10", "--seconds", "0.1")
    _, found = measured(cluster, tmp_path / "found.json", *options)
    (table,) = found["tables"]
    names = ["one PostgreSQL", "Citus, 32 shards", "Citus, 128 shards"]
    assert [name for name, *_ in table["rows"]] == [*names, "Citus, 32 shards, 10 sessions"]


def test_entrants_take_turns() -> None:
    """Each round measures everybody once, and each second one the other way round."""
    measured: list[str] = []

    def measure(entrant: str) -> int:
        measured.append(entrant)
        return len(measured)

    found = interleave("ab", measure, seconds=0)
    assert measured == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_a_ratio_is_of_the_same_rounds() -> None:
    """A round in which the machine was slow to both says as much as any other."""
    assert ratio([2, 20, 2], [1, 10, 1]) == Ratio(median=2, error=0)
