"""The memory cache beside plans: what is asked, what is held, what is forgotten."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from langgraph_sessions import Session, SessionNotFoundError
from langgraph_sessions.plans import Plan, proceed
from langgraph_sessions.sessions import operations
from langgraph_sessions.sessions.cache import SessionCache
from langgraph_sessions.sql.sessions import GetCurrent, GetSession
from tests.plans import play, session, session_row

GET, CURRENT = GetSession("alice", "t"), GetCurrent("alice")


@pytest.fixture
def cache() -> SessionCache:
    """A cache that holds ten sessions for an hour."""
    return SessionCache(10, 3600)


def get() -> Plan[Session]:
    return operations.get("alice", "t", None)


def current() -> Plan[Session]:
    return operations.get_current("alice", None)


def write() -> Plan[Session]:
    return operations.update("alice", {"title": "New"}, "t", None)


# --- Reading --------------------------------------------------------------------------------------


def test_a_session_is_asked_for_once(cache: SessionCache) -> None:
    """What was read is held, and nothing is asked as long as it is here."""
    played = play(cache.reading(get(), "alice", "t"), [session_row()])
    assert (played.asked, played.result) == ([GET], session())
    played = play(cache.reading(get(), "alice", "t"))
    assert (played.asked, played.result) == ([], session())


def test_while_the_database_is_away_memory_is_asked(cache: SessionCache) -> None:
    """What a run that began before the outage put here may be older than what others saved."""
    play(cache.reading(get(), "alice", "t"), [session_row()])
    played = play(cache.reading(get(), "alice", "t", durable=False), [session_row()])
    assert played.asked == [GET]


def test_the_current_session_is_held_as_that_and_by_its_thread(cache: SessionCache) -> None:
    """Reading it spares the question for both; reading one by its thread only that."""
    play(cache.reading(current(), "alice"), [session_row()])
    assert play(cache.reading(current(), "alice")).asked == []
    assert play(cache.reading(get(), "alice", "t")).asked == []
    assert len(cache) == 1
    cache.clear()
    play(cache.reading(get(), "alice", "t"), [session_row()])
    assert play(cache.reading(current(), "alice"), [session_row()]).asked == [CURRENT]


def test_a_plan_that_is_not_needed_is_closed(cache: SessionCache) -> None:
    """It is not left to the collector, half way."""
    play(cache.reading(get(), "alice", "t"), [session_row()])
    plan = get()
    play(cache.reading(plan, "alice", "t"))
    assert inspect.getgeneratorstate(plan) == inspect.GEN_CLOSED


def test_nothing_is_held_of_a_session_that_is_not_found(cache: SessionCache) -> None:
    """It may be there the next moment."""
    for _ in range(2):
        played = play(cache.reading(get(), "alice", "t"), [])
        assert played.asked == [GET]
        assert isinstance(played.error, SessionNotFoundError)
    assert len(cache) == 0


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda cache: play(cache.writing(write()), [session_row(title="New")]),
        lambda cache: play(
            cache.forgetting(operations.has("alice", None), "alice"), [{"count": 1}]
        ),
        lambda cache: play(cache.forgetting(operations.has("bob", None)), [{"count": 1}]),
        lambda cache: cache.clear(),
    ],
    ids=["written", "forgotten", "all forgotten", "cleared"],
)
def test_a_read_that_a_write_overtook_is_returned_and_not_held(
    cache: SessionCache, meanwhile: Callable[[SessionCache], Any]
) -> None:
    """The question was asked before the write, and its answer may be older."""
    plan = cache.reading(get(), "alice", "t")
    assert proceed(plan) == GET
    meanwhile(cache)
    assert proceed(plan, [session_row(title="Old")]).value == session(title="Old")  # type: ignore[union-attr]
    held = cache.get("alice", "t")
    assert held is None or held.title == "New"


# --- Writing --------------------------------------------------------------------------------------


def test_what_was_written_is_held(cache: SessionCache) -> None:
    """It is read without a question, and as it was written."""
    play(cache.reading(get(), "alice", "t"), [session_row(title="Old")])
    play(cache.writing(write()), [session_row(title="New")])
    assert play(cache.reading(get(), "alice", "t")).result.title == "New"


def test_after_a_write_another_session_may_be_current(cache: SessionCache) -> None:
    """Which one is, is asked anew; of other users it is still known."""
    play(cache.reading(current(), "alice"), [session_row()])
    play(cache.reading(operations.get_current("bob", None), "bob"), [session_row("bob", "b")])
    play(cache.writing(write()), [session_row()])
    assert play(cache.reading(current(), "alice"), [session_row()]).asked == [CURRENT]
    assert play(cache.reading(operations.get_current("bob", None), "bob")).asked == []


def test_of_two_writes_at_once_neither_is_held(cache: SessionCache) -> None:
    """Nobody here knows which came last: the next read asks."""
    first, second = cache.writing(write()), cache.writing(write())
    proceed(first)
    proceed(second)
    proceed(second, [session_row(title="Second")])
    proceed(first, [session_row(title="First")])
    assert play(cache.reading(get(), "alice", "t"), [session_row()]).asked == [GET]


# --- Forgetting -----------------------------------------------------------------------------------


def hold_two(cache: SessionCache) -> None:
    """Hold a session of alice's, and one of bob's."""
    play(cache.reading(get(), "alice", "t"), [session_row()])
    play(cache.reading(operations.get("bob", "b", None), "bob", "b"), [session_row("bob", "b")])


@pytest.mark.parametrize(("user_id", "left"), [("alice", 1), (None, 0)], ids=["a user's", "all"])
def test_what_a_plan_changed_is_forgotten(
    cache: SessionCache, user_id: str | None, left: int
) -> None:
    """A user's sessions, or all; the plan's result is returned."""
    hold_two(cache)
    plan = operations.deactivate("alice", None, None)
    assert play(cache.forgetting(plan, user_id), [{"count": 1}]).result == 1
    assert len(cache) == left
    assert cache.get("alice", "t") is None


def test_what_a_plan_may_have_changed_is_forgotten(cache: SessionCache) -> None:
    """It may be done, and the answer lost: the error is raised, and nothing held is trusted."""
    hold_two(cache)
    error = ConnectionError("gone")
    plan = operations.deactivate("alice", None, None)
    assert play(cache.forgetting(plan, "alice"), error).error is error
    assert cache.get("alice", "t") is None
    assert cache.get("bob", "b") is not None
