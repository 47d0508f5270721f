"""What it costs and what it gives, against the parents, in one run.

    python -m tests.benchmark [--users 32] [--seconds 5] [--delay-ms 0]

Saver calls a second of `--users` concurrent users over a pool of 16, and whole turns a
second, each in alternating rounds so that a noisy machine is noisy to both. `--delay-ms`
puts a proxy that delays every message before the server.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

from langgraph_sessions import AsyncSessionSaver
from langgraph_sessions.embedded.server import EmbeddedServer
from langgraph_sessions.runs.request import RUNTIME_KEY
from tests.support import graph_builder, psycopg_pool_options

ROUNDS = 4
POOL = 16


async def calls(saver: Any, user: int, until: float, known: bool) -> int:
    """Count one user's saver calls, as LangGraph makes them in a turn, without the graph."""
    count = 0
    while time.perf_counter() < until:
        who = {"user_id": f"user-{user}"} if known else {}
        # What makes a config a run's own, see langgraph_sessions.runs.active.
        run = {**who, "thread_id": f"{known}-{user}", "checkpoint_ns": "", RUNTIME_KEY: None}
        config: Any = {"configurable": run}
        await saver.aget_tuple(config)
        for step in range(-1, 2):
            checkpoint = empty_checkpoint()
            await saver.aput(config, checkpoint, {"source": "loop", "step": step}, {})
            config = {"configurable": {**run, "checkpoint_id": checkpoint["id"]}}
            if step >= 0:
                await saver.aput_writes(config, [("messages", ["hello"])], f"task-{step}")
        count += 6
    return count


async def turns(saver: Any, user: int, until: float, known: bool) -> int:
    """Count the turns of a one-node graph that one user has, each in a short thread."""
    graph = graph_builder().compile(checkpointer=saver)
    count = 0
    while time.perf_counter() < until:
        thread = f"{known}-{user}-{time.perf_counter_ns()}"
        who = {"user_id": f"user-{user}"} if known else {}
        for _ in range(4):
            given = {"messages": ["hello"]}
            await graph.ainvoke(given, {"configurable": {**who, "thread_id": thread}})
            count += 1
    return count


async def rate(
    job: Callable[[Any, int, float, bool], Awaitable[int]],
    saver: Any,
    users: int,
    seconds: float,
) -> float:
    """Return how many a second *users* get done together."""
    known = isinstance(saver, AsyncSessionSaver)
    began = time.perf_counter()
    jobs = [job(saver, user, began + seconds, known) for user in range(users)]
    return sum(await asyncio.gather(*jobs)) / (time.perf_counter() - began)


class Delay:
    """A proxy before the server's socket that delays what the client sends."""

    def __init__(self, conninfo: str, folder: Path, seconds: float) -> None:
        self._socket = f"{conninfo_to_dict(conninfo)['host']}/.s.PGSQL.5432"
        self._path = folder / ".s.PGSQL.5432"
        self._seconds = seconds

    async def start(self) -> asyncio.Server:
        """Listen."""
        return await asyncio.start_unix_server(self._serve, self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = await asyncio.open_unix_connection(self._socket)
        await asyncio.gather(
            self._pump(reader, server[1], self._seconds), self._pump(server[0], writer, 0)
        )

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float
    ) -> None:
        while data := await source.read(65536):
            if seconds:
                await asyncio.sleep(seconds)
            target.write(data)
            await target.drain()
        target.close()


async def compare(conninfo: str, users: int, seconds: float) -> None:
    """Print the rates of both savers, and their ratio."""
    options = psycopg_pool_options()
    async with (
        AsyncConnectionPool(conninfo, kwargs=options, min_size=POOL, max_size=POOL) as first,
        AsyncConnectionPool(conninfo, kwargs=options, min_size=POOL, max_size=POOL) as second,
    ):
        ours, parent = AsyncSessionSaver(second), AsyncPostgresSaver(first)
        await ours.setup()
        for job, crowd in ((calls, users), (turns, users), (turns, 1)):
            rates: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(ROUNDS):
                for saver in (parent, ours):
                    rates[saver is ours].append(await rate(job, saver, crowd, seconds))
            was, now = (statistics.median(rates[key]) for key in (False, True))
            print(
                f"{job.__name__:6} a second, {crowd:2} users: "
                f"parent {was:8.1f}, ours {now:8.1f}, ratio {now / was:.2f}",
                flush=True,
            )


def wait_for_end(pid_file: Path) -> None:
    """Wait until the server, which another process stops, has removed *pid_file*."""
    while pid_file.exists():
        time.sleep(0.05)


async def main() -> None:
    """Run the benchmark on an embedded server of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each round")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lgs-") as folder:
        server = EmbeddedServer(Path(folder) / "data")
        conninfo = server.start()
        if asked.delay_ms:
            delay = await Delay(conninfo, Path(folder), asked.delay_ms / 1000).start()
            async with delay:
                await compare(make_conninfo(conninfo, host=folder), asked.users, asked.seconds)
        else:
            await compare(conninfo, asked.users, asked.seconds)
        server.release()
        await asyncio.to_thread(wait_for_end, Path(folder) / "data/data/postmaster.pid")


if __name__ == "__main__":
    asyncio.run(main())
