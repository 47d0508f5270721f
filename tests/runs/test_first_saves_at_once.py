"""A user's first save and nobody's on one thread, at the same instant: the later is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_sessions import SessionNotFoundError, SessionSaver
from langgraph_sessions.plans import proceed
from langgraph_sessions.runs.plain import SavePlainCheckpoint
from tests.outage.backends import SERDE, checkpoint, saves, starts
from tests.sessions.at_a_time import waiting
from tests.support import PATIENCE, config, past_pooler, psycopg_pool_options, until

Connection = psycopg.Connection[Any]
METADATA: Any = {"source": "loop", "step": 0, "parents": {}}
NOBODY = config(thread_id="t", checkpoint_ns="")
ALICE = config(user_id="alice", thread_id="t", checkpoint_ns="")


def nobodys(**values: Any) -> SavePlainCheckpoint:
    """Return a save of nobody's, with these values."""
    saved = checkpoint("c0", **values)
    return SavePlainCheckpoint(NOBODY, (saved, METADATA, saved["channel_versions"]), SERDE)


MANY = {f"topic{number}": [number] for number in range(20)}  # Too many for one statement.


@contextmanager
def saved_halfway(url: str, save: Any) -> Iterator[None]:
    """Save in a transaction that is committed at the end of the block."""
    sent: Any = proceed(save.plan())
    with psycopg.connect(past_pooler(url), **psycopg_pool_options()) as conn, conn.transaction():
        for statement in getattr(sent, "statements", [sent]):
            if hasattr(statement, "rows"):
                conn.cursor().executemany(statement.sql, statement.rows)
            else:
                conn.execute(statement.sql, statement.params)
        yield


def refused(url: str, db: Connection, save: Any, use: Callable[[], Any]) -> BaseException | None:
    """Return the error of what is done while *save* is not committed, and has to wait for that."""
    with ThreadPoolExecutor() as threads:
        with saved_halfway(url, save):
            future = threads.submit(use)
            until(lambda: waiting(db) == 1 or future.done())
            assert not future.done()
        return future.exception(PATIENCE)


def owners(db: Connection) -> tuple[int, int]:
    """Return how many checkpoints and sessions there are."""
    (row,) = db.execute("""
SELECT (SELECT count(*) FROM checkpoints) AS saved, (SELECT count(*) FROM user_sessions) AS made""")
    return row["saved"], row["made"]


@pytest.mark.parametrize("mine", [{}, MANY], ids=["in one", "in several"])
@pytest.mark.parametrize("values", [{"topic": "x"}, MANY], ids=["one statement", "several"])
def test_a_session_is_not_made_over_what_nobody_is_saving(
    saver: SessionSaver, url: str, db: Connection, values: dict[str, Any], mine: dict[str, Any]
) -> None:
    """The user's first save waits, and is refused, in however many statements: it is nobody's."""

    def put() -> None:
        saved = checkpoint("c1", **mine)
        saver.put(ALICE, saved, METADATA, saved["channel_versions"])

    assert isinstance(refused(url, db, nobodys(**values), put), SessionNotFoundError)
    assert owners(db) == (1, 0)


@pytest.mark.parametrize("values", [{}, MANY], ids=["one statement", "several"])
def test_nobody_saves_to_a_thread_that_is_becoming_a_users(
    saver: SessionSaver, url: str, db: Connection, values: dict[str, Any]
) -> None:
    """Nobody's save waits, and is refused."""
    given = checkpoint("c9", **values)

    def put() -> None:
        saver.put(NOBODY, given, METADATA, given["channel_versions"])

    hers = saves(starts("a"), checkpoint("c1", topic="x"))
    assert isinstance(refused(url, db, hers, put), SessionNotFoundError)
    assert owners(db) == (1, 1)


@pytest.mark.parametrize("way", ["create", "copy"])
def test_a_session_is_not_created_over_what_nobody_is_saving(
    saver: SessionSaver, url: str, db: Connection, way: str
) -> None:
    """By an id that the caller chose, or as a copy: the id is in use."""
    saver.sessions.create_user_session("alice", thread_id="source")

    def create() -> Any:
        if way == "copy":
            return saver.copy_thread("source", "t")
        return saver.sessions.create_user_session("alice", thread_id="t")

    error = refused(url, db, nobodys(topic="x"), create)
    assert isinstance(error, ValueError)
    assert "in use" in str(error)
    assert owners(db) == (1, 1)


def test_nobodys_saves_do_not_wait_for_each_other(
    saver: SessionSaver, url: str, db: Connection
) -> None:
    """Two runs of nobody's on one thread go on side by side, as with `PostgresSaver`."""
    with saved_halfway(url, nobodys(topic="x")):
        saver.put(NOBODY, empty_checkpoint(), METADATA, {})
        assert owners(db) == (1, 0)
    assert owners(db) == (2, 0)
