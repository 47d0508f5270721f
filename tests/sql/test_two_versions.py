"""Workers of two versions of the package on one database, at once.

The versions are copies of the package, each in a folder of its own, and the newer one is altered:
it has a migration more, a higher number of the functions, and a save that gives, and reads, a
key that the older one does not know.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import pytest

import langgraph_sessions
from langgraph_sessions import SessionSaver
from tests.catalogue import catalogue
from tests.support import PATIENCE, TABLES, graph_builder, texts

Db = psycopg.Connection[Any]

# A worker: turns of its users, one after another, with what else people do between them, until it
# is told to stop, which it must be before it has run 500. It says each turn that is done.
WORKER = """
import asyncio, json, logging, select, sys
import langgraph_sessions
from langgraph_sessions import AsyncSessionSaver, SessionError, SessionSaver
from tests.support import Chat

url, kind, *users = sys.argv[1:]
logging.basicConfig(stream=sys.stderr, format="%(name)s %(levelname)s %(message)s")
print(langgraph_sessions.__file__, flush=True)

async def turns(saver):
    chat = Chat(saver)
    if kind == "newer":
        saver.setup()
    for number in range(500):
        user = users[number % len(users)]
        text = f"{kind} {number}"
        await chat.say(text, user_id=user)
        if number % 4 == 0:
            thread = (await chat.current(user)).thread_id
            await chat.session("update_session", user, {"metadata": {"n": number}})
            fork = await chat.session("fork_session", user, thread)
            await chat.session("switch_session", user, thread)
            assert len(await chat.sessions(user)) >= 2
            await chat.session("delete_session", user, fork.thread_id)
        print(json.dumps([user, text]), flush=True)
        if select.select([sys.stdin], [], [], 0.05)[0]:
            return
    sys.exit("nobody was there any more")

async def work():
    if kind == "async":
        async with AsyncSessionSaver(url) as saver:
            await turns(saver)
    else:
        with SessionSaver(url) as another:
            another.sessions.count_sessions()
        with SessionSaver(url, pool_size=2) as saver:
            await turns(saver)

try:
    asyncio.run(work())
except SessionError as error:
    sys.exit(str(error))
"""
MIGRATION = """
MIGRATIONS = (*MIGRATIONS, Migration((
    "ALTER TABLE user_sessions ADD COLUMN pinned BOOLEAN NOT NULL DEFAULT FALSE",
), breaking={breaking}))
"""
READS_KEY = """BEGIN
    UPDATE user_sessions SET pinned = TRUE
    WHERE thread_id = p ->> 'thread_id' AND (p ->> 'pinned')::boolean;
"""
FUNCTIONS, PUT = Path("sql/functions/__init__.py"), Path("sql/functions/put.sql")
CALL = "user_sessions_put(%s::jsonb"


def copy(folder: Path) -> Path:
    """Copy the package into *folder*, and return where the copy is."""
    package = folder / "langgraph_sessions"
    own = Path(langgraph_sessions.__file__).parent
    shutil.copytree(own, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def alter(package: Path, *, breaking: bool) -> None:
    """Make a newer version of a copy."""
    with open(package / "sql/migrations.py", "a") as file:
        file.write(MIGRATION.format(breaking=breaking))
    replace(package / FUNCTIONS, r"(?<=FUNCTIONS_VERSION: Final = )\d+", "1000")
    replace(package / PUT, r"^BEGIN\n", READS_KEY)
    (calls,) = (path for path in package.rglob("*.py") if CALL in path.read_text())
    replace(calls, re.escape(CALL), f"""{CALL} || '{{{{"pinned": true}}}}'""")
    replace(calls, r"return first and named and .*", "return False")  # It is always called.


def replace(path: Path, what: str, by: str) -> None:
    text, count = re.subn(what, by, path.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{what} is not in {path}"
    path.write_text(text)


class Worker:
    """A process with a version of the package.

    Attributes:
        turns: What it has said of the turns that are done: of whom, and the message.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.turns: list[tuple[str, str]] = []
        tests = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{tests}"},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._in, self._out, self._err = (
            self.process.stdin,
            self.process.stdout,
            self.process.stderr,
        )
        assert self._out.readline().startswith(str(folder))

    def say(self, count: int | None = None) -> None:
        """Wait until *count* more turns are done; `None`: all of them."""
        for line in islice(self._out, count):
            self.turns.append(tuple(json.loads(line)))

    def end(self) -> str:
        """Let it stop after the turn that it is at; return what it logged."""
        with contextlib.suppress(BrokenPipeError):
            self._in.write("stop\n")
            self._in.flush()
        self.say()
        logged = self._err.read()
        self.process.wait()
        return logged


Start = Callable[..., Worker]


@pytest.fixture
def start(url: str) -> Iterator[Start]:
    """Start a worker on the test's database; none is left at the end."""
    with contextlib.ExitStack() as stack:

        def start(folder: Path, *arguments: str) -> Worker:
            worker = Worker(folder, url, *arguments)
            stack.enter_context(worker.process)
            stack.callback(worker.process.kill)
            watch = threading.Timer(10 * PATIENCE, worker.process.kill)
            stack.callback(watch.cancel)
            watch.start()
            return worker

        yield start


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The folder of the older version."""
    return copy(tmp_path / "older").parent


def newer(tmp_path: Path, *, breaking: bool) -> Path:
    """Return the folder of the newer version."""
    package = copy(tmp_path / "newer")
    alter(package, breaking=breaking)
    return package.parent


def histories(url: str, users: set[str]) -> dict[str, list[str]]:
    """Return what each user has said, in the one session that they have."""
    found = {}
    with SessionSaver(url) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        for user in users:
            (session,) = saver.sessions.list_sessions(user)
            found[user] = texts(graph.get_state(session.config))[::2]
    return found


def test_workers_of_two_versions_side_by_side(
    url: str, db: Db, older: Path, tmp_path: Path, start: Start
) -> None:
    """A newer version sets up while the older one runs: no error, and every turn is there."""
    before = [start(older, "sync", "a", "b", "c"), start(older, "async", "d", "e", "f")]
    for worker in before:
        worker.say(8)  # By now their statements are prepared.
    after = [start(newer(tmp_path, breaking=False), "newer", "g", "h")]
    after[0].say(8)
    # What the older ones run from here on, they run after the newer one's setup.
    for worker in before:
        worker.say(8)
    after.append(start(older, "sync", "i", "j"))
    after[1].say(8)
    logged = [worker.end() for worker in (*before, *after)]
    assert [worker.process.returncode for worker in (*before, *after)] == [0] * 4, logged
    assert logged[:3] == ["", "", ""]
    assert logged[3].count("\n") == 1
    assert "a newer langgraph-sessions made the database's tables" in logged[3]
    said = defaultdict(list)
    for worker in (*before, *after):
        for user, text in worker.turns:
            said[user].append(text)
    assert len(said) == 10
    assert histories(url, set(said)) == said
    pinned = db.execute("SELECT user_id FROM user_sessions WHERE pinned ORDER BY user_id")
    assert [row["user_id"] for row in pinned] == ["g", "h"]


def test_after_a_breaking_version_older_workers_do_not_start(
    url: str, db: Db, older: Path, tmp_path: Path, start: Start
) -> None:
    """An older version is refused before it has written anything, whatever it is asked first."""
    first = start(newer(tmp_path, breaking=True), "newer", "g")
    first.say(4)
    assert (first.end(), first.process.returncode) == ("", 0)

    def everything() -> list[Any]:
        return [db.execute(f"SELECT * FROM {table}".encode()).fetchall() for table in TABLES]

    rows, made = everything(), catalogue(url)
    for kind in ("sync", "async"):
        worker = start(older, kind, "g")
        assert "cannot go on with it: upgrade the package" in worker.end()
        assert (worker.process.returncode, worker.turns) == (1, [])
    assert (everything(), catalogue(url)) == (rows, made)
