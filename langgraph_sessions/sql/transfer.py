"""Statements that move sessions to another user; parts of one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langgraph_sessions.json_checks import METADATA_SIZE
from langgraph_sessions.plans import Params, Statement
from langgraph_sessions.sql.rows import OF_AGENT


@dataclass(frozen=True)
class UsersThreads(Statement):
    """Return the threads of a user's sessions: of *agent*, if given, and one alone, if given."""

    user_id: str
    thread_id: str | None = None
    agent: str | None = None

    sql: ClassVar[str] = f"""
SELECT thread_id FROM user_sessions WHERE user_id = %(user_id)s AND {OF_AGENT}
AND (%(thread_id)s::text IS NULL OR thread_id = %(thread_id)s::text)"""


@dataclass(frozen=True)
class MoveSessions(Statement):
    """Make sessions another user's; their threads are locked. Return what was moved."""

    thread_ids: Sequence[str]
    from_user: str
    to_user: str

    sql: ClassVar[str] = """
WITH threads AS (
    UPDATE session_threads SET user_id = %(to_user)s
    WHERE thread_id = ANY (%(thread_ids)s) AND user_id = %(from_user)s
)
UPDATE user_sessions SET user_id = %(to_user)s
WHERE thread_id = ANY (%(thread_ids)s) AND user_id = %(from_user)s
RETURNING thread_id, %(from_user)s::text AS user_id"""


@dataclass(frozen=True)
class MoveCheckpoints(Statement):
    """Let the checkpoints of threads name another user, where they name somebody.

    By these a thread is adopted where its session is gone, or in another database.
    """

    thread_ids: Sequence[str]
    to_user: str

    returns_rows = False
    sql: ClassVar[str] = """
UPDATE checkpoints SET metadata = metadata - 'langgraph_auth_user_id'
    || jsonb_build_object('user_id', %(to_user)s::text)
WHERE thread_id = ANY (%(thread_ids)s) AND user_sessions_owner(metadata) IS NOT NULL"""


@dataclass(frozen=True)
class MovePreferences(Statement):
    """Merge a user's preferences into another's, which win."""

    from_user: str
    to_user: str

    returns_rows = False
    sql: ClassVar[str] = """
WITH moved AS (
    DELETE FROM session_users WHERE user_id = %(from_user)s RETURNING preferences
)
INSERT INTO session_users AS u (user_id, preferences)
SELECT %(to_user)s, preferences FROM moved
ON CONFLICT (user_id) DO UPDATE SET
    preferences = user_sessions_within(EXCLUDED.preferences || u.preferences, %(size)s)"""

    @property
    def params(self) -> Params:
        return {**vars(self), "size": METADATA_SIZE}
