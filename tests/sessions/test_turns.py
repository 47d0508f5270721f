"""Runs that wait for each other, as plans: what is locked, and for how long."""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg
import pytest

from langgraph_sessions import SessionNotFoundError
from langgraph_sessions.plans import Execute
from langgraph_sessions.sessions.exclusive import Turn
from langgraph_sessions.sql.opening import OpenCurrent, OpenThread
from langgraph_sessions.sql.sessions import LockSession, SetLockTimes
from tests.plans import opened, play, session, session_row


def factory(user_id: str) -> str:
    """Stand for `thread_id_factory`, which no case here asks."""
    raise AssertionError


def turn(thread_id: object = None, timeout: object = None) -> Turn:
    """Return a wait for a session of alice's."""
    return Turn("alice", thread_id, timeout, factory, None)


def test_the_session_is_the_one_that_a_run_would_go_to() -> None:
    """The current one, or a certain one of the user's."""
    played = play(turn().find(), [opened(session_row())])
    assert (played.asked, played.result) == ([OpenCurrent(user_id="alice")], session())
    played = play(turn("t").find(), [opened(session_row("bob"))])
    assert played.asked == [OpenThread(user_id="alice", thread_id="t")]
    assert isinstance(played.error, SessionNotFoundError)


def test_a_lock_is_a_transactions() -> None:
    """Without a timeout it is waited for as long as it takes."""
    assert play(turn().lock(session(), "public"), [], [], []).asked == [
        Execute("BEGIN"),
        SetLockTimes("0ms"),
        LockSession("public", "alice", "t"),
    ]


@pytest.mark.parametrize(("timeout", "most"), [(0, 1), (0.5, 500), (60, 60_000)])
def test_what_is_left_of_the_time_is_waited(timeout: float, most: int) -> None:
    """In milliseconds, of which 0 would be for ever."""
    _, times, _ = play(turn(timeout=timeout).lock(session(), "public"), [], [], []).asked
    assert 1 <= int(times.milliseconds.removesuffix("ms")) <= most


def test_a_session_that_is_not_free_in_time_is_told() -> None:
    """The error names the session, and the time."""
    refused = psycopg.errors.LockNotAvailable("canceling statement due to lock timeout")
    error = play(turn(timeout=1).lock(session(), "public"), [], [], refused).error
    assert isinstance(error, TimeoutError)
    assert str(error) == "session 't' was not free within 1.0 seconds"


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(-1, ValueError), (10**7, ValueError), (float("nan"), ValueError), ("1", TypeError)],
    ids=repr,
)
def test_a_wrong_timeout_is_named(timeout: Any, error: type[Exception]) -> None:
    """Before anything is asked."""
    with pytest.raises(error, match="timeout"):
        turn(timeout=timeout)


def test_a_locks_key_is_of_a_hash_that_cannot_be_inverted() -> None:
    """It begins a SHA-256 of schema, user and thread id, so that nobody makes up another."""
    digest = hashlib.sha256(b"langgraph_sessions\0public\0alice\0t").digest()
    assert LockSession("public", "alice", "t").params == {
        "key": int.from_bytes(digest[:8], "big", signed=True)
    }
    others = [("public", "bob", "t"), ("tenant", "alice", "t"), ("public", "alice", "u")]
    keys = {str(LockSession(*other).params) for other in others}
    assert len(keys | {str(LockSession("public", "alice", "t").params)}) == 4
