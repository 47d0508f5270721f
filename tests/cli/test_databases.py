"""Which database a command is on: it says so, and makes none where it only looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from langgraph_sessions import SessionSaver
from tests.catalogue import catalogue
from tests.operating import Db, Operate, psql, talk
from tests.terminal import run

pytestmark = pytest.mark.server

LOOKING = [
    ["list"],
    ["show", "x"],
    ["export", "alice"],
    ["backfill"],
    ["doctor"],
    ["purge", "--active"],
]


@pytest.mark.parametrize("command", LOOKING, ids=lambda command: command[0])
def test_a_command_that_looks_makes_no_server(command: list[str], tmp_path: Path) -> None:
    """Where there is neither URL nor server, one line says so, and no folder is left behind."""
    done = run("sessions", *command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: there is no database: give --database URL, set DATABASE_URL, or go to a folder "
        "with .langgraph-sessions/ in it\n"
    )
    assert not list(tmp_path.iterdir())


def test_setup_makes_a_server_which_others_then_find(tmp_path: Path) -> None:
    """`setup` is asked for one; after it, looking is possible."""
    made = run("sessions", "setup", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, "The tables are there, and up to date.\n")
    assert made.stderr == (
        "Database: the embedded PostgreSQL, in .langgraph-sessions/ of this folder\n"
    )
    listed = run("sessions", "list", cwd=tmp_path)
    assert (listed.returncode, listed.stdout, listed.stderr) == (0, "No sessions.\n", made.stderr)


@pytest.mark.one_server("it makes one server's tables")
def test_setup_makes_the_tables_of_a_url(operate: Operate, empty_url: str, url: str) -> None:
    """As a saver's set-up does; again, it changes nothing."""
    for _ in range(2):
        assert operate("setup", database=empty_url).status == 0
        assert catalogue(empty_url) == catalogue(url)


def test_every_command_says_which_database_it_is_on(
    operate: Operate, saver: SessionSaver, db: Db
) -> None:
    """By host and name, without its password, whatever it prints else."""
    talk(saver, "alice", "Rome", thread_id="t")
    for command in (["list", "--json"], ["show", "t"], ["rename", "t", "x"], ["show", "none"]):
        database = operate(*command).database
        assert database is not None
        assert database.endswith(f"database {db.info.dbname}")
    done = operate("list", database="postgresql://me:secret@127.0.0.1:1/app")
    assert (done.status, done.database) == (2, "PostgreSQL at 127.0.0.1, port 1, database app")
    assert "secret" not in done.err


def test_what_the_url_leaves_out_is_told_as_libpq_takes_it(
    operate: Operate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host and the database of the environment, as errors and reprs of savers have them."""
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATABASE", "app")
    done = operate("list", database="postgresql://")
    assert (done.status, done.database) == (2, "PostgreSQL at 127.0.0.1, port 1, database app")


def test_older_tables_are_told_from_none(operate: Operate, url: str, db: Db) -> None:
    """What is to be done is the same, and how the database is, is not."""
    psql(url, "DELETE FROM user_sessions_functions")
    done = operate("list")
    assert (done.status, done.out) == (2, "")
    assert "its tables are of an older version of this package" in done.err
    assert operate("setup").status == 0
    assert operate("list").status == 0
