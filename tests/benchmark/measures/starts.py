"""CPU before the first turn, and of reads that the manager's memory answers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any, Final

from tests.benchmark import work
from tests.benchmark.bench import Bench
from tests.benchmark.entrants import Ours
from tests.benchmark.lanes import Tasks, Threads
from tests.benchmark.rounds import interleave
from tests.benchmark.tables import Table

READS: Final = 2000  # In a round.

# Each is a new interpreter's arguments.
PARENT: Final = (
    "-c",
    "import langgraph.checkpoint.postgres, langgraph.checkpoint.postgres.aio",
)
OURS: Final = ("-c", "from langgraph_sessions import *")
VERSION: Final = ("-m", "langgraph_sessions", "--version")
NOTHING: Final = ("-c", "")


def imports(bench: Bench) -> Table:
    """Measure the CPU of new interpreters that import what a program needs."""
    table = Table("CPU of a new interpreter", ["", "CPU s", "beyond the parent's import s"])
    if not bench.has_time(table, "imports", 45):
        return table
    programs: list[tuple[str, ...]] = [NOTHING, PARENT, OURS, VERSION]
    found = interleave(programs, _started, bench.rounds())
    parent = statistics.median(found[PARENT])
    for program in programs:
        seconds = statistics.median(found[program])
        table.add(" ".join(["python", *program]), seconds, seconds - parent)
    return table


def _started(arguments: tuple[str, ...]) -> float:
    """Return the seconds of CPU of an interpreter with these *arguments*."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def reads(bench: Bench) -> Table:
    """Measure reads of a session that the manager has read just before."""
    table = Table("CPU of a cached read", ["", "current session µs", "a session µs"])
    for lane in (Threads(), Tasks()):
        table.add(lane.kind, *_reads(bench, lane))
    return table


def _reads(bench: Bench, lane: Any) -> list[float]:
    (user,) = bench.users()
    with lane:
        (one,) = bench.open(lane, [Ours], work.calls)
        lane.turns(one, [user])
        manager = one.saver.sessions
        ways = ("get_current_user_session", "get_session")
        session = _called(lane, manager, 1, ways[0], user)
        args = {ways[0]: (user,), ways[1]: (user, session.thread_id)}

        def measure(way: str) -> float:
            _called(lane, manager, 1, way, *args[way])  # It is in memory for some seconds.
            began = time.process_time()
            _called(lane, manager, READS, way, *args[way])
            return (time.process_time() - began) / READS * 1e6

        found = interleave(ways, measure, bench.rounds(0.2))
    return [statistics.median(found[way]) for way in ways]


def _called(lane: Any, manager: Any, times: int, method: str, *args: str) -> Any:
    """Call a method of a manager so many times; return the last answer."""
    bound = getattr(manager, method)

    async def repeat() -> Any:
        for _ in range(times):
            answer = await bound(*args)
        return answer

    if isinstance(lane, Tasks):
        return lane.run(repeat)
    for _ in range(times):
        answer = bound(*args)
    return answer
