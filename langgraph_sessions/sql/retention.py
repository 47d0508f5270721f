"""Statements of a purge: find sessions that are old enough, unlocked and not in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from langgraph_sessions.plans import Statement


@dataclass(frozen=True, kw_only=True)
class OldSessions(Statement):
    """Return the next sessions that are old enough, by number.

    One that a job made may have been used, by its place in lists, before it was made.
    """

    idle_for: timedelta | None
    older_than: timedelta | None
    active: bool | None
    after: int
    limit: int

    sql: ClassVar[str] = """
SELECT id FROM user_sessions WHERE id > %(after)s
AND (%(idle_for)s::interval IS NULL
    OR greatest(updated_at, created_at) < clock_timestamp() - %(idle_for)s::interval)
AND (%(older_than)s::interval IS NULL OR created_at < clock_timestamp() - %(older_than)s::interval)
AND (%(active)s::boolean IS NULL OR is_active = %(active)s)
ORDER BY id LIMIT %(limit)s"""


@dataclass(frozen=True, kw_only=True)
class LockOldSessions(Statement):
    """Lock the sessions, of these, that can be locked at once, and are still old enough.

    Others are being saved to, or belong to another purge.
    """

    ids: Sequence[int]
    idle_for: timedelta | None
    active: bool | None

    sql: ClassVar[str] = """
SELECT thread_id FROM user_sessions WHERE id = ANY (%(ids)s)
AND (%(idle_for)s::interval IS NULL
    OR greatest(updated_at, created_at) < clock_timestamp() - %(idle_for)s::interval)
AND (%(active)s::boolean IS NULL OR is_active = %(active)s)
FOR UPDATE SKIP LOCKED"""


@dataclass(frozen=True)
class ThreadStates(Statement):
    """Return the state of each thread.

    - `status`: as it is kept with the session.
    - `tasks`: how many nodes its newest checkpoint has yet to run: those that a value in a
      channel is to start. Sends count as one. A join's channel keeps the names of those that
      came, as a set, and starts its node when all have: they are looked for as msgpack writes
      them, a length before the bytes. An encrypting serializer's set cannot be looked into.
    - `is_recent`: whether a checkpoint, in whatever namespace, was saved within the hour.
    - `is_answered`: whether an answer was just given.
    - `written`: how many of the tasks have written something.
    """

    thread_ids: Sequence[str]

    sql: ClassVar[str] = r"""
SELECT t.thread_id, user_sessions_status(t.thread_id) AS status,
    tasks.number AS tasks, coalesce(newest.is_recent, FALSE) AS is_recent,
    coalesce(writes.is_answered, FALSE) AS is_answered, writes.written
FROM unnest(%(thread_ids)s::text[]) AS t (thread_id)
LEFT JOIN LATERAL (
    SELECT bool_or((checkpoint ->> 'ts')::timestamptz > clock_timestamp() - interval '1 hour')
        AS is_recent
    FROM checkpoints WHERE thread_id = t.thread_id AND checkpoint_id = (
        SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = t.thread_id)
) AS newest ON TRUE
LEFT JOIN LATERAL (
    SELECT checkpoint_id, checkpoint FROM checkpoints
    WHERE thread_id = t.thread_id AND checkpoint_ns = ''
    ORDER BY checkpoint_id DESC LIMIT 1
) AS head ON TRUE
CROSS JOIN LATERAL (
    SELECT count(DISTINCT regexp_replace(v.key, '^.*:', '')) AS number
    FROM jsonb_each_text(head.checkpoint -> 'channel_versions') AS v
    LEFT JOIN checkpoint_blobs AS b ON b.thread_id = t.thread_id AND b.checkpoint_ns = ''
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
    SELECT bool_or(channel = '__resume__') AS is_answered,
        count(DISTINCT task_id) FILTER (WHERE task_id NOT LIKE '00000000-%%') AS written
    FROM checkpoint_writes WHERE thread_id = t.thread_id AND checkpoint_ns = ''
    AND checkpoint_id = head.checkpoint_id
) AS writes"""


@dataclass(frozen=True)
class LockWhole(Statement):
    """Lock the threads of which every row can be locked at once; return those.

    A save that holds a row of another thread waits for its session, which is locked by now: to
    wait for that row would be a deadlock.
    """

    thread_ids: Sequence[str]

    sql: ClassVar[str] = """
WITH writes AS (
    SELECT thread_id FROM checkpoint_writes WHERE thread_id = ANY (%(thread_ids)s)
    FOR UPDATE SKIP LOCKED
), saved AS (
    SELECT thread_id FROM checkpoints WHERE thread_id = ANY (%(thread_ids)s)
    FOR UPDATE SKIP LOCKED
), locked AS (
    SELECT thread_id, count(*) AS number FROM (
        SELECT thread_id FROM writes UNION ALL SELECT thread_id FROM saved) AS rows
    GROUP BY thread_id
), present AS (
    SELECT thread_id, count(*) AS number FROM (
        SELECT thread_id FROM checkpoint_writes WHERE thread_id = ANY (%(thread_ids)s)
        UNION ALL
        SELECT thread_id FROM checkpoints WHERE thread_id = ANY (%(thread_ids)s)) AS rows
    GROUP BY thread_id
)
SELECT t.thread_id FROM unnest(%(thread_ids)s::text[]) AS t (thread_id)
LEFT JOIN locked USING (thread_id) LEFT JOIN present USING (thread_id)
WHERE locked.number IS NOT DISTINCT FROM present.number"""
