"""Leftovers in a database: threads without a session, and rows without a thread.

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
AND NOT EXISTS (SELECT FROM checkpoints AS c WHERE c.thread_id = s.thread_id)
ORDER BY thread_id LIMIT {EXAMPLES}"""


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
AND NOT EXISTS (SELECT FROM checkpoints AS c WHERE c.thread_id = threads.thread_id)
AND NOT EXISTS (SELECT FROM user_sessions AS s WHERE s.thread_id = threads.thread_id)
ORDER BY thread_id LIMIT {EXAMPLES}"""


def find() -> Plan[list[Finding]]:
    """Return what is found in the tables of both packages, which must be there."""
    found = yield from _bare_threads()
    for table in ("checkpoint_writes", "checkpoint_blobs"):
        rows = yield Fetch(_strays(table))
        mend = (
            f"while no run is at work: DELETE FROM {table} AS t WHERE NOT EXISTS (SELECT FROM "
            "checkpoints AS c WHERE c.thread_id = t.thread_id) AND NOT EXISTS (SELECT FROM "
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


def _bare_threads() -> Plan[list[Finding]]:
    """Walk over the threads as `backfill` does, and adopt none."""
    walk = upkeep.Backfill(BATCH)
    count, which = 0, list[str]()
    while (threads := (yield from walk.batch())) is not None:
        count += len(threads)
        which += [thread_id for _, thread_id in threads[: EXAMPLES - len(which)]]
    found = []
    if count:
        what = "threads name a user in their metadata, but have no session"
        found += [Finding("thread-without-session", what, f"{COMMAND} backfill", count, which)]
    if unowned := walk.counts["unowned"]:
        what = "threads name no user, and have no session: normal for runs without user_id"
        mend = f"nothing; {COMMAND} adopt USER THREAD, for a user's"
        found += [Finding("thread-of-nobody", what, mend, unowned, is_problem=False)]
    return found
