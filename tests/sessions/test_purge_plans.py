"""Retention as plans: which sessions are left alone, and in which order the rest is locked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from langgraph_sessions.sessions.deletion import TABLES
from langgraph_sessions.sessions.retention import Purge, PurgeBatch, is_in_use, since_saved, waits
from langgraph_sessions.sql.deletion import (
    DeleteRows,
    DeleteSessions,
    ForgetReserved,
)
from langgraph_sessions.sql.retention import (
    LockOldSessions,
    OldSessions,
    ThreadStates,
)
from tests.plans import Row, play

DAY = timedelta(days=1)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def state(ago: timedelta = 2 * DAY, **said: Any) -> Row:
    """Return how a thread stands: at rest, if not *said*, its last checkpoint so long *ago*."""
    at_rest: Row = {"status": "idle", "tasks": 0, "is_answered": False, "has_failed": False}
    at_rest |= {"is_used": True}
    at_rest |= {"written": 0, "saved_at": (NOW - ago).isoformat(), "now": NOW}
    return {"thread_id": "t", **at_rest, **said}


def at_work(ago: timedelta = DAY / 2, **said: Any) -> Row:
    """Return how a thread stands whose last checkpoint was saved within a day."""
    return state(ago, **said)


# --- What is left alone -------------------------------------------------------------------------

# How the thread stands, whether a run is at work, whether it waits for somebody.
STATES = [
    pytest.param(at_work(), False, False, id="at rest"),
    pytest.param(at_work(status="error"), False, False, id="failed"),
    pytest.param(at_work(tasks=1), True, False, id="a task under way"),
    pytest.param(at_work(tasks=2, written=2), True, False, id="tasks that wrote, and go on"),
    pytest.param(state(tasks=1), False, False, id="a static breakpoint, old"),
    pytest.param(at_work(status="error", tasks=1, written=1), False, False, id="failed for good"),
    pytest.param(at_work(tasks=1, written=1, has_failed=True), False, False, id="was stopped"),
    pytest.param(at_work(tasks=2, written=1, has_failed=True), True, False, id="is being stopped"),
    pytest.param(
        state(tasks=2, written=1, has_failed=True),
        False,
        False,
        id="was stopped beside one, old",
    ),
    pytest.param(
        at_work(status="error", tasks=2, written=1), True, False, id="failed beside one under way"
    ),
    pytest.param(
        state(status="error", tasks=2, written=1),
        False,
        False,
        id="failed beside one, old",
    ),
    pytest.param(at_work(status="interrupted", tasks=1, written=1), False, True, id="asks"),
    pytest.param(
        state(status="interrupted", tasks=1, written=1),
        False,
        True,
        id="asks, old",
    ),
    pytest.param(
        at_work(status="interrupted", tasks=1, written=1, is_answered=True),
        True,
        True,
        id="was just answered",
    ),
    pytest.param(
        at_work(status="interrupted", tasks=2, written=1),
        True,
        True,
        id="asks beside one under way",
    ),
    pytest.param(
        at_work(status="interrupted", tasks=0, is_answered=True), False, True, id="asks, no tasks"
    ),
]


@pytest.mark.parametrize(("stands", "in_use", "waiting"), STATES)
def test_who_is_at_work_and_who_waits(stands: Row, in_use: bool, waiting: bool) -> None:
    """A run at work has tasks to come, and saved within a day; what waits is of whatever age."""
    assert (is_in_use(stands), waits(stands)) == (in_use, waiting)


# --- A batch ------------------------------------------------------------------------------------


def batch(**options: Any) -> PurgeBatch:
    """Return a batch of two of sessions idle for a day."""
    given: dict[str, Any] = {"idle_for": DAY, "older_than": None, "active": None, "after": 5}
    return PurgeBatch(**{**given, "interrupted": False, "dry_run": False, "limit": 3, **options})


OLD = OldSessions(idle_for=DAY, older_than=None, active=None, after=5, limit=3)
LOCK = LockOldSessions(ids=[6, 8, 9], idle_for=DAY, active=None)
FOUND = [{"id": 6}, {"id": 8}, {"id": 9}]
LOCKED = [{"thread_id": "a"}, {"thread_id": "b"}]
STATES_OF_LOCKED = [state(thread_id="a"), state(thread_id="b", status="interrupted")]
DELETED = [[{"thread_id": "a", "user_id": "alice"}], [], []]


def test_a_batch_locks_looks_and_deletes_in_the_order_of_saves() -> None:
    """Sessions that can be locked, with their threads; how they stand then; and all goes."""
    played = play(batch().plan(), FOUND, LOCKED, STATES_OF_LOCKED, *DELETED)
    find, lock, look, *rest = played.asked
    assert (find, lock, look) == (OLD, LOCK, ThreadStates(["a", "b"]))
    sessions, reserved, rows = rest
    assert sessions == DeleteSessions(["a"], None)
    assert reserved == ForgetReserved(["alice"], ["a"])
    assert rows.statements == [DeleteRows(table, ["a"]) for table in TABLES]
    assert played.result == (9, 1, 2)


def test_a_dry_run_looks_and_deletes_nothing() -> None:
    """It counts what would go, after the same look."""
    played = play(batch(dry_run=True).plan(), FOUND, LOCKED, STATES_OF_LOCKED)
    assert played.asked == [OLD, LOCK, ThreadStates(["a", "b"])]
    assert played.result == (9, 1, 2)


def test_what_waits_goes_where_it_is_asked_for_and_what_is_in_use_never() -> None:
    """`interrupted=True` takes sessions that wait, but none with a run at work."""
    busy = at_work(thread_id="c", status="interrupted", tasks=2, written=1)
    answers = [FOUND, LOCKED, [*STATES_OF_LOCKED, busy]]
    given: dict[str, Any] = {"idle_for": None, "active": True, "dry_run": True}
    assert play(batch(**given, interrupted=True).plan(), *answers).result == (9, 2, 1)
    assert play(batch(**given).plan(), *answers).result == (9, 1, 2)


def test_idle_is_what_saved_no_checkpoint_for_as_long() -> None:
    """A session used long ago whose checkpoints are newer is not old enough: it counts nowhere."""
    for ago, purged in ((DAY, 1), (DAY / 2, 0), (-DAY, 0)):
        answers = [FOUND[:1], LOCKED[:1], [state(ago)]]
        assert play(batch(dry_run=True).plan(), *answers).result == (6, purged, 0)
        assert play(batch(dry_run=True, idle_for=None).plan(), *answers).result == (6, 1, 0)


def test_unused_is_what_nothing_was_said_in_since_it_was_found() -> None:
    """A session that was used meanwhile is not meant, and counts nowhere."""
    for unused, is_used, purged in ((True, False, 1), (True, True, 0), (False, False, 0)):
        answers = [FOUND[:1], LOCKED[:1], [state(is_used=is_used)]]
        given: dict[str, Any] = {"dry_run": True, "unused": unused}
        assert play(batch(**given).plan(), *answers).result == (6, purged, 0)


@pytest.mark.parametrize("saved_at", [None, "", "infinity", "2026-99-99", "soon", "12:00"])
def test_a_checkpoint_without_a_time_ends_no_purge(saved_at: str | None) -> None:
    """When the session was used counts alone, and no run is taken to be at work."""
    stands = state(saved_at=saved_at, tasks=1)
    assert (since_saved(stands), is_in_use(stands)) == (None, False)
    answers = [FOUND[:1], LOCKED[:1], [stands]]
    assert play(batch(dry_run=True).plan(), *answers).result == (6, 1, 0)


def test_times_are_read_with_and_without_a_zone() -> None:
    """One to come counts as now, so that clocks that differ a little do no harm."""
    ages = {"2026-01-01T00:00:00": DAY, "2026-01-01T01:00:00+01:00": DAY, "9999-12-31": 0 * DAY}
    for saved_at, age in ages.items():
        assert since_saved(state(saved_at=saved_at)) == age


def test_a_batch_of_nothing_is_the_last() -> None:
    """Where no session is old enough, nothing is locked."""
    played = play(batch().plan(), [])
    assert (played.asked, played.result) == ([OLD], None)
    assert PurgeBatch.atomic


# --- A purge ------------------------------------------------------------------------------------


def test_a_purge_goes_on_where_the_last_batch_ended() -> None:
    """Counts add up, and the last batch says that there are no more."""
    purge = Purge(DAY, None, None, None, False, False, 3, None)
    first = play(purge.batch(), (9, 1, 2))
    assert (first.asked, first.result) == ([batch(after=0)], True)
    second = play(purge.batch(), None)
    assert (second.asked, second.result) == ([batch(after=9)], False)
    assert purge.counts == {"purged": 1, "kept": 2}


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"idle_for": None}, ValueError, "needs idle_for, older_than, active or unused=True"),
    ({"idle_for": 5}, TypeError, "idle_for"),
    ({"older_than": "a week"}, TypeError, "older_than"),
    ({"idle_for": -DAY}, ValueError, "idle_for"),
    ({"older_than": timedelta(days=36501)}, ValueError, "older_than"),
    ({"active": 1}, TypeError, "active"),
    ({"unused": 1}, TypeError, "unused"),
    ({"idle_for": None, "unused": False}, ValueError, "or unused=True"),
    ({"interrupted": None}, TypeError, "interrupted"),
    ({"dry_run": "yes"}, TypeError, "dry_run"),
    ({"batch_size": 0}, ValueError, "batch_size"),
    ({"batch_size": 1001}, ValueError, "batch_size"),
]


@pytest.mark.parametrize(("given", "error", "named"), WRONG, ids=repr)
def test_a_wrong_argument_of_a_purge_is_named(
    given: dict[str, Any], error: type[Exception], named: str
) -> None:
    """Before anything is asked."""
    options: dict[str, Any] = {"idle_for": DAY, "older_than": None, "active": None}
    options |= {"unused": None, "interrupted": False, "dry_run": False, "batch_size": 3}
    with pytest.raises(error, match=named):
        Purge(**{**options, **given}, agent=None)
