"""Leftovers in a database: threads without a session, sessions and rows without a thread.

It is for the doctor, and only reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg.rows import DictRow

from langgraph_sessions.doctor.findings import COMMAND, Finding
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sessions import upkeep

EXAMPLES: Final = 5  # How many of those concerned are named.
BATCH: Final = 1000

# What is on a user's shard and what is on a thread's, Citus joins by way of what is MATERIALIZED.
_UNUSED: Final = f"""
WITH bare AS MATERIALIZED (SELECT thread_id FROM session_threads AS t
    WHERE NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = t.thread_id))
SELECT thread_id, count(*) OVER () AS count FROM user_sessions JOIN bare USING (thread_id)
WHERE created_at < clock_timestamp() - interval '1 hour' ORDER BY thread_id LIMIT {EXAMPLES}"""

# A session and its thread's row are made and deleted in one transaction, unless by somebody else.
_THREADS: Final = """
WITH t AS {how} (SELECT thread_id, user_id FROM session_threads)"""
_UNPAIRED: Final = """
FROM user_sessions AS s WHERE NOT EXISTS (SELECT 1 FROM t
WHERE t.thread_id = s.thread_id AND t.user_id = s.user_id)"""
_SESSIONS: Final = """
WITH s AS {how} (SELECT thread_id FROM user_sessions)"""
_ALONE: Final = """
FROM session_threads AS t WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.thread_id = t.thread_id)"""


def _examples(beside: str, selected: str) -> str:
    counted = f"SELECT thread_id, count(*) OVER () AS count{selected}"
    return f"{beside} {counted} ORDER BY 1 LIMIT {EXAMPLES}"


# All these are on a thread's shard.
_STRAY: Final = """
NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = stray.thread_id)
AND NOT EXISTS (SELECT 1 FROM session_threads AS t WHERE t.thread_id = stray.thread_id)"""


def _strays(table: str, distributed: bool) -> str:
    """Select the threads of *table* that nothing else knows, on one PostgreSQL by a skip scan."""
    if distributed:
        each = f"(SELECT DISTINCT thread_id FROM {table}) AS stray WHERE{_STRAY}"
        return _examples("", f" FROM {each}")
    return f"""
WITH RECURSIVE stray AS (
    (SELECT thread_id FROM {table} ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.thread_id FROM {table} AS t WHERE t.thread_id > stray.thread_id
            ORDER BY t.thread_id LIMIT 1)
    FROM stray WHERE stray.thread_id IS NOT NULL
){_examples("", f" FROM stray WHERE thread_id IS NOT NULL AND{_STRAY}")}"""


def find(*, distributed: bool) -> Plan[list[Finding]]:
    """Return what is found in the tables of both packages, which must be there.

    Args:
        distributed: They are distributed by Citus.
    """
    found = yield from _bare_threads()
    found += yield from _unpaired(distributed)
    for table in ("checkpoint_writes", "checkpoint_blobs"):
        rows = yield Fetch(_strays(table, distributed))
        mend = f"while no run is at work: {_line(f'DELETE FROM {table} AS stray WHERE{_STRAY}')}"
        what = f"threads have rows in {table}, but neither checkpoints nor a session"
        found += _of("stray-rows", what, mend, rows)
    rows = yield Fetch(_UNUSED)
    what = "sessions older than an hour have no checkpoints: normal, if they were never used"
    mend = f"nothing; {COMMAND} delete or purge, to be rid of them"
    return found + _of("session-without-thread", what, mend, rows, is_problem=False)


def _of(
    check: str, what: str, mend: str, rows: Sequence[DictRow], *, is_problem: bool = True
) -> list[Finding]:
    which = [row["thread_id"] for row in rows]
    return [Finding(check, what, mend, rows[0]["count"], which, is_problem)] if rows else []


def _unpaired(distributed: bool) -> Plan[list[Finding]]:
    """Look for sessions to which no run can save, and for thread ids that nobody can use."""
    how = "MATERIALIZED" if distributed else "NOT MATERIALIZED"  # Which costs nothing.
    threads, sessions = _THREADS.format(how=how), _SESSIONS.format(how=how)
    rows = yield Fetch(_examples(threads, _UNPAIRED))
    what = "sessions have no row in session_threads, or another user's: their runs may be refused"
    mend = _line(
        f"{threads} INSERT INTO session_threads (thread_id, user_id) SELECT thread_id, user_id"
        f"{_UNPAIRED} ON CONFLICT (thread_id) DO UPDATE SET user_id = EXCLUDED.user_id"
    )
    found = _of("session-unpaired", what, mend, rows)
    rows = yield Fetch(_examples(sessions, _ALONE))
    what = "rows of session_threads have no session: nobody can use their thread ids"
    return found + _of("thread-unpaired", what, _line(f"{sessions} DELETE{_ALONE}"), rows)


def _line(sql: str) -> str:
    return " ".join(sql.split())


def _bare_threads() -> Plan[list[Finding]]:
    """Walk over the threads as `backfill` does, and adopt none."""
    walk = upkeep.Backfill(BATCH)
    count, which, nobodys = 0, list[str](), list[str]()
    while (threads := (yield from walk.batch())) is not None:
        count += len(threads)
        which += [thread_id for _, thread_id in threads[: EXAMPLES - len(which)]]
        nobodys += walk.nobodys[: EXAMPLES - len(nobodys)]
    found = []
    if count:
        what = "threads name a user in their metadata, but have no session"
        found += [Finding("thread-without-session", what, f"{COMMAND} backfill", count, which)]
    if unowned := walk.counts["unowned"]:
        what = "threads name no user, and have no session: normal for runs without user_id"
        mend = f"nothing; {COMMAND} adopt THREAD --user ID, for a user's"
        found += [Finding("thread-of-nobody", what, mend, unowned, nobodys, is_problem=False)]
    return found
