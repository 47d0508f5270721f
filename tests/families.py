"""Programs that use a saver and fork, each run in a process of its own, which prints results."""

from __future__ import annotations

import asyncio
import atexit
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.citus import waits
from tests.support import config, graph_builder, psycopg_pool_options, stream, until

SECONDS = 30  # What is longer hangs.
REFUSED = (
    "SessionError: this saver was opened before the process was forked, and connections cannot "
    "be shared with a parent: make, or first use, one in each worker"
)


def said(state: Any) -> int:
    """Return how many messages a state has."""
    return len(state["messages"])


class Talker:
    """A saver made before a fork, and what the parent and its children do with it."""

    def __init__(self, is_async: bool, kind: str, where: str) -> None:
        """Make it, and the caller's pool if that is the kind; nothing is opened."""
        self.loop = asyncio.new_event_loop() if is_async else None
        self.pool: Any = None
        conn: dict[str, Any] = {"path": where} if kind == "path" else {"conn": where}
        if kind == "pool":
            made: Any = AsyncConnectionPool if is_async else ConnectionPool
            self.pool = made(where, kwargs=psycopg_pool_options(), min_size=1, open=False)
            conn = {"conn": self.pool}

        async def make() -> AsyncSessionSaver:
            return AsyncSessionSaver(**conn, retry_for=0.2)

        self.saver: Any = self.run(make()) if is_async else SessionSaver(**conn, retry_for=0.2)
        self.graph = graph_builder().compile(checkpointer=self.saver)

    def run(self, result: Any) -> Any:
        """Return *result*, or what it comes to in the loop."""
        return result if self.loop is None else self.loop.run_until_complete(result)

    def open(self) -> None:
        """Open the caller's pool, if there is one and it is closed."""
        if self.pool is not None and self.pool.closed:
            self.run(self.pool.open())

    def say(self, user: str) -> int:
        """Run a turn of the user's; return how many messages there are then."""
        invoke = self.graph.invoke if self.loop is None else self.graph.ainvoke
        return said(self.run(invoke({"messages": ["hi"]}, config(user_id=user))))

    def close(self) -> None:
        """Close the saver, and the caller's pool."""
        self.run(self.saver.close())
        if self.pool is not None:
            self.run(self.pool.close())

    def child(self, user: str) -> str:
        """Be a child: two turns, in a loop of its own, and the end."""
        self.parents_loop = self.loop  # Not collected here.
        if self.loop is not None:
            self.loop = asyncio.new_event_loop()
        self.open()
        try:
            answer = f"{self.say(user)} {self.say(user)}"
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
            self.run(self.saver.close())
        else:
            self.close()
            assert self.saver.conn.closed
        return answer


def fork(function: Callable[[], str], way: str) -> Callable[[], str]:
    """Call *function* in a forked child; return what waits for its answer."""
    reader, writer = os.pipe()

    def report() -> None:
        try:
            answer = function()
        except BaseException as error:
            answer = f"the child failed: {type(error).__name__}: {error}"
        os.write(writer, answer.encode())

    if way == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=report)
        process.start()
        assert process.pid is not None
        pid = process.pid

        def ended() -> int | None:
            process.join()
            return process.exitcode

    else:
        pid = os.fork()

        def ended() -> int | None:
            return os.waitpid(pid, 0)[1]

        if pid == 0:
            report()
            if way == "os.fork":
                sys.exit(0)  # With all that a program does at its end.
            # All but the collection of the parent's event loop, which takes that from the parent:
            # its epoll is shared, epoll(7).
            atexit._run_exitfuncs()
            os._exit(0)
    os.close(writer)
    return lambda: _answer(pid, reader, ended)


def _answer(pid: int, reader: int, ended: Callable[[], int | None]) -> str:
    """Return a child's answer when it has ended, or that it hangs."""
    answered, _, _ = select.select([reader], [], [], SECONDS)
    answer = os.read(reader, 10_000).decode() if answered else "no answer"
    closed, _, _ = select.select([reader], [], [], SECONDS)  # Its end closes the pipe.
    if not closed:
        os.kill(pid, signal.SIGKILL)
        answer += ", and hangs"
    status = ended()
    os.close(reader)
    return answer if status == 0 else f"{answer}, and ended with {status}"


def family(is_async: bool, kind: str, opened: str, way: str, where: str) -> None:
    """Print what three workers, alive at once, and their parent came to."""
    talker = Talker(is_async, kind, where)
    before = []
    if opened != "unopened":
        talker.open()
    if opened == "used":
        before = [talker.say("parent")]
    children = [fork(lambda n=n: talker.child(f"child-{n}"), way) for n in range(3)]  # type: ignore[misc]
    talker.open()
    meanwhile = [talker.say("parent")]
    answers = [answer() for answer in children]
    print(json.dumps([answers, before + meanwhile + [talker.say("parent")]]), flush=True)
    talker.close()


def outage(is_async: bool, opened: str, way: str, where: str) -> None:
    """Print what a child, forked while the database is away, and its parent came to."""
    talker = Talker(is_async, "url", where)
    if opened == "used":
        talker.say("somebody")
    ask("stop")
    held = talker.say("parent")
    answer = fork(lambda: talker.child("parent"), way)()
    ask("start")
    durable = asyncio.to_thread if is_async else _call
    talker.run(durable(until, lambda: talker.saver.durable))
    print(json.dumps([answer, held, talker.say("parent")]), flush=True)
    talker.close()


def ask(what: str) -> None:
    """Have the test do something to the server."""
    print(what, flush=True)
    sys.stdin.readline()


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def opening(where: str) -> None:
    """Print what a child, forked while another thread opens the saver, came to."""
    saver = SessionSaver(where)
    with psycopg.connect(where) as blocker:
        blocker.execute("LOCK TABLE checkpoint_migrations")
        opener = threading.Thread(target=saver.sessions.count_sessions)
        opener.start()
        with psycopg.connect(where, autocommit=True) as looker:
            until(lambda: waits(looker) > 0)

        def child() -> str:
            try:
                return str(saver.sessions.count_sessions())
            except Exception as error:
                return f"{type(error).__name__}: {error}"

        answer = fork(child, "os.fork and os._exit")()
        blocker.rollback()
        opener.join()
    print(json.dumps([answer, saver.sessions.count_sessions()]), flush=True)
    saver.close()


def from_threads(used: bool, where: str) -> None:
    """Print what the sync methods of an async saver came to in a child."""
    talker = Talker(True, "url", where)
    if used:
        talker.say("parent")

    def child() -> str:
        try:
            return str(talker.graph.invoke({"messages": ["hi"]}, config(user_id="child")))
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    answer = fork(child, "os.fork and os._exit")()
    print(json.dumps([answer, talker.say("parent")]), flush=True)
    talker.close()


@contextmanager
def program(call: str) -> Iterator[subprocess.Popen[str]]:
    """Run a function of this module in a new process; whatever it leaves is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"from tests import families; families.{call}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[1],
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def told(call: str, **may_ask: Callable[[], object]) -> Any:
    """Return what a function of this module prints, as JSON, in a process of its own."""
    with program(call) as process:
        for word, do in may_ask.items():
            assert stream(process.stdout).readline().strip() == word
            do()
            stream(process.stdin).write("done\n")
            stream(process.stdin).flush()
        out, err = process.communicate(timeout=2 * SECONDS)
        # A forking process with threads is warned of by Python 3.12.
        errors = [line for line in err.splitlines() if "DeprecationWarning" not in line]
        assert process.returncode == 0, err
        assert not [line for line in errors if "Error" in line], err
    return json.loads(out)


FORKS = pytest.mark.parametrize(
    ("is_async", "way"),
    [
        (False, "os.fork"),
        (True, "multiprocessing"),
        pytest.param(False, "multiprocessing", marks=pytest.mark.long),
        pytest.param(True, "os.fork and os._exit", marks=pytest.mark.long),
    ],
)
ENDS = pytest.mark.parametrize(
    ("is_async", "way"), [(False, "os.fork"), (True, "os.fork and os._exit")]
)
