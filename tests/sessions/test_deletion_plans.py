"""Deletions as plans: in which order they lock and delete, which is that of saves."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.postgres.base import PRUNE_DELTA_THREADS_SQL

from langgraph_sessions.plans import Batch, Fetch
from langgraph_sessions.sessions import deletion
from langgraph_sessions.sessions.deletion import TABLES, DeleteRuns, DeleteThreads, DeleteUser
from langgraph_sessions.sql.deletion import (
    DeleteAnswers,
    DeleteCheckpoints,
    DeletePreferences,
    DeleteRows,
    DeleteSessions,
    DeleteStrays,
    DeleteTheirWrites,
    DeleteUnreferencedBlobs,
    EmptyThreads,
    ForgetReserved,
    LockThreads,
    OwnedThreads,
    RunsBelowOthers,
    RunThreads,
    SetStatuses,
    UnlinkChildren,
    UserThreads,
)
from langgraph_sessions.sql.upkeep import PlainThreads
from tests.plans import Row, play


def threads(*names: str) -> list[Row]:
    """Return rows of these threads, as statements answer them."""
    return [{"thread_id": name, "user_id": "alice"} for name in names]


def rows_of(*names: str) -> Batch:
    """Return what deletes all that LangGraph's tables have of threads."""
    return Batch([DeleteRows(table, [*names]) for table in TABLES])


# --- Threads ------------------------------------------------------------------------------------


def test_an_operators_deletion_locks_threads_first() -> None:
    """The thread's row, then all else: as a save locks. Threads without a session go, too."""
    played = play(DeleteThreads(["a", "b"]).plan(), [], threads("a"), [], [])
    assert played.asked == [
        LockThreads(["a", "b"]),
        DeleteSessions(["a", "b"], None),
        ForgetReserved(["alice"], ["a"]),
        rows_of("a", "b"),
    ]
    assert played.result == 1


def test_a_users_deletion_takes_nothing_that_is_not_theirs() -> None:
    """Only what is the user's is locked; what went meanwhile is not deleted for another."""
    played = play(DeleteThreads(["a", "b"], "alice").plan(), threads("a"), [], threads(), [], [])
    assert played.asked == [
        OwnedThreads(["a", "b"], "alice"),
        LockThreads(["a"]),
        DeleteSessions(["a"], "alice"),
        ForgetReserved([], []),
        rows_of(),
    ]
    assert played.result == 0


@pytest.mark.parametrize("kind", [DeleteThreads, DeleteUser, DeleteRuns])
def test_a_deletion_is_one_transaction_and_is_not_tried_twice(kind: Any) -> None:
    """Counts of a second try would be of what the first one left."""
    assert (kind.atomic, kind.repeatable) == (True, False)


@pytest.mark.parametrize(
    ("strategy", "deletes"), [("delete", True), ("delete_all", True), ("keep_latest", False)]
)
def test_a_prune_that_deletes_is_known_by_its_word(strategy: str, deletes: bool) -> None:
    """The parent's own strategies, and the Agent Server's."""
    assert deletion.deletes(["t"], strategy) is deletes


def test_a_single_str_is_not_a_list_of_threads_or_runs() -> None:
    """Its characters are not deleted one by one."""
    with pytest.raises(TypeError, match="thread_ids"):
        deletion.deletes("abc", "delete")
    with pytest.raises(TypeError, match="run_ids"):
        deletion.delete_runs("abc")


# --- A user ---------------------------------------------------------------------------------------


def count(number: int) -> list[Row]:
    """Return a count's row."""
    return [{"count": number}]


def test_everything_of_a_user_goes_and_is_counted() -> None:
    """Sessions and their threads, threads without a session, preferences.

    Those too that a run made while the first ones were locked.
    """
    played = play(
        DeleteUser("alice").plan(),
        *(threads("a", "b"), [], threads("a", "b"), []),
        *(threads("c"), [], threads("c"), [], []),
        *(threads("d"), threads("p")),
        *(count(5), count(6), count(7), count(1)),
    )
    assert played.asked == [
        UserThreads("alice"),
        LockThreads(["a", "b"]),
        DeleteSessions(["a", "b"], "alice"),
        ForgetReserved(["alice", "alice"], ["a", "b"]),
        UserThreads("alice"),
        LockThreads(["c"]),
        DeleteSessions(["c"], "alice"),
        ForgetReserved(["alice"], ["c"]),
        UserThreads("alice"),
        DeleteStrays("alice"),
        PlainThreads("alice"),
        *(DeleteRows(table, ["a", "b", "c", "d", "p"]) for table in TABLES),
        DeletePreferences("alice"),
    ]
    assert played.result == {"sessions": 3, "checkpoints": 5, "blobs": 6, "writes": 7, "users": 1}


def test_of_nobody_there_is_nothing_to_delete() -> None:
    """Zeros, and no error."""
    none = [[], [], [], *(count(0) for _ in range(4))]
    assert set(play(DeleteUser("nobody").plan(), *none).result.values()) == {0}


# --- Runs -----------------------------------------------------------------------------------------

SAVED = [
    {
        "thread_id": thread_id,
        "checkpoint_ns": "",
        "checkpoint_id": checkpoint_id,
        "parent_checkpoint_id": parent_id,
    }
    for thread_id, checkpoint_id, parent_id in [("b", "2", "1"), ("a", "1", None), ("b", "3", "2")]
]
OF_SAVED = (["b", "a", "b"], ["", "", ""], ["2", "1", "3"], ["1", None, "2"])


def test_what_runs_saved_goes_in_the_order_of_saves() -> None:
    """Threads are locked first; what is left without a reference goes last."""
    played = play(
        DeleteRuns(["r"]).plan(),
        *(threads("a", "b"), [], [], count(0), SAVED),
        *([], [], [], [], threads("a"), [], threads("a"), [], []),
    )
    assert played.asked == [
        RunThreads(["r"]),
        LockThreads(["a", "b"]),
        Fetch(PRUNE_DELTA_THREADS_SQL, (["a", "b"], ["a", "b"])),
        RunsBelowOthers([], ["r"]),
        DeleteCheckpoints(["r"]),
        DeleteTheirWrites(*OF_SAVED),
        DeleteAnswers(*OF_SAVED),
        UnlinkChildren(*OF_SAVED),
        DeleteUnreferencedBlobs(["a", "b"]),
        EmptyThreads(["a", "b"]),
        LockThreads(["a"]),
        DeleteSessions(["a"]),
        ForgetReserved(["alice"], ["a"]),
        SetStatuses(["a", "b"]),
    ]


def test_what_later_runs_rebuild_a_channel_from_is_not_deleted() -> None:
    """The error names the threads, and is raised before anything is deleted."""
    played = play(DeleteRuns(["r"]).plan(), threads("b", "a"), [], threads("b", "a"), count(1))
    assert played.asked[-1] == RunsBelowOthers(["a", "b"], ["r"])
    assert isinstance(played.error, NotImplementedError)
    assert "a, b" in str(played.error)


def test_run_ids_are_taken_as_their_str() -> None:
    """LangGraph's are UUIDs."""
    (asked,) = play(deletion.delete_runs([7, "r"]), None).asked
    assert asked == DeleteRuns(["7", "r"])
