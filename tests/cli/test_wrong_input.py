"""Wrong input to operators' commands is told in one line, and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from langgraph_sessions import SessionSaver
from tests.catalogue import catalogue
from tests.operating import Db, Operate, contents, talk
from tests.terminal import run

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
        (["show", "alice", "none"], "user_id 'alice' has no session 'none'"),
        (["show", "alice", "bobs"], "user_id 'alice' has no session 'bobs'"),
        (["show", "alice"], "Missing argument 'THREAD'"),
        (["show", "alice", os.fsdecode(b"a\xff")], "THREAD must be valid Unicode"),
        (["rename", "alice", "bobs", "Mine"], "has no session 'bobs'"),
        (["rename", "bob", "bobs", " "], "title must not be empty or blank"),
        (["deactivate", "alice", "bobs"], "has no session 'bobs'"),
        (["deactivate", "bob"], "give either THREAD or --all"),
        (["deactivate", "bob", "bobs", "--all"], "give either THREAD or --all"),
        (["fork", "alice", "bobs"], "has no session 'bobs'"),
        (["fork", "bob", "bobs", "--checkpoint", "x"], "checkpoint_id 'x' is not in the session"),
        (["delete", "alice", "bobs", "--yes"], "has no session 'bobs'"),
        (["delete", "bob", "--yes"], "give either THREAD or --all"),
        (["adopt", "alice", "none"], "has no session 'none'"),
        (["adopt", "alice", "bobs"], "has no session 'bobs'"),
        (["purge", "--yes"], "give --idle-for, --older-than, --active or --inactive"),
        (["purge", "--idle-for", "90", "--yes"], "'90': give a time such as 30m, 12h or 90d"),
        (["purge", "--idle-for", "-1d", "--yes"], "'-1d': give a time"),
        (["purge", "--idle-for", "٣d", "--yes"], "'٣d': give a time"),
        (["purge", "--older-than", "99999999d", "--yes"], "up to 36500d"),
        (["purge", "--inactive", "--batch-size", "0", "--yes"], "'--batch-size': 0 is not in"),
        (["export", "bob", "--output", "/nonexistent/x"], "No such file or directory"),
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
    done = run("sessions", "show", "alice", "a\nb", "--database", url, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: user_id 'alice' has no session 'a\\nb'\n"


@pytest.mark.parametrize("command", [["list"], ["purge", "--active", "--yes"], ["export", "a"]])
def test_no_tables_are_made_in_a_mistyped_database(
    command: list[str], operate: Operate, empty_url: str
) -> None:
    """A command that finds no tables says so, and leaves none behind."""
    done = operate(*command, database=empty_url)
    assert (done.status, done.out) == (2, "")
    assert "are missing or out of date" in done.err
    assert not any(catalogue(empty_url).values())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["purge", "--help"], ["doctor", "-h"]])
def test_help(arguments: list[str], tmp_path: Path) -> None:
    """Help needs no database."""
    done = run("sessions", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: python -m langgraph_sessions sessions")
    assert not list(tmp_path.iterdir())
