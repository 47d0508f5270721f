"""Statements that delete threads: with a session, of a user, of runs; parts of transactions.

Whoever deletes locks the threads' rows first, as saves do: all else is under these locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langgraph_sessions.plans import Statement
from langgraph_sessions.sql.rows import OF_AGENT


@dataclass(frozen=True)
class OwnedThreads(Statement):
    """Return the threads, of these, whose sessions are a user's, and of *agent* if given."""

    thread_ids: Sequence[str]
    user_id: str
    agent: str | None = None

    sql: ClassVar[str] = f"""
SELECT thread_id FROM user_sessions
WHERE thread_id = ANY (%(thread_ids)s) AND user_id = %(user_id)s AND {OF_AGENT}"""


@dataclass(frozen=True)
class UserThreads(Statement):
    """Return the threads of a user's sessions."""

    user_id: str

    sql: ClassVar[str] = "SELECT thread_id FROM user_sessions WHERE user_id = %(user_id)s"


@dataclass(frozen=True)
class LockThreads(Statement):
    """Lock the rows of threads, in order: no save begins, and those under way are over."""

    thread_ids: Sequence[str]

    sql: ClassVar[str] = """
SELECT thread_id FROM session_threads WHERE thread_id = ANY (%(thread_ids)s)
ORDER BY thread_id FOR UPDATE"""


@dataclass(frozen=True)
class DeleteSessions(Statement):
    """Delete the sessions of threads, of *user_id* only if given; their threads are locked."""

    thread_ids: Sequence[str]
    user_id: str | None = None

    sql: ClassVar[str] = """
WITH deleted AS (
    DELETE FROM session_threads WHERE thread_id = ANY (%(thread_ids)s)
    AND (%(user_id)s::text IS NULL OR user_id = %(user_id)s)
)
DELETE FROM user_sessions WHERE thread_id = ANY (%(thread_ids)s)
AND (%(user_id)s::text IS NULL OR user_id = %(user_id)s)
RETURNING thread_id, user_id"""


@dataclass(frozen=True)
class DeleteStrays(Statement):
    """Delete what says that a thread is a user's although its session is gone; return the threads.

    A session that was made since the user's were deleted stays, and so does its thread. It reads
    all of the narrow table, which has no index on users.
    """

    user_id: str

    sql: ClassVar[str] = """
DELETE FROM session_threads AS t WHERE user_id = %(user_id)s
AND NOT EXISTS (SELECT 1 FROM user_sessions AS s WHERE s.thread_id = t.thread_id)
RETURNING thread_id"""


@dataclass(frozen=True)
class ForgetReserved(Statement):
    """Delete these threads' reservations for their users' next sessions."""

    user_ids: Sequence[str]
    thread_ids: Sequence[str]

    returns_rows = False
    sql: ClassVar[str] = """
DELETE FROM session_reservations
WHERE user_id = ANY (%(user_ids)s) AND thread_id = ANY (%(thread_ids)s)"""


@dataclass(frozen=True)
class DeleteRows(Statement):
    """Delete the rows of threads from one of LangGraph's tables; count them."""

    table: str
    thread_ids: Sequence[str]

    @property
    def sql(self) -> str:
        return f"""
WITH deleted AS (
    DELETE FROM {self.table} WHERE thread_id = ANY (%(thread_ids)s) RETURNING 1
) SELECT count(*) AS count FROM deleted"""


@dataclass(frozen=True)
class DeletePreferences(Statement):
    """Delete a user's preferences and reservations; say, by 1 or 0, whether there were any."""

    user_id: str

    sql: ClassVar[str] = """
WITH preferences AS (DELETE FROM session_users WHERE user_id = %(user_id)s RETURNING 1),
reservations AS (DELETE FROM session_reservations WHERE user_id = %(user_id)s RETURNING 1)
SELECT (EXISTS (SELECT 1 FROM preferences) OR EXISTS (SELECT 1 FROM reservations))::int AS count"""


# --- Of runs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunThreads(Statement):
    """Return the threads to which runs saved."""

    run_ids: Sequence[str]

    sql: ClassVar[str] = """
SELECT DISTINCT thread_id FROM checkpoints WHERE metadata ->> 'run_id' = ANY (%(run_ids)s)"""


@dataclass(frozen=True)
class RunsBelowOthers(Statement):
    """Say, by a count of 1 or 0, whether checkpoints of other runs come after these runs'."""

    thread_ids: Sequence[str]
    run_ids: Sequence[str]

    sql: ClassVar[str] = """
SELECT count(*) AS count FROM (
    SELECT 1 FROM checkpoints AS gone JOIN checkpoints AS kept USING (thread_id, checkpoint_ns)
    WHERE gone.thread_id = ANY (%(thread_ids)s)
    AND gone.metadata ->> 'run_id' = ANY (%(run_ids)s)
    AND NOT coalesce(kept.metadata ->> 'run_id' = ANY (%(run_ids)s), FALSE)
    AND kept.checkpoint_id > gone.checkpoint_id LIMIT 1) AS found"""


@dataclass(frozen=True)
class DeleteCheckpoints(Statement):
    """Delete the checkpoints of runs; return their ids and parents."""

    run_ids: Sequence[str]

    sql: ClassVar[str] = """
DELETE FROM checkpoints WHERE metadata ->> 'run_id' = ANY (%(run_ids)s)
RETURNING thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id"""


@dataclass(frozen=True)
class _Deleted(Statement):
    """A statement on deleted checkpoints, by their threads, namespaces, ids and parents."""

    threads: Sequence[str]
    namespaces: Sequence[str]
    ids: Sequence[str]
    parents: Sequence[str | None]

    returns_rows = False


@dataclass(frozen=True)
class DeleteTheirWrites(_Deleted):
    """Delete the writes on deleted checkpoints."""

    sql: ClassVar[str] = """
DELETE FROM checkpoint_writes AS w
USING unnest(%(threads)s::text[], %(namespaces)s::text[], %(ids)s::text[])
    AS d (thread_id, checkpoint_ns, checkpoint_id)
WHERE w.thread_id = d.thread_id AND w.checkpoint_ns = d.checkpoint_ns
AND w.checkpoint_id = d.checkpoint_id"""


@dataclass(frozen=True)
class DeleteAnswers(_Deleted):
    """Delete the writes on a parent checkpoint that has no child any more.

    Those are answers and outputs, with which the next run would repeat the deleted one. Its
    interrupts stay, and wait again.
    """

    sql: ClassVar[str] = """
DELETE FROM checkpoint_writes AS w
USING unnest(%(threads)s::text[], %(namespaces)s::text[], %(parents)s::text[])
    AS d (thread_id, checkpoint_ns, checkpoint_id)
WHERE w.thread_id = d.thread_id AND w.checkpoint_ns = d.checkpoint_ns
AND w.checkpoint_id = d.checkpoint_id AND w.channel <> '__interrupt__'
AND NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = d.thread_id
    AND c.checkpoint_ns = d.checkpoint_ns AND c.parent_checkpoint_id = d.checkpoint_id)"""


@dataclass(frozen=True)
class UnlinkChildren(_Deleted):
    """Set the parent of checkpoints whose parent was deleted to NULL."""

    sql: ClassVar[str] = """
UPDATE checkpoints AS c SET parent_checkpoint_id = NULL
FROM unnest(%(threads)s::text[], %(namespaces)s::text[], %(ids)s::text[])
    AS d (thread_id, checkpoint_ns, checkpoint_id)
WHERE c.thread_id = d.thread_id AND c.checkpoint_ns = d.checkpoint_ns
AND c.parent_checkpoint_id = d.checkpoint_id"""


@dataclass(frozen=True)
class DeleteUnreferencedBlobs(Statement):
    """Delete the blobs of threads that no checkpoint refers to any more."""

    thread_ids: Sequence[str]

    returns_rows = False
    sql: ClassVar[str] = """
DELETE FROM checkpoint_blobs AS b WHERE b.thread_id = ANY (%(thread_ids)s) AND NOT EXISTS (
    SELECT 1 FROM checkpoints AS c
    CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') AS v
    WHERE c.thread_id = b.thread_id AND c.checkpoint_ns = b.checkpoint_ns
    AND v.key = b.channel AND v.value = b.version)"""


@dataclass(frozen=True)
class EmptyThreads(Statement):
    """Return the threads, of these, that have no checkpoint."""

    thread_ids: Sequence[str]

    sql: ClassVar[str] = """
SELECT t.thread_id FROM unnest(%(thread_ids)s::text[]) AS t (thread_id)
WHERE NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = t.thread_id)"""


@dataclass(frozen=True)
class SetStatuses(Statement):
    """Set the statuses of threads' sessions to what their checkpoints say."""

    thread_ids: Sequence[str]

    returns_rows = False
    sql: ClassVar[str] = """
UPDATE user_sessions SET status = user_sessions_status(thread_id)
WHERE thread_id = ANY (%(thread_ids)s)"""
