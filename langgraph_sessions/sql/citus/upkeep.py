"""Statements about whole threads and users: deletions, transfers, adoption."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from psycopg.types.json import Jsonb

from langgraph_sessions.json_checks import METADATA_SIZE
from langgraph_sessions.plans import Plan, Question
from langgraph_sessions.sql import deletion, transfer, upkeep
from langgraph_sessions.sql.citus.asking import ask, ask_for_nothing, params, steps
from langgraph_sessions.sql.citus.opening import EXISTS
from langgraph_sessions.sql.rows import SESSION

Rows = list[dict[str, Any]]


# --- Deletions ---------------------------------------------------------------------------------


def _lock_threads(question: deletion.LockThreads) -> Question:
    """One after another, in order: no SELECT locks rows of several shards."""
    return lock(question.thread_ids)


def lock(thread_ids: Collection[str]) -> Question:
    """Lock the rows of threads, those, too, that had yet to become visible."""
    sql = "SELECT thread_id FROM user_sessions_lock(%(thread_ids)s) AS thread_id"
    return ask(sql, {"thread_ids": sorted(thread_ids)})


def _delete_sessions(question: deletion.DeleteSessions) -> Plan[Rows]:
    """The threads' rows say whose they are; where one has none, every shard is asked."""
    whose = "" if question.user_id is None else " AND user_id = %(user_id)s"
    sql = "DELETE FROM session_threads WHERE thread_id = ANY (%(thread_ids)s)"
    deleted = yield ask(f"{sql}{whose} RETURNING thread_id, user_id", question.params)
    owned = {row["user_id"] for row in deleted}
    if question.user_id is not None:
        owned = {question.user_id}
    elif len(deleted) < len(set(question.thread_ids)):
        owned = set()
    sql = "DELETE FROM user_sessions WHERE thread_id = ANY (%(thread_ids)s)"
    by_user = " AND user_id = ANY (%(users)s)" if owned else ""
    sql = f"{sql}{by_user} RETURNING thread_id, user_id"
    given = {"thread_ids": question.thread_ids, "users": sorted(owned)}
    rows: Rows = yield ask(sql, given)
    for row in deleted:
        if row not in rows and (yield from _shows_up(row)):
            rows += yield ask(sql, given)
    return rows


def _shows_up(thread: dict[str, Any]) -> Plan[bool]:
    """Say whether a locked thread has a session, which may have yet to become visible."""
    (row,) = yield ask(EXISTS, thread)
    return bool(row["found"])


def _delete_strays(question: deletion.DeleteStrays) -> Plan[Rows]:
    """A thread whose session cannot be seen may be one that is being made: that is waited for."""
    sql = "SELECT thread_id FROM session_threads WHERE user_id = %(user_id)s"
    threads = {row["thread_id"] for row in (yield ask(sql, question.params))}
    sql = "SELECT thread_id FROM user_sessions WHERE user_id = %(user_id)s"
    threads -= {row["thread_id"] for row in (yield ask(sql, question.params))}
    strays: Rows = []
    for row in (yield lock([*threads])) if threads else ():
        given = {"user_id": question.user_id, **row}
        if not (yield from _shows_up(given)):
            sql = """
DELETE FROM session_threads WHERE thread_id = %(thread_id)s AND user_id = %(user_id)s
RETURNING thread_id"""
            strays += yield ask(sql, given)
    return strays


_GIVEN: Final = re.compile(
    r"unnest\(%\(threads\)s::text\[\], (?P<rest>[^\n]*)\n    AS d \(thread_id, "
)


def _per_thread(question: Any) -> Plan[Rows]:
    """Thread by thread: a list of them beside a table is no join of shards."""
    sql = _GIVEN.sub(r"unnest(\g<rest>\n    AS d (", question.sql).replace(
        "d.thread_id", "%(thread_id)s"
    )
    names = ("namespaces", "ids", "parents")
    for thread_id in sorted(set(question.threads)):
        at = [place for place, each in enumerate(question.threads) if each == thread_id]
        given = {name: [getattr(question, name)[place] for place in at] for name in names}
        yield ask_for_nothing(sql, {"thread_id": thread_id, **given})
    return []


def _unreferenced(question: deletion.DeleteUnreferencedBlobs) -> Plan[Rows]:
    sql = question.sql.replace("b.thread_id = ANY (%(thread_ids)s)", "b.thread_id = %(thread_id)s")
    sql = sql.replace("c.thread_id = b.thread_id", "c.thread_id = %(thread_id)s")
    for thread_id in question.thread_ids:
        yield ask_for_nothing(sql, {"thread_id": thread_id})
    return []


def _set_statuses(question: deletion.SetStatuses) -> Plan[Rows]:
    for thread_id in question.thread_ids:
        given: dict[str, Any] = {"thread_id": thread_id}
        owners = yield ask(
            "SELECT user_id FROM session_threads WHERE thread_id = %(thread_id)s", given
        )
        for owner in owners:
            (row,) = yield ask("SELECT user_sessions_status(%(thread_id)s) AS status", given)
            sql = """
UPDATE user_sessions SET status = %(status)s WHERE user_id = %(user_id)s
AND thread_id = %(thread_id)s RETURNING 1 AS changed"""
            given |= {**owner, **row}
            if not (yield ask(sql, given)) and (yield from _shows_up(given)):
                yield ask(sql, given)
    return []


def _empty_threads(question: deletion.EmptyThreads) -> Plan[Rows]:
    sql = "SELECT DISTINCT thread_id FROM checkpoints WHERE thread_id = ANY (%(thread_ids)s)"
    kept = {row["thread_id"] for row in (yield ask(sql, question.params))}
    return [{"thread_id": thread_id} for thread_id in question.thread_ids if thread_id not in kept]


# --- Transfer ----------------------------------------------------------------------------------


def _move_sessions(question: transfer.MoveSessions) -> Question:
    sql = """
SELECT thread_id, %(from_user)s::text AS user_id
FROM user_sessions_move(%(thread_ids)s, %(from_user)s, %(to_user)s) AS thread_id"""
    return ask(sql, question.params)


def _move_preferences(question: transfer.MovePreferences) -> Plan[Rows]:
    sql = "DELETE FROM session_users WHERE user_id = %(from_user)s RETURNING preferences"
    for row in (yield ask(sql, question.params)):
        sql = """
INSERT INTO session_users AS u (user_id, preferences) VALUES (%(to_user)s, %(preferences)s)
ON CONFLICT (user_id) DO UPDATE SET
    preferences = user_sessions_within(EXCLUDED.preferences || u.preferences, %(size)s)
RETURNING 1 AS moved"""
        given = {"to_user": question.to_user, "preferences": Jsonb(row["preferences"])}
        yield ask(sql, {**given, "size": METADATA_SIZE})
    return []


# --- Threads without a session -----------------------------------------------------------------


def _plain_threads(question: upkeep.PlainThreads) -> Plan[Rows]:
    sql = """
SELECT DISTINCT c.thread_id FROM checkpoints AS c
LEFT JOIN session_threads AS t ON t.thread_id = c.thread_id
WHERE user_sessions_owner(c.metadata) = %(user_id)s AND t.thread_id IS NULL"""
    threads = sorted(row["thread_id"] for row in (yield ask(sql, question.params)))
    owned = yield from _with_owners(threads)
    return [{"thread_id": each} for each in threads if owned[each] == question.user_id]


def _with_owners(threads: list[str]) -> Plan[dict[str, str | None]]:
    sql = """
SELECT thread_id, user_sessions_thread_owner(thread_id) AS owner
FROM unnest(%(thread_ids)s::text[]) AS thread_id"""
    rows = (yield ask(sql, {"thread_ids": threads})) if threads else []
    return {row["thread_id"]: row["owner"] for row in rows}


def _next_threads(question: upkeep.NextThreads) -> Plan[Rows]:
    sql = """
SELECT c.thread_id, bool_or(t.thread_id IS NOT NULL) AS has_session FROM checkpoints AS c
LEFT JOIN session_threads AS t ON t.thread_id = c.thread_id WHERE c.thread_id > %(after)s
GROUP BY c.thread_id ORDER BY c.thread_id LIMIT %(limit)s"""
    rows: Rows = yield ask(sql, question.params)
    owners = yield from _with_owners([row["thread_id"] for row in rows if not row["has_session"]])
    return [{**row, "owner": owners.get(row["thread_id"])} for row in rows]


def _thread_owner(question: upkeep.ThreadOwner) -> Plan[Rows]:
    sql = "SELECT 1 AS found FROM checkpoints WHERE thread_id = %(thread_id)s LIMIT 1"
    if not (yield ask(sql, question.params)):
        return []
    sql = "SELECT user_sessions_thread_owner(%(thread_id)s) AS owner"
    found: Rows = yield ask(sql, question.params)
    return found


def _adopt(question: upkeep.InsertAdopted) -> Plan[Rows]:
    sql = """
SELECT coalesce(min(user_sessions_moment(checkpoint ->> 'ts')), %(now)s) AS first,
    coalesce(max(user_sessions_moment(checkpoint ->> 'ts')), %(now)s) AS last, count(*) AS count
FROM checkpoints WHERE thread_id = %(thread_id)s"""
    (now,) = yield ask("SELECT now() AS now", None)
    (saved,) = yield ask(sql, params(question, **now))
    if not saved["count"]:
        return []
    sql = """
INSERT INTO session_threads AS t (thread_id, user_id) VALUES (%(thread_id)s, %(user_id)s)
ON CONFLICT (thread_id) DO UPDATE SET last_save = t.last_save
WHERE t.user_id = EXCLUDED.user_id RETURNING 1 AS made"""
    if not (yield ask(sql, question.params)):
        return []
    (row,) = yield ask("SELECT user_sessions_status(%(thread_id)s) AS status", question.params)
    sql = f"""
INSERT INTO user_sessions AS s
    (user_id, thread_id, agent, title, title_source, status, created_at, updated_at, current_at)
VALUES (%(user_id)s, %(thread_id)s, %(agent)s, %(title)s, %(title_source)s, %(status)s,
    %(first)s, %(last)s, %(last)s)
ON CONFLICT (user_id, thread_id) DO UPDATE SET title = s.title
WHERE %(agent)s::text IS NULL OR s.agent = %(agent)s::text
RETURNING {SESSION}"""
    first, last = min(saved["first"], now["now"]), min(saved["last"], now["now"])
    made: Rows = yield ask(sql, params(question, **row, first=first, last=last))
    return made


TRANSLATIONS: Final[dict[type, Any]] = {
    deletion.LockThreads: _lock_threads,
    deletion.DeleteSessions: steps(_delete_sessions),
    deletion.DeleteStrays: steps(_delete_strays),
    deletion.DeleteTheirWrites: steps(_per_thread),
    deletion.DeleteAnswers: steps(_per_thread),
    deletion.UnlinkChildren: steps(_per_thread),
    deletion.DeleteUnreferencedBlobs: steps(_unreferenced),
    deletion.EmptyThreads: steps(_empty_threads),
    deletion.SetStatuses: steps(_set_statuses),
    transfer.MoveSessions: _move_sessions,
    transfer.MovePreferences: steps(_move_preferences),
    upkeep.PlainThreads: steps(_plain_threads),
    upkeep.NextThreads: steps(_next_threads),
    upkeep.ThreadOwner: steps(_thread_owner),
    upkeep.InsertAdopted: steps(_adopt),
}
