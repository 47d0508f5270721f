"""Statements about the checkpoints of a session, as far as people see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langgraph_sessions.plans import Statement


@dataclass(frozen=True)
class ListCheckpoints(Statement):
    """List the root graph's checkpoints of a user's thread, newest first.

    Who reads has looked for the session before: that nobody else made one since, on a thread of the
    same id, is asked in the same statement.
    """

    user_id: str
    thread_id: str
    limit: int
    before: str | None = None

    sql: ClassVar[str] = """
SELECT checkpoint_id, parent_checkpoint_id AS parent_id, checkpoint -> 'ts' AS created_at,
    metadata -> 'source' AS source, metadata -> 'step' AS step, metadata -> 'run_id' AS run_id
FROM checkpoints WHERE thread_id = %(thread_id)s AND checkpoint_ns = ''
AND (%(before)s::text IS NULL OR checkpoint_id < %(before)s)
AND NOT EXISTS (SELECT 1 FROM session_threads AS t
    WHERE t.thread_id = %(thread_id)s AND t.user_id <> %(user_id)s)
ORDER BY checkpoint_id DESC LIMIT %(limit)s"""


@dataclass(frozen=True)
class HasCheckpoint(Statement):
    """Say, by a row, whether a thread has a checkpoint."""

    thread_id: str
    checkpoint_id: str

    sql: ClassVar[str] = """
SELECT 1 AS found FROM checkpoints WHERE thread_id = %(thread_id)s
AND checkpoint_ns = '' AND checkpoint_id = %(checkpoint_id)s"""
