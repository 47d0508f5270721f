"""Statements of a purge: find sessions that are old enough, unlocked and not in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from langgraph_sessions.plans import Statement
from langgraph_sessions.sql.rows import OF_AGENT

# Whether anything was ever said in a session *s*: what was said may have been deleted since.
_IS_USED: Final = """(EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = s.thread_id)
    OR EXISTS (SELECT 1 FROM session_threads AS t
        WHERE t.thread_id = s.thread_id AND t.last_save IS NOT NULL))"""


@dataclass(frozen=True, kw_only=True)
class OldSessions(Statement):
    """Return the next sessions that are old enough, by number."""

    idle_for: timedelta | None
    older_than: timedelta | None
    active: bool | None
    unused: bool | None = None
    after: int
    limit: int
    agent: str | None = None

    sql: ClassVar[str] = f"""
SELECT id FROM user_sessions AS s WHERE id > %(after)s
AND (%(idle_for)s::interval IS NULL OR updated_at < clock_timestamp() - %(idle_for)s::interval)
AND (%(older_than)s::interval IS NULL OR created_at < clock_timestamp() - %(older_than)s::interval)
AND (%(active)s::boolean IS NULL OR is_active = %(active)s) AND {OF_AGENT}
AND (%(unused)s::boolean IS NULL OR %(unused)s <> {_IS_USED})
ORDER BY id LIMIT %(limit)s"""


@dataclass(frozen=True, kw_only=True)
class LockOldSessions(Statement):
    """Lock the threads of the sessions, of these, that can be locked at once and are old enough.

    Others are being saved to, or belong to another purge. A session that is no longer old enough
    was saved to since it was found: `updated_at` is looked at again under the lock.
    """

    ids: Sequence[int]
    idle_for: timedelta | None
    active: bool | None

    sql: ClassVar[str] = """
WITH locked AS (
    SELECT thread_id FROM session_threads WHERE thread_id IN (
        SELECT thread_id FROM user_sessions WHERE id = ANY (%(ids)s))
    FOR UPDATE SKIP LOCKED
)
SELECT thread_id FROM user_sessions AS s WHERE id = ANY (%(ids)s)
AND (thread_id IN (SELECT thread_id FROM locked)
    OR NOT EXISTS (SELECT 1 FROM session_threads AS t WHERE t.thread_id = s.thread_id))
AND (%(idle_for)s::interval IS NULL OR updated_at < clock_timestamp() - %(idle_for)s::interval)
AND (%(active)s::boolean IS NULL OR is_active = %(active)s)
FOR UPDATE SKIP LOCKED"""


@dataclass(frozen=True)
class ThreadStates(Statement):
    """Return the state of each thread.

    - `is_used`: whether anything was ever said there.
    - `status`: what it waits for, by what is saved now (`user_sessions_status`).
    - `tasks`: how many nodes its newest checkpoint has yet to run: those that a value in a
      channel is to start. Sends count as one. A join's channel keeps the names of those that
      came, as a set, and starts its node when all have: they are looked for as msgpack writes
      them, a length before the bytes. An encrypting serializer's set cannot be looked into.
    - `saved_at`: when its newest checkpoint, in whatever namespace, was saved, as it says itself:
      any text, or `None`. `now`: when that was asked.
    - `is_answered`: whether an answer was just given.
    - `has_failed`: whether a task failed, or was cancelled, and has since written no output.
    - `written`: how many of the tasks have written something.
    """

    thread_ids: Sequence[str]

    sql: ClassVar[str] = rf"""
SELECT s.thread_id, {_IS_USED} AS is_used, user_sessions_status(s.thread_id) AS status,
    tasks.number AS tasks, newest.saved_at, clock_timestamp() AS now,
    coalesce(writes.is_answered, FALSE) AS is_answered,
    coalesce(writes.has_failed, FALSE) AS has_failed, writes.written
FROM unnest(%(thread_ids)s::text[]) AS s (thread_id)
LEFT JOIN LATERAL (
    SELECT max(checkpoint ->> 'ts') AS saved_at
    FROM checkpoints WHERE thread_id = s.thread_id AND checkpoint_id = (
        SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = s.thread_id)
) AS newest ON TRUE
LEFT JOIN LATERAL (
    SELECT checkpoint_id, checkpoint FROM checkpoints
    WHERE thread_id = s.thread_id AND checkpoint_ns = ''
    ORDER BY checkpoint_id DESC LIMIT 1
) AS head ON TRUE
CROSS JOIN LATERAL (
    SELECT count(DISTINCT regexp_replace(v.key, '^.*:', '')) AS number
    FROM jsonb_each_text(head.checkpoint -> 'channel_versions') AS v
    LEFT JOIN checkpoint_blobs AS b ON b.thread_id = s.thread_id AND b.checkpoint_ns = ''
        AND b.channel = v.key AND b.version = v.value AND b.type <> 'empty'
    WHERE CASE WHEN v.key LIKE 'join:%%:%%' THEN (
        SELECT bool_and(position(CASE
            WHEN b.type <> 'msgpack' THEN ''
            WHEN octet_length(name) < 32
            THEN set_byte('\x00', 0, 160 + octet_length(name))
            WHEN octet_length(name) < 256
            THEN '\xd9' || set_byte('\x00', 0, octet_length(name))
            ELSE '' END || convert_to(name, 'UTF8') IN b.blob) > 0)
        FROM unnest(string_to_array(split_part(v.key, ':', 2), '+')) AS name)
    ELSE (v.key IN ('__start__', '__pregel_tasks') OR v.key LIKE 'branch:to:%%')
        AND (b.channel IS NOT NULL OR head.checkpoint -> 'channel_values' ? v.key) END
) AS tasks
CROSS JOIN LATERAL (
    SELECT bool_or(is_answered) AS is_answered,
        bool_or(has_failed AND NOT has_output) AS has_failed,
        count(*) FILTER (WHERE task_id NOT LIKE '00000000-%%') AS written
    FROM (
        SELECT task_id, bool_or(channel = '__resume__') AS is_answered,
            bool_or(channel = '__error__') AS has_failed, bool_or(idx >= 0) AS has_output
        FROM checkpoint_writes WHERE thread_id = s.thread_id AND checkpoint_ns = ''
        AND checkpoint_id = head.checkpoint_id GROUP BY task_id
    ) AS of_tasks
) AS writes"""
