"""Wrong input to operators' commands is told in one line, and changes nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from langgraph_sessions import SessionSaver
from tests.catalogue import catalogue
from tests.operating import Db, Operate, contents, talk
from tests.terminal import COMMAND, environment, run

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["list", "--limit", "0"], "0 is not in the range 1<=x<=1000"),
        (["list", "--limit", "1000000"], "1000000 is not in the range"),
        (["list", "--status", "asleep"], "'asleep' is not one of"),
        (["list", "--cursor", "nonsense"], "cursor must be the next_cursor"),
        (["list", "--user", " "], "--user must not be empty or blank"),
        (["list", "--title", "a" * 256], "title must have at most 255 characters"),
        (["list", "--csv", "--json"], "give either --csv or --json"),
        (["show", "none"], 'no session has a thread id that is, or begins with, "none"'),
        (["show", "99999999999999999999"], "no session has the number, or the thread id, 9999"),
        (["show", "bobs", "--user", "alice"], "no session of alice has a thread id that is, or"),
        (["show", "bobs", "--markdown", "--json"], "give either --markdown or --json"),
        (["show"], "Missing argument 'THREAD'"),
        (["show", ""], "THREAD must not be empty or blank"),
        (["show", os.fsdecode(b"a\xff")], "THREAD must be valid Unicode"),
        (["rename", "bobs", "Mine", "--user", "alice"], "no session of alice has"),
        (["rename", "bobs", " "], "title must not be empty or blank"),
        (["deactivate", "bobs", "--user", "alice"], "no session of alice has"),
        (["deactivate"], "give either THREAD or --all"),
        (["deactivate", "bobs", "--all"], "give either THREAD or --all"),
        (["deactivate", "--all"], "--all is for one user: give --user"),
        (["fork", "none"], "no session has a thread id"),
        (["fork", "bobs", "--checkpoint", "x"], "checkpoint_id 'x' is not in the session"),
        (["checkpoints", "none"], "no session has a thread id"),
        (["checkpoints", "bobs", "--limit", "0"], "0 is not in the range"),
        (["checkpoints", "bobs", "--before", "x"], "before 'x' is not a checkpoint of the session"),
        (["delete", "none", "--yes"], "no session has a thread id"),
        (["delete", "--yes"], "give either THREAD or --all"),
        (["delete", "--all", "--yes"], "--all is for one user: give --user"),
        (["transfer", "bob", "bob"], 'FROM and TO are the same user, "bob"'),
        (["transfer", "bob", " "], "TO must not be empty or blank"),
        (["transfer", "alice", "bob", "--thread", "bobs"], "no session of alice has"),
        (["adopt", "none", "--user", "alice"], 'there is no thread "none"'),
        (["adopt", "bobs", "--user", "alice"], 'thread "bobs" is a session of bob already'),
        (["adopt", "bobs"], "Missing option '--user'"),
        (["purge", "--yes"], "give --idle-for, --older-than, --unused, --active or --inactive"),
        (["purge", "--idle-for", "90", "--yes"], "'90': give a time such as 30m, 12h, 90d or 3w"),
        (["purge", "--idle-for", "3M", "--yes"], "'3M': give a time"),
        (["purge", "--idle-for", "-1d", "--yes"], "'-1d': give a time"),
        (["purge", "--idle-for", "٣d", "--yes"], "'٣d': give a time"),
        (["purge", "--older-than", "99999999d", "--yes"], "up to 36500d"),
        (["purge", "--inactive", "--batch-size", "0", "--yes"], "'--batch-size': 0 is not in"),
        (
            ["export", "bob", "--output", "/nonexistent/x"],
            "cannot write /nonexistent/x: No such file or directory",
        ),
        (["export", "bob", "--output", "/"], "'/' is a directory"),
        (["backfill", "extra"], "unexpected extra argument (extra)"),
    ],
)
def test_wrong_input(
    arguments: list[str], told: str, operate: Operate, saver: SessionSaver, db: Db
) -> None:
    """Wrong input gets one line on standard error and status 2, and changes nothing."""
    talk(saver, "bob", "Mine", thread_id="bobs")
    before = contents(db)
    done = operate(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert told in done.err
    assert contents(db) == before


def test_wrong_input_as_a_program(saver: SessionSaver, url: str, tmp_path: Path) -> None:
    """In a process of its own, too: one line, status 2, no traceback."""
    done = run("sessions", "show", "a\nb", "--database", url, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    database, error = done.stderr.splitlines()
    assert database.startswith("Database: PostgreSQL at ")
    assert error == 'Error: no session has a thread id that is, or begins with, "a b"'


@pytest.mark.parametrize("arguments", [["list"], ["export", "alice"], ["doctor"]])
def test_a_full_disk_is_told_in_words(
    arguments: list[str], saver: SessionSaver, url: str, tmp_path: Path
) -> None:
    """What cannot be printed is an error in one line, without the system's number for it."""
    talk(saver, "alice", "Hello")
    with open("/dev/full", "w") as full:
        done = in_shell(arguments, url, tmp_path, stdout=full)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == ["Error: No space left on device"]


@pytest.mark.parametrize("arguments", [["list"], ["export", "alice"], ["doctor"]])
def test_a_closed_standard_output_is_no_output(
    arguments: list[str], saver: SessionSaver, url: str, tmp_path: Path
) -> None:
    """A command that some scheduler runs without one does what it does, and prints nothing."""
    talk(saver, "alice", "Hello")
    done = in_shell(arguments, url, tmp_path, then=">&-")
    assert (done.returncode, done.stdout) == (0, "")
    assert len(done.stderr.splitlines()) == 1


def in_shell(
    arguments: list[str], url: str, folder: Path, then: str = "", **streams: Any
) -> subprocess.CompletedProcess[str]:
    """Run an operator's command by a shell, with *then* behind it."""
    command = f"{shlex.join([*COMMAND, 'sessions', *arguments])} {then}"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment(DATABASE_URL=url),
        check=False,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )


@pytest.mark.parametrize("command", [["list"], ["purge", "--active", "--yes"], ["export", "a"]])
def test_no_tables_are_made_in_a_mistyped_database(
    command: list[str], operate: Operate, empty_url: str
) -> None:
    """A command that finds no tables says so, and leaves none behind."""
    done = operate(*command, database=empty_url)
    assert (done.status, done.out) == (2, "")
    assert "it has no tables of langgraph-sessions" in done.err
    assert 'langgraph-sessions sessions setup" makes them' in done.err
    assert 'langgraph-sessions sessions backfill" also sessions of the threads' in done.err
    assert not any(catalogue(empty_url).values())


def test_a_database_of_an_older_tools_is_not_called_empty(operate: Operate, empty_url: str) -> None:
    """What is there is said, and what the set-up does with it."""
    with psycopg.connect(empty_url) as conn:
        conn.execute("CREATE TABLE user_sessions (id SERIAL PRIMARY KEY, user_id TEXT)")
    done = operate("list", database=empty_url)
    assert (done.status, done.out) == (2, "")
    assert "its table user_sessions is not one of this package's" in done.err
    assert "empty" not in done.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["purge", "--help"], ["doctor", "-h"]])
def test_help(arguments: list[str], tmp_path: Path) -> None:
    """Help needs no database."""
    done = run("sessions", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: python -m langgraph_sessions sessions")
    assert not list(tmp_path.iterdir())
