"""What a run's first save does in SQL is what `user_sessions_put` does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from langgraph_sessions import SessionSaver
from langgraph_sessions.sql.saving import Beside, PutSession
from tests.answering import answering
from tests.support import config

Connection = psycopg.Connection[Any]
LAST = datetime(9999, 12, 30, tzinfo=UTC)  # That Python can hold in whatever time zone.

# What happened meanwhile, in SQL; and how the save differs from a usual one.
CASES = [
    pytest.param("", {}, id="nothing"),
    pytest.param("", {"make_current": False}, id="a job"),
    pytest.param("", {"save": "mine.2", "seen": "another.1"}, id="another run saved"),
    pytest.param("UPDATE session_threads SET last_save = 'mine.0'", {}, id="it is sent again"),
    pytest.param(
        """INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata)
        VALUES ('t', '8', '{}', '{"source": "loop"}')""",
        {},
        id="a plain saver saved",
    ),
    pytest.param(
        """INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata)
        VALUES ('t', '8', '{}', '{"source": "update"}')""",
        {},
        id="the state was updated",
    ),
    pytest.param("", {"base": None}, id="from an older checkpoint"),
    pytest.param("DELETE FROM session_threads", {}, id="the thread's row is gone"),
    pytest.param("DELETE FROM user_sessions", {}, id="the session's row is gone"),
    pytest.param("UPDATE session_threads SET user_id = 'bob'", {}, id="it is another's"),
    pytest.param("", {"agent": "writer"}, id="another agent's"),
    pytest.param(
        "UPDATE user_sessions SET agent = 'writer'", {"agent": "writer"}, id="the agent's"
    ),
    pytest.param(
        """INSERT INTO user_sessions
            (id, user_id, thread_id, title, created_at, updated_at, current_at)
        VALUES (9, 'alice', 'u', 'Later', '2000-01-01', '3000-01-01', '3000-01-01')""",
        {},
        id="a time in the future",
    ),
    pytest.param(
        "UPDATE user_sessions SET updated_at = '9999-12-31Z'", {}, id="the last time there is"
    ),
    pytest.param("UPDATE user_sessions SET status = 'interrupted'", {}, id="it waited"),
    pytest.param(
        """UPDATE user_sessions SET status = 'error';
        UPDATE session_threads SET last_save = 'mine.0'""",
        {},
        id="it failed, and is sent again",
    ),
]


@pytest.mark.one_server("there the function does it")
@pytest.mark.parametrize(("meanwhile", "given"), CASES)
def test_it_does_what_the_function_does(
    url: str, db: Connection, meanwhile: str, given: dict[str, Any]
) -> None:
    """The same rows, or the same refusal; it returns what alone it changes."""
    with SessionSaver(url) as saver:
        graph = answering().compile(checkpointer=saver)
        graph.invoke({"messages": ["Hello"]}, config(user_id="alice", thread_id="t"))
    (found,) = db.execute("""
        SELECT (SELECT max(checkpoint_id) FROM checkpoints) AS base, last_save AS seen
        FROM session_threads""")
    saves = {"known": True, "checked": True, "save": "mine.1", "first": True, "own": "9"}
    put = PutSession(user_id="alice", thread_id="t", **{**found, **saves, **given})
    in_sql = replace(put, idle=True)
    assert (put.part, in_sql.part != "") == ("", True)
    assert outcome(db, meanwhile, in_sql) == outcome(db, meanwhile, put)


def outcome(db: Connection, meanwhile: str, put: PutSession) -> Any:
    """Return what *put* returns, or raises, and leaves; undo it."""
    beside, shown = Beside(put, ()), ("status", "updated_at")
    with db.transaction(force_rollback=True):
        if meanwhile:
            db.execute(meanwhile.encode())
        try:
            with db.transaction():
                (row,) = db.execute(beside.sql.encode(), beside.params)
        except psycopg.Error as error:
            return error.sqlstate
        rows = db.execute("SELECT * FROM user_sessions ORDER BY id").fetchall()
        saved = next(each for each in rows if each["thread_id"] == put.thread_id)
        saved["updated_at"] = min(saved["updated_at"], LAST)
        assert {key: row[key] for key in shown} == {key: saved[key] for key in shown}
        assert (set(row) == set(shown)) == put.touches
        return told(rows), db.execute("SELECT * FROM session_threads").fetchall()


def told(rows: list[dict[str, Any]]) -> list[Any]:
    """Return the rows of sessions, and instead of their times the order of these."""
    times = sorted({row[key] for row in rows for key in ("updated_at", "current_at") if row[key]})
    return [
        {key: times.index(value) if value in times else value for key, value in row.items()}
        for row in rows
    ]
