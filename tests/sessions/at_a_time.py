"""What tests of `exclusive` share: processes that hold a session, and who waits where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg

from langgraph_sessions import SessionSaver
from langgraph_sessions.sessions.lines import LINES
from tests.answering import FORKING
from tests.citus import waits
from tests.support import PATIENCE

Connection = psycopg.Connection[Any]


def hold(url: str, pipe: Pipe) -> None:
    """Ask for alice's current session, tell when it is had, and have it until told to go."""
    with SessionSaver(url) as saver, saver.sessions.exclusive("alice") as session:
        pipe.send(session.thread_id)
        pipe.recv()


@contextmanager
def holder(url: str) -> Iterator[tuple[Any, Pipe]]:
    """A process that asks for a session, and the pipe by which it tells when it has it."""
    ours, theirs = FORKING.Pipe()
    process = FORKING.Process(target=hold, args=(url, theirs))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


def held(pipe: Pipe) -> str:
    """Wait until the process has a session; return its thread."""
    assert pipe.poll(PATIENCE)
    return str(pipe.recv())


def waiting(db: Connection) -> int:
    """Return how many wait for a session of this database."""
    here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    return waits(db, f"locktype = 'advisory' AND database = {here}")


def connections(db: Connection) -> int:
    """Return how many connections hold a session, or wait for one."""
    statement = """
SELECT count(*) AS count FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction'"""
    (row,) = db.execute(statement).fetchall()
    return int(row["count"])


def in_line() -> int:
    """Return how many of this process stand in a line, and are not served."""
    return sum(len(line._waiting) for line in list(LINES._lines.values()))
