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

_UNUSED = f"""
SELECT thread_id, count(*) OVER () AS count FROM user_sessions AS s
WHERE created_at < clock_timestamp() - interval '1 hour'
AND NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = s.thread_id)
ORDER BY thread_id LIMIT {EXAMPLES}"""

# A session and its thread's row are made and deleted in one transaction, unless by somebody else.
_UNPAIRED: Final = """
FROM user_sessions AS s WHERE NOT EXISTS (SELECT 1 FROM session_threads AS t
WHERE t.thread_id = s.thread_id AND t.user_id = s.user_id)"""
_ALONE: Final = """
FROM session_threads AS t WHERE NOT EXISTS (SELECT 1 FROM user_sessions AS s
WHERE s.thread_id = t.thread_id)"""


def _examples(selected: str) -> str:
    return f"SELECT thread_id, count(*) OVER () AS count{selected} ORDER BY 1 LIMIT {EXAMPLES}"


def _strays(table: str) -> str:
    """Select the threads of *table* that nothing else knows, by a skip scan."""
    return f"""
WITH RECURSIVE threads AS (
    (SELECT thread_id FROM {table} ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.thread_id FROM {table} AS t WHERE t.thread_id > threads.thread_id
            ORDER BY t.thread_id LIMIT 1)
    FROM threads WHERE threads.thread_id IS NOT NULL
)
SELECT thread_id, count(*) OVER () AS count FROM threads WHERE thread_id IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = threads.thread_id)
AND NOT EXISTS (SELECT 1 FROM user_sessions AS s WHERE s.thread_id = threads.thread_id)
ORDER BY thread_id LIMIT {EXAMPLES}"""


def find() -> Plan[list[Finding]]:
    """Return what is found in the tables of both packages, which must be there."""
    found = yield from _bare_threads()
    found += yield from _unpaired()
    for table in ("checkpoint_writes", "checkpoint_blobs"):
        rows = yield Fetch(_strays(table))
        mend = (
            f"while no run is at work: DELETE FROM {table} AS t WHERE NOT EXISTS (SELECT 1 FROM "
            "checkpoints AS c WHERE c.thread_id = t.thread_id) AND NOT EXISTS (SELECT 1 FROM "
            "user_sessions AS s WHERE s.thread_id = t.thread_id)"
        )
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


def _unpaired() -> Plan[list[Finding]]:
    """Look for sessions to which no run can save, and for thread ids that nobody can use."""
    rows = yield Fetch(_examples(_UNPAIRED))
    what = "sessions have no row in session_threads, or another user's: their runs may be refused"
    mend = (
        f"INSERT INTO session_threads (thread_id, user_id) SELECT thread_id, user_id{_UNPAIRED} "
        "ON CONFLICT (thread_id) DO UPDATE SET user_id = EXCLUDED.user_id"
    )
    found = _of("session-unpaired", what, " ".join(mend.split()), rows)
    rows = yield Fetch(_examples(_ALONE))
    what = "rows of session_threads have no session: nobody can use their thread ids"
    return found + _of("thread-unpaired", what, " ".join(f"DELETE{_ALONE}".split()), rows)


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
