"""Deletions, as transactions: threads with their sessions, all of a user, what runs saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from langgraph.checkpoint.postgres.base import PRUNE_DELTA_THREADS_SQL

from langgraph_sessions import checks
from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.plans import Batch, Composite, Fetch, Plan
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

TABLES: Final = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
DELETE_STRATEGIES: Final = ("delete", "delete_all")  # The parent's word, and the Agent Server's.
STRATEGIES: Final = ("keep_latest", *DELETE_STRATEGIES)


def deletes(thread_ids: Sequence[str], strategy: str) -> bool:
    """Say whether a prune deletes whole threads.

    Raises:
        TypeError: *thread_ids* is no sequence, or a single string, or a thread id is none.
        ValueError: *strategy* is unknown, or a thread id is not text, or over 4,096 characters.
    """
    _check_each("thread_ids", thread_ids)
    return checks.one_of("strategy", strategy, STRATEGIES) in DELETE_STRATEGIES


def _check_each(name: str, values: object) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a sequence of ids, not a {type(values).__name__}")
    return [checks.address(name, value) for value in values]


# --- Threads -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeleteThreads(Composite):
    """Delete threads with their sessions, of *user_id* only if given; count the sessions.

    Attributes:
        thread_ids: The threads.
        user_id: Whose they must be; `None`: anybody's, an operator's call.
        agent: Of which agent the user's must be; `None`: whichever.
    """

    thread_ids: Sequence[str]
    user_id: str | None = None
    agent: str | None = None

    atomic = True
    repeatable = False

    def plan(self) -> Plan[int]:
        """Delete them in the order in which saves lock."""
        threads = self.thread_ids
        if self.user_id is not None:
            owned = yield OwnedThreads(threads, self.user_id, self.agent)
            threads = [row["thread_id"] for row in owned]
        deleted = yield from delete_sessions(threads, self.user_id)
        yield from delete_rows(threads if self.user_id is None else deleted)
        return len(deleted)


def delete_sessions(thread_ids: Sequence[str], user_id: str | None = None) -> Plan[list[str]]:
    """Delete the sessions of threads; return the threads of those that there were."""
    yield LockThreads(thread_ids)
    return (yield from forget((yield DeleteSessions(thread_ids, user_id))))


def forget(deleted: Sequence[dict[str, Any]]) -> Plan[list[str]]:
    """Clear reservations of *deleted* sessions' threads, and return these threads."""
    threads = [row["thread_id"] for row in deleted]
    yield ForgetReserved([row["user_id"] for row in deleted], threads)
    return threads


def delete_rows(thread_ids: Sequence[str]) -> Plan[None]:
    """Delete all that LangGraph's tables have of threads."""
    yield Batch([DeleteRows(table, thread_ids) for table in TABLES])


def delete(user_id: object, thread_id: object, agent: str | None) -> Plan[None]:
    """Delete a session and its thread."""
    return _delete(checks.user_id(user_id), checks.thread_id(thread_id), agent)


def _delete(user_id: str, thread_id: str, agent: str | None) -> Plan[None]:
    if not (yield DeleteThreads([thread_id], user_id, agent)):
        raise SessionNotFoundError(user_id, thread_id)


def delete_threads(thread_ids: Sequence[str]) -> Plan[int]:
    """Delete threads with their sessions, whoever owns them; count the sessions."""
    count: int = yield DeleteThreads(thread_ids)
    return count


# --- Users ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeleteUser(Composite):
    """Delete everything of a user; return how much in each table.

    That is their sessions' threads, and threads that a plain saver left behind and that are
    theirs by `user_sessions_thread_owner`.
    """

    user_id: str

    atomic = True
    repeatable = False

    def plan(self) -> Plan[dict[str, int]]:
        """Delete it in the order in which saves lock."""
        threads = yield from self._delete_sessions()
        counts = {"sessions": len(threads)}
        threads += [row["thread_id"] for row in (yield DeleteStrays(self.user_id))]
        threads += [row["thread_id"] for row in (yield PlainThreads(self.user_id))]
        for name, table in zip(("checkpoints", "blobs", "writes"), TABLES, strict=True):
            (row,) = yield DeleteRows(table, threads)
            counts[name] = row["count"]
        (row,) = yield DeletePreferences(self.user_id)
        counts["users"] = row["count"]
        return counts

    def _delete_sessions(self) -> Plan[list[str]]:
        """Delete the user's sessions, those too that were made while others were locked."""
        deleted: list[str] = []
        while threads := [row["thread_id"] for row in (yield UserThreads(self.user_id))]:
            deleted += yield from delete_sessions(threads, self.user_id)
        return deleted


def delete_user(user_id: str) -> Plan[dict[str, int]]:
    """Delete everything of a user; return how much in each table."""
    counts: dict[str, int] = yield DeleteUser(user_id)
    return counts


# --- Runs ----------------------------------------------------------------------------------------


def delete_runs(run_ids: object) -> Plan[None]:
    """Delete what runs saved, with the sessions of threads of which nothing is left.

    Raises:
        TypeError: *run_ids* is a single string.
        NotImplementedError: A later run of the thread rebuilds a `DeltaChannel` from it.
    """
    return _delete_runs(_check_each("run_ids", run_ids))


def _delete_runs(run_ids: list[str]) -> Plan[None]:
    yield DeleteRuns(run_ids)


@dataclass(frozen=True)
class DeleteRuns(Composite):
    """Delete what runs saved; see `delete_runs`.

    What they leave without a reference goes, too: writes, blobs, links to a parent, and the
    session of a thread of which nothing is left.
    """

    run_ids: Sequence[str]

    atomic = True
    repeatable = False

    def plan(self) -> Plan[None]:
        """Lock what saves lock, in their order, and delete."""
        threads = [row["thread_id"] for row in (yield RunThreads(self.run_ids))]
        yield LockThreads(threads)
        yield from self._refuse_below_deltas(threads)
        saved = yield DeleteCheckpoints(self.run_ids)
        of_saved = (
            [row["thread_id"] for row in saved],
            [row["checkpoint_ns"] for row in saved],
            [row["checkpoint_id"] for row in saved],
            [row["parent_checkpoint_id"] for row in saved],
        )
        touched = sorted(set(of_saved[0]))
        yield DeleteTheirWrites(*of_saved)
        yield DeleteAnswers(*of_saved)
        yield UnlinkChildren(*of_saved)
        yield DeleteUnreferencedBlobs(touched)
        yield from delete_sessions([row["thread_id"] for row in (yield EmptyThreads(touched))])
        yield SetStatuses(touched)

    def _refuse_below_deltas(self, threads: list[str]) -> Plan[None]:
        delta = yield Fetch(PRUNE_DELTA_THREADS_SQL, (threads, threads))
        delta_threads = sorted(row["thread_id"] for row in delta)
        (below,) = yield RunsBelowOthers(delta_threads, self.run_ids)
        if below["count"]:
            raise NotImplementedError(
                "later runs rebuild a DeltaChannel from these: " + ", ".join(delta_threads)
            )
