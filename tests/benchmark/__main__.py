"""The benchmark's command: `python -m tests.benchmark --help`."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import tests.benchmark as package
from tests import citus
from tests.benchmark.bench import Bench
from tests.benchmark.databases import Databases, server
from tests.benchmark.measures import ELSEWHERE, MEASURES, QUICK
from tests.benchmark.meters import Meter
from tests.benchmark.tables import Table, environment

# Seconds for all of it, but for what starting and stopping take, so that it is done in ten
# minutes or in one; and for the rounds of a row. Whole, and quick.
LIMITS: Final = (570.0, 45.0)
SECONDS: Final = (5.0, 1.0)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmark",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="the main rows, in a minute")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--only", action="append", choices=MEASURES, metavar="NAME", help=", ".join(MEASURES)
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables there, too")
    parser.add_argument("--database", metavar="URL", help="a server, by default one of its own")
    which.add_argument(
        "--citus", metavar="URL", help="a coordinator of Citus: what turns take there, and no more"
    )
    parser.add_argument("--seconds", type=float, help="for the rounds of a row")
    parser.add_argument(
        "--sessions",
        type=int,
        help="for `scale`, which else has what is made in 45 seconds, and Citus",
    )
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="for all of it")
    return parser.parse_args()


def main() -> None:
    """Run the measures that are asked for, and print their tables."""
    began = time.monotonic()
    asked = arguments()
    signal.signal(signal.SIGTERM, _stop)  # So that the server is stopped, too.
    if asked.citus:
        os.environ[citus.VARIABLE] = asked.citus  # By which all nodes are found.
    gc.freeze()  # So that collecting garbage before each round is soon done.
    with server(asked.database or asked.citus) as conninfo:
        about = environment(conninfo)
        for key, value in about.items():
            print(f"{key + ':':12}{_text(value)}")
        databases = Databases(conninfo)
        with closing(databases), closing(Meter(conninfo)) as meter:
            bench = Bench(
                conninfo=conninfo,
                databases=databases,
                meter=meter,
                quick=asked.quick,
                seconds=asked.seconds or SECONDS[asked.quick],
                sessions=asked.sessions,
                citus=asked.citus,
                deadline=began + (asked.limit or LIMITS[asked.quick]),
            )
            tables = measure(bench, _names(asked))
    print(f"\n{time.monotonic() - began:.0f} s")
    for name in bench.skipped:
        print(f"No time was left for {name}")
    if asked.json:
        del about["at"]  # A file that is kept tells what it was measured on, and not when.
        found = {**about, "quick": asked.quick, "skipped": bench.skipped}
        content = {**found, "tables": [table.as_json() for table in tables]}
        asked.json.write_text(json.dumps(content, indent=1, ensure_ascii=False))


def _names(asked: argparse.Namespace) -> Any:
    if asked.citus:
        return ELSEWHERE
    return asked.only or (QUICK if asked.quick else MEASURES)


def measure(bench: Bench, names: Any) -> list[Table]:
    """Run the measures of these *names*; print each table as it is done."""
    tables = []
    for name in names:
        table = {**MEASURES, **ELSEWHERE}[name](bench)
        print(f"\n{table}", flush=True)
        tables.append(table)
    return tables


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return str(value)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(1)


if __name__ == "__main__":
    main()
