"""The memory cache: bounded, written through, and never older than it says."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from langgraph_sessions import AgentSessionManager, Session
from langgraph_sessions.sessions.cache import SessionCache
from tests.support import python

NOW = datetime.now(UTC)
RENAME = (
    "import sys; from langgraph_sessions import AgentSessionManager as M;"
    "m = M(sys.argv[1]); m.update_session('alice', {'title': 'After'}); m.close()"
)


def session(number: int, title: str = "T") -> Session:
    """Make a session without a database."""
    now = datetime.now(UTC)
    return Session(number, "alice", f"t{number}", title, now, now, True, {})


def test_another_processs_change_is_seen_when_the_cache_says(url: str) -> None:
    """With a long time to live the old title is served until cleared; with 0, never."""
    patient, eager = (AgentSessionManager(url, cache_ttl=ttl) for ttl in (3600, 0))
    made = patient.create_user_session("alice", "Before")
    assert eager.get_session("alice", made.thread_id).title == "Before"
    assert python(RENAME, url).stderr == ""
    assert eager.get_session("alice", made.thread_id).title == "After"
    assert eager.get_current_user_session("alice").title == "After"
    assert eager.get_session_count() == 0
    assert patient.get_session("alice", made.thread_id).title == "Before"
    patient.clear_memory_cache()
    assert patient.get_session("alice", made.thread_id).title == "After"
    patient.close()
    eager.close()


def test_an_entry_expires() -> None:
    """What was read is gone after the time to live, counted from before the read."""
    cache = SessionCache(10, 0.05)
    cache.keep(session(1), cache.now())
    waited = threading.Event()
    while cache.get("alice", "t1") is not None:
        waited.wait(0.01)
    assert len(cache) == 0
    cache.keep(session(1), cache.now() - 1)
    assert cache.get("alice", "t1") is None


def test_it_is_bounded() -> None:
    """It never holds more than its size."""
    cache = SessionCache(10, 3600)
    for number in range(100):
        cache.wrote(session(number), cache.now())
    assert len(cache) == 10


def test_a_read_that_a_write_overtook_is_not_kept() -> None:
    """Reading began, a write came between: the older state is not put over the newer."""
    cache = SessionCache(10, 3600)
    began = cache.now()
    cache.wrote(session(1, "new"), cache.now())
    cache.keep(session(1, "old"), began)
    kept = cache.get("alice", "t1")
    assert kept is not None
    assert kept.title == "new"


def test_overlapping_writes_are_not_kept() -> None:
    """Of two writes at once nobody here knows which came last: the next read asks."""
    cache = SessionCache(10, 3600)
    first = cache.now()
    cache.wrote(session(1, "b"), cache.now())
    cache.wrote(session(1, "a"), first)
    assert cache.get("alice", "t1") is None


def test_a_session_that_was_used_is_kept_as_long_as_before() -> None:
    """It is told when it was used, and gets no older by that; which is current is forgotten."""
    cache = SessionCache(10, 3600)
    cache.keep(session(1), began := cache.now(), current=True)
    cache.touched("alice", "t1", used_at := datetime.now(UTC), cache.now())
    kept = cache.get("alice", "t1")
    assert kept is not None
    assert (kept.title, kept.updated_at) == ("T", used_at)
    assert cache.get("alice") is None
    assert cache._entries["alice", "t1"][0] == began


def test_a_session_at_which_nobody_looked_is_not_kept_when_it_is_used() -> None:
    """Nor is one that another write overlapped."""
    cache = SessionCache(10, 3600)
    cache.touched("alice", "t1", datetime.now(UTC), began := cache.now())
    assert len(cache) == 0
    cache.keep(session(1), cache.now())
    assert len(cache) == 1
    cache.touched("alice", "t1", datetime.now(UTC), began)
    assert len(cache) == 0


def test_a_session_that_was_used_later_stays_so() -> None:
    """A read that came between a save and its note may have seen another's use of it."""
    cache = SessionCache(10, 3600)
    began, before = cache.now(), datetime.now(UTC)
    cache.keep(read := session(1), cache.now())
    cache.touched("alice", "t1", before, began)
    assert cache.get("alice", "t1") == read


def test_a_session_that_was_used_is_like_any_other() -> None:
    """Its time is in UTC, wherever the database is, and its metadata are copies."""
    somewhere = datetime(2030, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
    used = Session(1, "alice", "t", "T", NOW, NOW, True, {"a": {"b": 1}}).used(somewhere)
    assert used["updated_at"] == "2030-01-01T00:00:00+00:00"
    used.metadata["a"]["b"] = 2
    assert used.metadata == {"a": {"b": 1}}


@pytest.mark.parametrize(("size", "ttl"), [(0, 5.0), (10, 0)])
def test_it_can_be_turned_off(size: int, ttl: float) -> None:
    """No size or no time to live: nothing is held."""
    cache = SessionCache(size, ttl)
    cache.wrote(session(1), cache.now())
    cache.keep(session(1), cache.now(), current=True)
    assert len(cache) == 0
    assert cache.get("alice") is None
