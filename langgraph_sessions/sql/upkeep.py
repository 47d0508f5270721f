"""Statements about whole threads, users and databases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from psycopg.types.json import Jsonb

from langgraph_sessions.json_checks import METADATA_SIZE
from langgraph_sessions.plans import Params, Statement
from langgraph_sessions.sql.columns import SEEN, record
from langgraph_sessions.sql.rows import SESSION

# --- Copies --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CopySession(Statement):
    """Copy a thread, and its session, for the owner; refuse another *user_id*, or *agent*."""

    repeatable = False

    source: str
    target: str
    user_id: str | None = None
    agent: str | None = None
    checkpoint_id: str | None = None
    title: str | None = None

    sql: ClassVar[str] = f"""
SELECT {SESSION} FROM jsonb_to_record(user_sessions_copy_session(jsonb_build_object(
    'source', %(source)s::text, 'target', %(target)s::text, 'user_id', %(user_id)s::text,
    'agent', %(agent)s::text, 'checkpoint_id', %(checkpoint_id)s::text, 'title', %(title)s::text)))
    AS s ({record(SEEN)}) WHERE s.id IS NOT NULL"""


# --- Preferences -----------------------------------------------------------------------------


@dataclass(frozen=True)
class GetPreferences(Statement):
    """Return a user's preferences."""

    user_id: str

    sql: ClassVar[str] = "SELECT preferences FROM session_users WHERE user_id = %(user_id)s"


@dataclass(frozen=True)
class UpdatePreferences(Statement):
    """Merge *changes* into a user's preferences, and remove some."""

    user_id: str
    changes: dict[str, Any]
    removed: list[str]

    sql: ClassVar[str] = """
INSERT INTO session_users AS u (user_id, preferences)
VALUES (%(user_id)s, %(changes)s::jsonb)
ON CONFLICT (user_id) DO UPDATE SET
    preferences = user_sessions_within(
        (u.preferences || %(changes)s::jsonb) - %(removed)s::text[], %(size)s)
RETURNING preferences"""

    @property
    def params(self) -> Params:
        return {**vars(self), "changes": Jsonb(self.changes), "size": METADATA_SIZE}


# --- Threads without a session ---------------------------------------------------------------


@dataclass(frozen=True)
class PlainThreads(Statement):
    """Return the threads without a session that are a user's.

    It reads all of checkpoints: LangGraph has no index on who saved them.
    """

    user_id: str

    sql: ClassVar[str] = """
SELECT DISTINCT c.thread_id FROM checkpoints AS c
WHERE user_sessions_owner(c.metadata) = %(user_id)s
AND user_sessions_thread_owner(c.thread_id) = %(user_id)s
AND NOT EXISTS (SELECT 1 FROM user_sessions AS s WHERE s.thread_id = c.thread_id)
ORDER BY c.thread_id"""


@dataclass(frozen=True)
class NextThreads(Statement):
    """Return the next threads by thread id, their owners where they have no session.

    A skip scan, since PostgreSQL would read every checkpoint of every thread for a DISTINCT.
    """

    after: str
    limit: int

    sql: ClassVar[str] = """
WITH RECURSIVE threads AS (
    (SELECT thread_id, 1 AS number FROM checkpoints
     WHERE thread_id > %(after)s ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT c.thread_id FROM checkpoints AS c WHERE c.thread_id > threads.thread_id
            ORDER BY c.thread_id LIMIT 1), number + 1
    FROM threads WHERE threads.thread_id IS NOT NULL AND number < %(limit)s
)
SELECT threads.thread_id, s.id IS NOT NULL AS has_session,
    CASE WHEN s.id IS NULL THEN user_sessions_thread_owner(threads.thread_id) END AS owner
FROM threads LEFT JOIN user_sessions AS s USING (thread_id)
WHERE threads.thread_id IS NOT NULL ORDER BY threads.thread_id"""


@dataclass(frozen=True)
class ThreadOwner(Statement):
    """Return the user whom a thread's checkpoints name; no row: there is no such thread."""

    thread_id: str

    sql: ClassVar[str] = """
SELECT user_sessions_thread_owner(%(thread_id)s) AS owner
WHERE EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = %(thread_id)s)"""


@dataclass(frozen=True)
class FirstInputs(Statement):
    """Return the checkpoints with a thread's first inputs, oldest first: some may have no words."""

    thread_id: str

    sql: ClassVar[str] = """
SELECT checkpoint_id FROM checkpoints
WHERE thread_id = %(thread_id)s AND checkpoint_ns = '' AND metadata ->> 'source' = 'input'
ORDER BY checkpoint_id LIMIT 5"""


# Times from the first and the last checkpoint, whose clock may have been fast. Nothing is adopted
# twice, or from its owner: of two at once, the second waits, and finds what the first made.
_ADOPT: Final = f"""
WITH saved AS (
    SELECT coalesce(min(user_sessions_moment(checkpoint ->> 'ts')), now()) AS first,
        coalesce(max(user_sessions_moment(checkpoint ->> 'ts')), now()) AS last
    FROM checkpoints WHERE thread_id = %(thread_id)s::text HAVING count(*) > 0
), thread AS (
    INSERT INTO session_threads AS t (thread_id, user_id)
    SELECT %(thread_id)s::text, %(user_id)s::text FROM saved WHERE NOT EXISTS (
        SELECT 1 FROM user_sessions
        WHERE thread_id = %(thread_id)s::text AND user_id <> %(user_id)s::text)
    ON CONFLICT (thread_id) DO UPDATE SET thread_id = EXCLUDED.thread_id
    WHERE t.user_id = EXCLUDED.user_id RETURNING user_id, thread_id
)
INSERT INTO user_sessions AS s
    (user_id, thread_id, agent, title, title_source, status, created_at, updated_at, current_at)
SELECT user_id, thread_id, %(agent)s::text, %(title)s, %(title_source)s,
    user_sessions_status(thread_id), least(first, now()), least(last, now()), least(last, now())
FROM saved, thread
ON CONFLICT (thread_id) DO UPDATE SET thread_id = EXCLUDED.thread_id
WHERE %(agent)s::text IS NULL OR s.agent = %(agent)s::text
RETURNING {SESSION}"""


@dataclass(frozen=True)
class InsertAdopted(Statement):
    """Make a session for a thread that has none; return the user's own if it has one."""

    user_id: str
    thread_id: str
    title: str
    title_source: str
    agent: str | None = None

    sql: ClassVar[str] = _ADOPT
