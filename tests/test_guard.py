"""A test that is not marked `server` fails when it starts a process or connects."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.guard import StartedError, watching

NOWHERE = "host=127.0.0.1 port=1"
NOTHING = [sys.executable, "-c", ""]


async def connect_from_a_loop() -> None:
    await psycopg.AsyncConnection.connect(NOWHERE)


WAYS: dict[str, Callable[[], Any]] = {
    "subprocess": lambda: subprocess.run(NOTHING, check=True),
    "posix_spawn": lambda: os.posix_spawn(sys.executable, NOTHING, {}),
    "fork": os.fork,
    "socket": lambda: socket.create_connection(("127.0.0.1", 1)),
    "libpq": lambda: psycopg.connect(NOWHERE),
    "libpq in a loop": lambda: asyncio.run(connect_from_a_loop()),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_starts_or_connects_is_refused(way: str) -> None:
    """Before anything is started, whoever starts it is told."""
    with pytest.raises(StartedError, match="not marked `server`"), watching():
        WAYS[way]()


@pytest.mark.parametrize("way", WAYS)
def test_who_swallows_the_refusal_is_told_at_the_end(way: str) -> None:
    """Neither another thread nor an `except` hides it."""
    with pytest.raises(StartedError), watching(), ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(WAYS[way]).exception(), StartedError)


def test_what_an_earlier_tests_thread_does_is_not_this_tests() -> None:
    """Who left a thread behind is not found out by those who come after."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(bool).result()
        with watching(), pytest.raises(psycopg.OperationalError):
            pool.submit(psycopg.connect, NOWHERE).result()


TESTS = """
import subprocess, sys
import pytest

def start():
    subprocess.run([sys.executable, "-c", ""], check=True)

@pytest.fixture(scope="session")
def started():
    start()

@pytest.fixture
def own():  # As a fixture that starts a server is called.
    start()

def test_by_itself():
    start()

def test_by_a_fixture(started):
    pass

def test_by_a_fixture_that_is_known(own):
    start()

@pytest.mark.server
def test_that_says_so():
    start()

def test_innocent():
    pass
"""


@pytest.mark.server
def test_what_is_watched_are_unmarked_tests_and_their_fixtures(tmp_path: Path) -> None:
    """Who uses a fixture that starts a server, or says so, may start; the others fail."""
    (tmp_path / "test_some.py").write_text(TESTS)
    root = Path(__file__).parents[1]
    options = ["-c", str(root / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    options += ["-n", "0", "-rA"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^([A-Z]+) test_some.py::test_(\w+)", ended.stdout, re.MULTILINE)
    assert sorted(found) == [
        ("ERROR", "by_a_fixture"),
        ("FAILED", "by_itself"),
        ("PASSED", "by_a_fixture_that_is_known"),
        ("PASSED", "innocent"),
        ("PASSED", "that_says_so"),
    ]
