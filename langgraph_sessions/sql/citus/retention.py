"""Statements of a purge, each of which asks all shards at once."""

from __future__ import annotations

from typing import Any, Final

from langgraph_sessions.plans import Execute, Plan
from langgraph_sessions.sql import retention
from langgraph_sessions.sql.citus.asking import ask, params, steps
from langgraph_sessions.sql.citus.upkeep import lock

Rows = list[dict[str, Any]]


def _old_sessions(question: retention.OldSessions) -> Plan[Rows]:
    """Whether one was ever used is looked at later, on its thread's shard.

    What a batch asks of each shard is soon done, but not on a new connection, which Citus would
    open for each few of them, and close at the batch's end.
    """
    yield Execute("SET LOCAL citus.max_adaptive_executor_pool_size = 1")
    rows: Rows = yield _OldSessions(**{**vars(question), "unused": None})
    return rows


class _OldSessions(retention.OldSessions):
    """`OldSessions` without a look at other shards."""

    sql = retention.OldSessions.sql.partition("AND (%(unused)s")[0] + "ORDER BY id LIMIT %(limit)s"


def _lock_old(question: retention.LockOldSessions) -> Plan[Rows]:
    """The threads that can be locked at once, and then their sessions: each row on its own node.

    No SELECT locks rows of several shards.
    """
    sql = f"""
SELECT user_id, thread_id FROM user_sessions WHERE id = ANY (%(ids)s) AND {_STILL_OLD}"""
    found = yield ask(sql, question.params)
    threads = [row["thread_id"] for row in found]
    given: dict[str, Any] = {
        "thread_ids": threads,
        "users": sorted({row["user_id"] for row in found}),
    }
    sql = """
SELECT thread_id FROM session_threads WHERE thread_id = ANY (%(thread_ids)s)
AND user_sessions_try_lock(thread_id)"""
    locked = {row["thread_id"] for row in (yield ask(sql, given))}
    if len(locked) < len(found):  # Held by somebody else, or not there.
        sql = "SELECT thread_id FROM session_threads WHERE thread_id = ANY (%(thread_ids)s)"
        there = {row["thread_id"] for row in (yield ask(sql, given))}
        loose = set(threads) - there
        if loose:  # As a rule made by SQL; else they are shown in a moment, and are used then.
            yield lock(loose)
        locked |= loose
    sql = """
SELECT thread_id FROM user_sessions WHERE thread_id = ANY (%(thread_ids)s)
AND user_id = ANY (%(users)s) AND user_sessions_try_lock_session(user_id, thread_id)"""
    sessions = yield ask(sql, {**given, "thread_ids": sorted(locked)})
    # Under the locks they are looked at again: somebody may have used or reactivated them.
    sql = f"""
SELECT thread_id FROM user_sessions WHERE thread_id = ANY (%(thread_ids)s)
AND user_id = ANY (%(users)s) AND {_STILL_OLD}"""
    given["thread_ids"] = [row["thread_id"] for row in sessions]
    rows: Rows = yield ask(sql, params(question, **given))
    return rows


_STILL_OLD: Final = """
(%(idle_for)s::interval IS NULL OR updated_at < clock_timestamp() - %(idle_for)s::interval)
AND (%(active)s::boolean IS NULL OR is_active = %(active)s)"""


# As `sql.retention.ThreadStates`, with `user_sessions_status`, but each part goes by thread: for
# many shards nothing may look for one row, or call what reads a table.
_STATES: Final = """
SELECT s.thread_id, newest.thread_id IS NOT NULL OR s.last_save IS NOT NULL AS is_used,
    coalesce(writes.status, 'idle') AS status, 0 AS tasks, newest.saved_at,
    coalesce(user_sessions_moment(newest.saved_at) > now() - interval '2 days', FALSE) AS is_recent,
    coalesce(writes.is_answered, FALSE) AS is_answered,
    coalesce(writes.has_failed, FALSE) AS has_failed, coalesce(writes.written, 0) AS written
FROM (
    SELECT thread_id, max(last_save) AS last_save FROM (
        SELECT thread_id, last_save FROM session_threads WHERE thread_id = ANY (%(thread_ids)s)
        UNION ALL
        SELECT thread_id, NULL FROM checkpoints WHERE thread_id = ANY (%(thread_ids)s)
    ) AS rows GROUP BY thread_id
) AS s
LEFT JOIN (
    SELECT c.thread_id, max(c.checkpoint ->> 'ts') AS saved_at
    FROM checkpoints AS c JOIN (
        SELECT thread_id, max(checkpoint_id) AS id FROM checkpoints
        WHERE thread_id = ANY (%(thread_ids)s) GROUP BY thread_id
    ) AS last ON last.thread_id = c.thread_id AND last.id = c.checkpoint_id
    GROUP BY c.thread_id
) AS newest ON newest.thread_id = s.thread_id
LEFT JOIN (
    SELECT thread_id, bool_or(is_answered) AS is_answered,
        bool_or(has_failed AND NOT has_output) AS has_failed,
        count(*) FILTER (WHERE task_id NOT LIKE '00000000-%%') AS written,
        max(CASE WHEN has_output THEN NULL WHEN asks THEN 'interrupted'
            WHEN fails THEN 'error' END) AS status
    FROM (
        SELECT w.thread_id, w.task_id, bool_or(w.channel = '__resume__') AS is_answered,
            bool_or(w.channel = '__error__') AS has_failed, bool_or(w.idx >= 0) AS has_output,
            bool_or(w.channel = '__interrupt__') AS asks,
            bool_or(w.channel = '__error__' AND NOT (w.type = 'msgpack'
                AND position('CancelledError('::bytea IN substring(w.blob FOR 18)) > 0)) AS fails
        FROM checkpoint_writes AS w JOIN (
            SELECT thread_id, max(checkpoint_id) AS id FROM checkpoints
            WHERE thread_id = ANY (%(thread_ids)s) AND checkpoint_ns = '' GROUP BY thread_id
        ) AS last ON last.thread_id = w.thread_id AND last.id = w.checkpoint_id
        WHERE w.checkpoint_ns = '' GROUP BY w.thread_id, w.task_id
    ) AS of_tasks GROUP BY thread_id
) AS writes ON writes.thread_id = s.thread_id"""
# How many there are to come, which is of interest where a run may be at work.
_TASKS: Final = """
SELECT c.thread_id, count(DISTINCT regexp_replace(v.key, '^.*:', '')) AS tasks
FROM checkpoints AS c JOIN (
    SELECT thread_id, max(checkpoint_id) AS id FROM checkpoints
    WHERE thread_id = ANY (%(thread_ids)s) AND checkpoint_ns = '' GROUP BY thread_id
) AS last ON last.thread_id = c.thread_id AND last.id = c.checkpoint_id
CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') AS v
LEFT JOIN checkpoint_blobs AS b ON b.thread_id = c.thread_id AND b.checkpoint_ns = ''
    AND b.channel = v.key AND b.version = v.value AND b.type <> 'empty'
WHERE c.checkpoint_ns = ''
AND user_sessions_starts(v.key, b.type, b.blob, c.checkpoint -> 'channel_values' ? v.key)
GROUP BY c.thread_id"""
# Of a thread of which nothing is saved, not even its row.
_NOTHING: Final = {
    "is_used": False,
    "status": "idle",
    "tasks": 0,
    "saved_at": None,
    "is_answered": False,
    "has_failed": False,
    "written": 0,
}


def _thread_states(question: retention.ThreadStates) -> Plan[Rows]:
    found = {row["thread_id"]: row for row in (yield ask(_STATES, question.params))}
    recent = [thread_id for thread_id, row in found.items() if row.pop("is_recent")]
    for row in (yield ask(_TASKS, {"thread_ids": recent})) if recent else ():
        found[row["thread_id"]]["tasks"] = row["tasks"]
    (row,) = yield ask("SELECT clock_timestamp() AS now", None)
    return [
        {**_NOTHING, "thread_id": thread_id, **found.get(thread_id, {}), **row}
        for thread_id in question.thread_ids
    ]


TRANSLATIONS: Final[dict[type, Any]] = {
    retention.OldSessions: steps(_old_sessions),
    retention.LockOldSessions: steps(_lock_old),
    retention.ThreadStates: steps(_thread_states),
}
