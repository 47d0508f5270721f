"""Every statement of a run and of the session manager, with its reason."""

from __future__ import annotations

from typing import Final

from langgraph_sessions.models import COLUMNS, STATUSES
from langgraph_sessions.sql.columns import record

_SESSION = ", ".join(COLUMNS)
_ROW = (*COLUMNS, "title_source", "titler_called", "last_save")
# With the preferences, as of the run's start, for `get_session(config)`.
_PREFIXED = ", ".join(
    (
        *(f"s.{column} AS session_{column}" for column in _ROW),
        "(SELECT preferences FROM session_users AS p WHERE p.user_id = %(user_id)s::text)",
    )
)

# The current session: the active one used last. One index scan of one row.
_CURRENT = """
SELECT * FROM user_sessions
WHERE user_id = %(user_id)s AND is_active
ORDER BY updated_at DESC, id DESC LIMIT 1"""


# --- Where a run goes -------------------------------------------------------------------
#
# One statement finds the session and loads its checkpoint, so that a run's start costs the
# round trip that the parent's does. `select` is the parent's own SELECT_SQL, never a copy;
# `None` finds the session alone.


def _head(select: str | None, thread_id: str, *, addressed: bool) -> str:
    """Join the checkpoint that a run asks for; nothing of another user's leaves the server."""
    if select is None:
        return ""
    which = (
        "AND checkpoint_id = %(checkpoint_id)s"
        if addressed
        else "ORDER BY checkpoint_id DESC LIMIT 1"
    )
    return f"""
LEFT JOIN LATERAL (
    {select}
    WHERE thread_id = {thread_id} AND checkpoint_ns = %(checkpoint_ns)s
    AND (s.id IS NULL OR s.user_id = %(user_id)s::text) {which}
) AS head ON TRUE"""


def _columns(select: str | None) -> str:
    return "" if select is None else ", head.*"


def open_current(select: str | None, *, addressed: bool) -> str:
    """Open the user's current session: one row, or none."""
    return (
        f"SELECT {_PREFIXED}{_columns(select)} FROM ({_CURRENT}) AS s"
        f"{_head(select, 's.thread_id', addressed=addressed)}"
    )


def open_thread(select: str | None, *, addressed: bool) -> str:
    """Open a certain thread: always one row, whoever owns it."""
    return _open("SELECT %(thread_id)s::text AS thread_id", select, addressed=addressed)


def _open(asked: str, select: str | None, *, addressed: bool) -> str:
    """Open the thread that the query *asked* gives: always one row, whoever owns it.

    For a thread without a session, `newest_*` is its newest checkpoint's owner, by the
    metadata that LangGraph copies from a run's configurable: who may adopt it.
    """
    return f"""
WITH asked AS ({asked})
SELECT asked.thread_id AS asked_thread_id, {_PREFIXED}{_columns(select)}, newest.*
FROM asked LEFT JOIN user_sessions AS s ON s.thread_id = asked.thread_id
LEFT JOIN LATERAL (
    SELECT c.thread_id AS newest_thread_id, user_sessions_owner(c.metadata) AS newest_user_id
    FROM checkpoints AS c
    WHERE s.id IS NULL AND %(user_id)s::text IS NOT NULL AND c.thread_id = asked.thread_id
    ORDER BY c.checkpoint_ns = '' DESC, c.checkpoint_id DESC LIMIT 1
) AS newest ON TRUE
{_head(select, "asked.thread_id", addressed=addressed)}"""


# Two first runs of one user must agree on a thread before either has saved anything, so
# the first to ask reserves an id. The row lock of ON CONFLICT makes the second one wait
# and read it. A reserved id is used up when its session was since deactivated, when another
# user took it, and when the caller found it `taken`.
_RESERVE = """
INSERT INTO session_users AS u (user_id, reserved_thread_id)
VALUES (%(user_id)s, %(new_thread_id)s)
ON CONFLICT (user_id) DO UPDATE SET reserved_thread_id = CASE
    WHEN u.reserved_thread_id IS NULL OR u.reserved_thread_id = %(taken)s::text OR EXISTS (
        SELECT FROM user_sessions AS used WHERE used.thread_id = u.reserved_thread_id
        AND (used.user_id <> u.user_id OR NOT used.is_active)
    ) THEN EXCLUDED.reserved_thread_id ELSE u.reserved_thread_id END
RETURNING reserved_thread_id AS thread_id"""


def open_reserved(select: str | None, *, addressed: bool) -> str:
    """Open the thread reserved for the user's next session: one row."""
    return _open(_RESERVE, select, addressed=addressed)


# --- What is queued beside a checkpoint ---------------------------------------------------

# Both raise when the thread is not the user's, and when another run has saved meanwhile,
# which rolls the checkpoint back with them.
PUT_SESSION: Final = f"""
SELECT {", ".join(_ROW)} FROM jsonb_to_record(user_sessions_put(jsonb_build_object(
    'user_id', %(user_id)s::text, 'thread_id', %(thread_id)s::text,
    'known', %(known)s::boolean, 'first', %(first)s::boolean,
    'title', %(title)s::text, 'message_title', %(message_title)s::text,
    'is_active', %(is_active)s::boolean, 'checked', %(checked)s::boolean,
    'save', %(save)s::text, 'seen', %(seen)s::text,
    'base', %(base)s::text, 'own', %(own)s::text, 'at', %(at)s::timestamptz)))
    AS s ({record(_ROW)})"""
GUARD_THREAD: Final = """
SELECT user_sessions_guard(jsonb_build_object(
    'user_id', %(user_id)s::text, 'thread_id', %(thread_id)s::text,
    'known', %(known)s::boolean, 'checked', %(checked)s::boolean,
    'save', %(save)s::text, 'seen', %(seen)s::text, 'base', %(base)s::text))"""
# After a save whose connection broke before it could say that it was done.
SAVED_SESSION: Final = f"""
SELECT {", ".join(_ROW)} FROM user_sessions AS s
WHERE user_id = %(user_id)s AND thread_id = %(thread_id)s AND EXISTS (
    SELECT FROM checkpoints AS c WHERE c.thread_id = s.thread_id
    AND checkpoint_ns = %(checkpoint_ns)s AND checkpoint_id = %(checkpoint_id)s)"""


# --- The session manager -------------------------------------------------------------------

# ON CONFLICT DO NOTHING and NOT EXISTS: an id that any thread has is refused, not taken over.
CREATE_SESSION: Final = f"""
INSERT INTO user_sessions
    (user_id, thread_id, title, title_source, metadata, created_at, updated_at)
SELECT %(user_id)s, %(thread_id)s::text, %(title)s, %(title_source)s, %(metadata)s::jsonb,
    coalesce(%(at)s::timestamptz, now()), coalesce(%(at)s::timestamptz, now())
WHERE NOT EXISTS (SELECT FROM checkpoints WHERE thread_id = %(thread_id)s::text)
ON CONFLICT (thread_id) DO NOTHING
RETURNING {_SESSION}"""

GET_CURRENT: Final = f"SELECT {_SESSION} FROM ({_CURRENT}) AS s"

GET_SESSION: Final = f"""
SELECT {_SESSION} FROM user_sessions
WHERE user_id = %(user_id)s AND thread_id = %(thread_id)s"""

# Without a thread id, the current session.
UPDATE_SESSION: Final = f"""
UPDATE user_sessions SET
    title = coalesce(%(title)s::text, title),
    title_source = CASE WHEN %(title)s::text IS NULL THEN title_source ELSE 'user' END,
    is_active = coalesce(%(is_active)s::boolean, is_active),
    metadata = metadata || coalesce(%(metadata)s::jsonb, '{{}}')
WHERE user_id = %(user_id)s
AND thread_id = coalesce(%(thread_id)s::text, (SELECT thread_id FROM ({_CURRENT}) AS s))
RETURNING {_SESSION}"""

SWITCH_SESSION: Final = f"""
UPDATE user_sessions SET is_active = TRUE,
    updated_at = greatest(updated_at, coalesce(%(at)s::timestamptz, clock_timestamp()))
WHERE user_id = %(user_id)s AND thread_id = %(thread_id)s
RETURNING {_SESSION}"""

DEACTIVATE_SESSIONS: Final = """
WITH deactivated AS (
    UPDATE user_sessions SET is_active = FALSE
    WHERE user_id = %(user_id)s AND is_active
    AND (%(thread_id)s::text IS NULL OR thread_id = %(thread_id)s::text)
    RETURNING 1
) SELECT count(*) AS count FROM deactivated"""

HAS_SESSION: Final = """
SELECT EXISTS (
    SELECT FROM user_sessions WHERE user_id = %(user_id)s AND is_active
)::int AS count"""

DELETE_THREADS: Final = """
SELECT user_sessions_delete(%(thread_ids)s::text[], %(user_id)s) AS count"""

# The filters of a listing, each added only when asked for: a plan for the question at
# hand, where `(%s IS NULL OR …)` can end in a generic one that uses no index.
FILTERS: Final = {
    "user_id": "user_id = %(user_id)s",
    "title": r"title ILIKE %(title)s ESCAPE '\'",
    "metadata": "metadata @> %(metadata)s",
    "updated_after": "updated_at > %(updated_after)s",
    "updated_before": "updated_at < %(updated_before)s",
    # Keyset, not OFFSET: pages stay stable while sessions are touched.
    "after": "(updated_at, id) < (%(after_time)s, %(after_id)s)",
}
# Literal values, so that the indexes on these, one of them partial, are recognised.
ACTIVE: Final = {True: "is_active", False: "NOT is_active"}
STATUS: Final = {status: f"status = '{status}'" for status in STATUSES}


def list_sessions(conditions: list[str], *, limited: bool) -> str:
    """List sessions, newest first, with their status."""
    order = _order(conditions)
    chosen = f"{_where(conditions)}{order}{' LIMIT %(limit)s' if limited else ''}"
    if FILTERS["title"] in conditions:  # Found in the index alone.
        chosen = f" WHERE id IN (SELECT id FROM user_sessions{chosen}){order}"
    return f"SELECT {_SESSION}, status FROM user_sessions{chosen}"


def _order(conditions: list[str]) -> str:
    """Return the order of a listing, in the words of the index that is to give it.

    No time, and no id, is NULL: NULLS LAST changes nothing but which index has that order, one
    for everybody's lists, one for those of everybody's that are active or not.
    """
    if FILTERS["user_id"] in conditions:
        return " ORDER BY updated_at DESC, id DESC"
    if set(ACTIVE.values()) & set(conditions):
        return " ORDER BY updated_at DESC NULLS LAST, id DESC"
    return " ORDER BY updated_at DESC NULLS LAST, id DESC NULLS LAST"


def count_sessions(conditions: list[str]) -> str:
    """Count sessions."""
    return f"SELECT count(*) AS count FROM user_sessions{_where(conditions)}"


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


# --- Titles by a model -------------------------------------------------------------------------

# Whoever sets the mark calls the titler: once for a session, over all processes.
CLAIM_TITLE: Final = """
UPDATE user_sessions SET titler_called = TRUE
WHERE thread_id = %(thread_id)s AND NOT titler_called AND title_source <> 'user'
RETURNING id"""
SET_MODEL_TITLE: Final = f"""
UPDATE user_sessions SET title = %(title)s, title_source = 'model'
WHERE thread_id = %(thread_id)s AND title_source <> 'user'
RETURNING {_SESSION}"""


# --- Runs that wait for each other -------------------------------------------------------------

# For this transaction alone. The server ends one whose client's machine is gone within a
# minute, and none for being idle: its holder's run may take long.
LOCK_SETTINGS: Final = """
SELECT set_config('lock_timeout', %(milliseconds)s, TRUE),
    set_config('statement_timeout', '0', TRUE),
    set_config('idle_in_transaction_session_timeout', '0', TRUE),
    set_config('tcp_keepalives_idle', '30', TRUE),
    set_config('tcp_keepalives_interval', '10', TRUE),
    set_config('tcp_keepalives_count', '3', TRUE)"""
LOCK_SESSION: Final = """
SELECT pg_advisory_xact_lock(
    hashtextextended('langgraph_sessions ' || %(thread_id)s::text, 0))::text AS locked"""


# --- Whole threads, users and databases ------------------------------------------------------

COPY_SESSION: Final = f"""
SELECT {_SESSION} FROM jsonb_to_record(user_sessions_copy_session(jsonb_build_object(
    'source', %(source)s::text, 'target', %(target)s::text, 'user_id', %(user_id)s::text,
    'checkpoint_id', %(checkpoint_id)s::text, 'title', %(title)s::text)))
    AS s ({record(COLUMNS)}) WHERE s.id IS NOT NULL"""

RUN_THREADS: Final = """
SELECT DISTINCT thread_id FROM checkpoints WHERE metadata ->> 'run_id' = ANY (%(run_ids)s)"""
LOCK_WRITES: Final = "SELECT user_sessions_lock_writes(%(thread_ids)s::text[])::text"
LOCK_SESSIONS: Final = """
SELECT id FROM user_sessions WHERE thread_id = ANY (%(thread_ids)s)
ORDER BY thread_id FOR UPDATE"""
RUNS_BELOW_OTHERS: Final = """
SELECT EXISTS (
    SELECT FROM checkpoints AS gone JOIN checkpoints AS kept USING (thread_id, checkpoint_ns)
    WHERE gone.thread_id = ANY (%(thread_ids)s)
    AND gone.metadata ->> 'run_id' = ANY (%(run_ids)s)
    AND NOT coalesce(kept.metadata ->> 'run_id' = ANY (%(run_ids)s), FALSE)
    AND kept.checkpoint_id > gone.checkpoint_id
)::int AS count"""
DELETE_RUNS: Final = "SELECT user_sessions_delete_runs(%(run_ids)s)"

# Reads all of checkpoints: LangGraph has no index on who saved them.
PLAIN_THREADS: Final = """
SELECT DISTINCT c.thread_id FROM checkpoints AS c
WHERE user_sessions_owner(c.metadata) = %(user_id)s
AND user_sessions_thread_owner(c.thread_id) = %(user_id)s
AND NOT EXISTS (SELECT FROM user_sessions AS s WHERE s.thread_id = c.thread_id)
ORDER BY c.thread_id"""
DELETE_USER: Final = "SELECT * FROM user_sessions_delete_user(%(user_id)s)"

PURGE: Final = """
SELECT * FROM user_sessions_purge(%(idle_for)s, %(older_than)s, %(active)s, %(interrupted)s,
    %(after)s, %(limit)s, %(dry_run)s)"""

GET_PREFERENCES: Final = "SELECT preferences FROM session_users WHERE user_id = %(user_id)s"
UPDATE_PREFERENCES: Final = """
INSERT INTO session_users AS u (user_id, preferences)
VALUES (%(user_id)s, %(changes)s::jsonb)
ON CONFLICT (user_id) DO UPDATE SET
    preferences = (u.preferences || %(changes)s::jsonb) - %(removed)s::text[]
RETURNING preferences"""

# The next threads without a session, by thread id: a skip scan, since PostgreSQL would read
# every checkpoint of every thread for a DISTINCT.
NEXT_THREADS: Final = """
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

# Times from the first and the last checkpoint. Nothing is adopted twice, or from its owner.
ADOPT_SESSION: Final = f"""
INSERT INTO user_sessions
    (user_id, thread_id, title, title_source, status, created_at, updated_at)
SELECT %(user_id)s, %(thread_id)s::text, %(title)s, %(title_source)s,
    user_sessions_status(%(thread_id)s),
    coalesce(min((checkpoint ->> 'ts')::timestamptz), now()),
    coalesce(max((checkpoint ->> 'ts')::timestamptz), now())
FROM checkpoints WHERE thread_id = %(thread_id)s::text
HAVING count(*) > 0
ON CONFLICT (thread_id) DO UPDATE SET thread_id = EXCLUDED.thread_id
WHERE user_sessions.user_id = EXCLUDED.user_id
RETURNING {_SESSION}"""

THREAD_OWNER: Final = """
SELECT user_sessions_thread_owner(%(thread_id)s) AS owner
WHERE EXISTS (SELECT FROM checkpoints WHERE thread_id = %(thread_id)s)"""
