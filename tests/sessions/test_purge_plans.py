"""Retention as plans: which sessions are left alone, and in which order the rest is locked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from langgraph_sessions.sessions.deletion import TABLES
from langgraph_sessions.sessions.retention import Purge, PurgeBatch, is_in_use, waits
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


def state(**said: Any) -> Row:
    """Return how a thread stands: at rest, a checkpoint saved within a day, if not *said*."""
    at_rest: Row = {"status": "idle", "tasks": 0, "is_recent": True, "is_answered": False}
    at_rest |= {"has_failed": False, "written": 0}
    return {"thread_id": "t", **at_rest, **said}


# --- What is left alone -------------------------------------------------------------------------

# How the thread stands, whether a run is at work, whether it waits for somebody.
STATES = [
    pytest.param(state(), False, False, id="at rest"),
    pytest.param(state(status="error"), False, False, id="failed"),
    pytest.param(state(tasks=1), True, False, id="a task under way"),
    pytest.param(state(tasks=2, written=2), True, False, id="tasks that wrote, and go on"),
    pytest.param(state(tasks=1, is_recent=False), False, False, id="a static breakpoint, old"),
    pytest.param(state(status="error", tasks=1, written=1), False, False, id="failed for good"),
    pytest.param(state(tasks=1, written=1, has_failed=True), False, False, id="was stopped"),
    pytest.param(state(tasks=2, written=1, has_failed=True), True, False, id="is being stopped"),
    pytest.param(
        state(tasks=2, written=1, has_failed=True, is_recent=False),
        False,
        False,
        id="was stopped beside one, old",
    ),
    pytest.param(
        state(status="error", tasks=2, written=1), True, False, id="failed beside one under way"
    ),
    pytest.param(
        state(status="error", tasks=2, written=1, is_recent=False),
        False,
        False,
        id="failed beside one, old",
    ),
    pytest.param(state(status="interrupted", tasks=1, written=1), False, True, id="asks"),
    pytest.param(
        state(status="interrupted", tasks=1, written=1, is_recent=False),
        False,
        True,
        id="asks, old",
    ),
    pytest.param(
        state(status="interrupted", tasks=1, written=1, is_answered=True),
        True,
        True,
        id="was just answered",
    ),
    pytest.param(
        state(status="interrupted", tasks=2, written=1), True, True, id="asks beside one under way"
    ),
    pytest.param(
        state(status="interrupted", tasks=0, is_answered=True), False, True, id="asks, no tasks"
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
    states = [*STATES_OF_LOCKED, state(thread_id="c", status="interrupted", tasks=2, written=1)]
    answers = [FOUND, LOCKED, states]
    assert play(batch(dry_run=True, interrupted=True).plan(), *answers).result == (9, 2, 1)
    assert play(batch(dry_run=True).plan(), *answers).result == (9, 1, 2)


def test_a_batch_of_nothing_is_the_last() -> None:
    """Where no session is old enough, nothing is locked."""
    played = play(batch().plan(), [])
    assert (played.asked, played.result) == ([OLD], None)
    assert PurgeBatch.atomic


# --- A purge ------------------------------------------------------------------------------------


def test_a_purge_goes_on_where_the_last_batch_ended() -> None:
    """Counts add up, and the last batch says that there are no more."""
    purge = Purge(DAY, None, None, False, False, 3, None)
    first = play(purge.batch(), (9, 1, 2))
    assert (first.asked, first.result) == ([batch(after=0)], True)
    second = play(purge.batch(), None)
    assert (second.asked, second.result) == ([batch(after=9)], False)
    assert purge.counts == {"purged": 1, "kept": 2}


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"idle_for": None}, ValueError, "needs idle_for, older_than or active"),
    ({"idle_for": 5}, TypeError, "idle_for"),
    ({"older_than": "a week"}, TypeError, "older_than"),
    ({"idle_for": -DAY}, ValueError, "idle_for"),
    ({"older_than": timedelta(days=36501)}, ValueError, "older_than"),
    ({"active": 1}, TypeError, "active"),
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
    options |= {"interrupted": False, "dry_run": False, "batch_size": 3}
    with pytest.raises(error, match=named):
        Purge(**{**options, **given}, agent=None)
