"""Opening the thread of a run: the session on its user's shard, the rest on the thread's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from psycopg.types.json import Jsonb

from langgraph_sessions.plans import Plan
from langgraph_sessions.sql import opening
from langgraph_sessions.sql.citus.asking import ask, params, steps
from langgraph_sessions.sql.columns import IN_RUNS, shown
from langgraph_sessions.sql.rows import current

Row = Mapping[str, Any]

_COLUMNS: Final = ", ".join(f"{shown(name, 's')} AS session_{name}" for name in IN_RUNS)
_PREFERENCES: Final = """
    (SELECT preferences FROM session_users AS p WHERE p.user_id = %(user_id)s) AS preferences"""
_SESSION: Final = f"""
SELECT {_COLUMNS}, {_PREFERENCES} FROM user_sessions AS s
WHERE s.user_id = %(user_id)s AND s.thread_id = %(thread_id)s"""
_NO_SESSION: Final = {f"session_{name}": None for name in IN_RUNS}
CORRELATED: Final = re.compile(r"\b(\w+)\.thread_id = checkpoints\.thread_id\b")
_NO_THREAD: Final = "(SELECT '' AS thread_id, '' AS user_id, NULL AS last_save WHERE FALSE)"
TRIES: Final = 3
EXISTS: Final = "SELECT user_sessions_exists(%(user_id)s, %(thread_id)s) AS found"

# Whose a thread without a session is: as in `sql.opening`, but for what calls a function that
# reads tables.
_NEWEST: Final = """
    SELECT c.thread_id AS newest_thread_id, user_sessions_owner(c.metadata) AS newest_user_id
    FROM checkpoints AS c WHERE t.thread_id IS NULL AND c.thread_id = %(thread_id)s
    ORDER BY c.checkpoint_ns = '' DESC, c.checkpoint_id DESC LIMIT 1"""
_NEWEST_OF_NOBODYS: Final = """
    SELECT c.thread_id AS newest_thread_id, user_sessions_owner(c.metadata) AS newest_user_id
    FROM checkpoints AS c WHERE t.thread_id IS NULL AND c.thread_id = %(thread_id)s
    AND c.metadata ?| ARRAY['user_id', 'langgraph_auth_user_id']
    AND user_sessions_owner(c.metadata) IS NOT NULL LIMIT 1"""
_NEWEST_TRUSTED: Final = """
    SELECT c.thread_id AS newest_thread_id, user_sessions_owner(c.metadata) AS newest_user_id
    FROM checkpoints AS c WHERE t.thread_id IS NULL AND c.thread_id = %(thread_id)s
    ORDER BY user_sessions_owner(c.metadata) IS NULL, c.checkpoint_ns = '' DESC,
        c.checkpoint_id DESC LIMIT 1"""


def of_one_thread(select: str) -> str:
    """Return LangGraph's SELECT with the thread's id in its sub-selects, too.

    Citus finds the one shard by constants alone.
    """
    return CORRELATED.sub(r"\1.thread_id = %(thread_id)s", select)


@cache
def _thread(kind: Any, select: str | None, addressed: bool, alone: bool) -> str:
    """Return the SQL of what stands on the thread's shard: one row.

    *alone*: its row in session_threads is a leftover, and does not count.
    """
    newest, user = _NEWEST, "%(user_id)s"
    if kind is opening.OpenNobodys:
        newest = _NEWEST_OF_NOBODYS
    elif kind is opening.OpenTrusted:
        newest, user = _NEWEST_TRUSTED, "t.user_id"
    columns, head = "", ""
    if select is not None:
        which = (
            "AND checkpoint_id = %(checkpoint_id)s"
            if addressed
            else "ORDER BY checkpoint_id DESC LIMIT 1"
        )
        columns = ", head.*"
        head = f"""
LEFT JOIN LATERAL (
    {of_one_thread(select)}
    WHERE thread_id = %(thread_id)s AND checkpoint_ns = %(checkpoint_ns)s
    AND (t.thread_id IS NULL OR t.user_id = {user}) {which}
) AS head ON TRUE"""
    threads = _NO_THREAD if alone else "session_threads"
    return f"""
SELECT t.user_id AS thread_user_id, t.last_save{columns}, newest.* FROM (SELECT 1) AS one
LEFT JOIN {threads} AS t ON t.thread_id = %(thread_id)s
LEFT JOIN LATERAL ({newest}) AS newest ON TRUE{head}"""


def _asked(
    question: opening._Open, thread_id: str, *, alone: bool = False
) -> Plan[tuple[str | None, dict[str, Any]]]:
    """Ask the thread's shard; return whose its row says that it is, and what one asks for."""
    kind: Any = type(question)
    sql = _thread(kind, question.select, question.checkpoint_id is not None, alone)
    rows = yield ask(sql, params(question, thread_id=thread_id))
    found: dict[str, Any] = rows[0]
    return found.pop("thread_user_id"), found


def _open_current(question: opening.OpenCurrent) -> Plan[list[Row]]:
    """The session is found first; its thread must have the same to say."""
    sql = f"SELECT {_COLUMNS}, {_PREFERENCES} FROM ({current(question.agent)}) AS s"
    alone: str | None = None
    for _ in range(TRIES):
        rows = yield ask(sql, question.params)
        if not rows:
            return []
        session = rows[0]
        thread_id = session["session_thread_id"]
        owner, thread = yield from _asked(question, thread_id)
        if owner == question.user_id or alone == thread_id:
            break
        alone = None if (yield from settled(question.user_id, thread_id)) else thread_id
    return [{**thread, **session, "newest_thread_id": None, "newest_user_id": None}]


def settled(user_id: str | None, thread_id: str) -> Plan[bool]:
    """Wait until both nodes show the same of a session; say whether its thread's row was there.

    Without one it was made by SQL, and stands alone.
    """
    given = {"user_id": user_id, "thread_id": thread_id}
    (row,) = yield ask("SELECT user_sessions_settle(%(user_id)s, %(thread_id)s) AS settled", given)
    return bool(row["settled"])


def _open_thread(question: opening._OpenCertain) -> Plan[list[Row]]:
    return _opened(question, str(question.thread_id))


def _opened(question: opening._Open, thread_id: str) -> Plan[list[Row]]:
    """The thread says whose it is; the session is that user's."""
    for _ in range(TRIES):
        owner, thread = yield from _asked(question, thread_id)
        if owner is None:
            break
        given = {"user_id": owner, "thread_id": thread_id}
        for session in (yield ask(_SESSION, given)):
            if owner != question.user_id and not isinstance(question, opening.OpenTrusted):
                session = {**session, "preferences": None}
            return [{"asked_thread_id": thread_id, **thread, **session}]
        (row,) = yield ask(EXISTS, given)
        if not row["found"]:
            _, thread = yield from _asked(question, thread_id, alone=True)
            break
    is_trusted = isinstance(question, opening.OpenTrusted)
    user_id = thread["newest_user_id"] if is_trusted else question.user_id
    preferences = None
    if user_id is not None:
        for row in (yield ask(f"SELECT {_PREFERENCES}", {"user_id": user_id})):
            preferences = row["preferences"]
    found = {"asked_thread_id": thread_id, **_NO_SESSION, **thread, "preferences": preferences}
    return [{**found, "last_save": None}]


def _reserved(question: opening.OpenReserved | opening.FindNext, **more: Any) -> Plan[str]:
    given = {
        "user_id": question.user_id,
        "agent": question.agent or "",
        "thread_id": question.thread_id,
        **more,
    }
    sql = "SELECT user_sessions_reserved(%(p)s::jsonb) AS thread_id"
    (row,) = yield ask(sql, {"p": Jsonb(given)})
    thread_id: str = row["thread_id"]
    return thread_id


def _open_reserved(question: opening.OpenReserved) -> Plan[list[Row]]:
    thread_id = yield from _reserved(question, taken=question.taken)
    return (yield from _opened(question, thread_id))


def _find_next(question: opening.FindNext) -> Plan[list[Row]]:
    rows = yield ask(current(question.agent), question.params)
    thread_id = rows[0]["thread_id"] if rows else (yield from _reserved(question, looks=True))
    return (yield from _opened(question, thread_id))


TRANSLATIONS: Final = {
    opening.OpenCurrent: steps(_open_current),
    opening.FindCurrent: steps(_open_current),
    opening.OpenThread: steps(_open_thread),
    opening.ContinueThread: steps(_open_thread),
    opening.OpenNew: steps(_open_thread),
    opening.OpenNobodys: steps(_open_thread),
    opening.OpenTrusted: steps(_open_thread),
    opening.OpenReserved: steps(_open_reserved),
    opening.FindNext: steps(_find_next),
}
