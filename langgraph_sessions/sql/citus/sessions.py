"""A manager's statements about certain sessions."""

from __future__ import annotations

from typing import Any, Final

from langgraph_sessions.plans import Execute, Plan, Question
from langgraph_sessions.sql import sessions
from langgraph_sessions.sql.citus.asking import ask, params, steps
from langgraph_sessions.sql.citus.opening import TRIES, settled
from langgraph_sessions.sql.rows import SESSION

Rows = list[dict[str, Any]]


def _create(question: sessions.CreateSession) -> Plan[Rows]:
    given = params(question)
    (row,) = yield ask("SELECT user_sessions_free(%(thread_id)s) AS is_free", given)
    if not row["is_free"]:
        return []
    sql = """
INSERT INTO session_threads (thread_id, user_id) VALUES (%(thread_id)s, %(user_id)s)
ON CONFLICT (thread_id) DO NOTHING RETURNING 1 AS made"""
    if not (yield ask(sql, given)):
        return []
    times = yield ask("SELECT now() AS now, user_sessions_latest(%(user_id)s) AS used", given)
    at = question.at
    given |= {"made": at or times[0]["now"], "used": at or times[0]["used"]}
    sql = f"""
INSERT INTO user_sessions
    (user_id, thread_id, agent, title, title_source, metadata, created_at, updated_at, current_at)
VALUES (%(user_id)s, %(thread_id)s, %(agent)s, %(title)s, %(title_source)s, %(metadata)s::jsonb,
    %(made)s, %(used)s, %(used)s) RETURNING {SESSION}"""
    made: Rows = yield ask(sql, given)
    return made


class Switch(sessions.SwitchSession):
    """`SwitchSession` at a certain time."""

    sql = sessions.SwitchSession.sql.replace(
        "user_sessions_latest(%(user_id)s)", "%(at)s::timestamptz"
    )


def _switch(question: sessions.SwitchSession) -> Plan[Rows]:
    at = question.at
    if at is None:
        (row,) = yield ask("SELECT user_sessions_latest(%(user_id)s) AS used", question.params)
        at = row["used"]
    switched: Rows = yield Switch(**{**vars(question), "at": at})
    return switched


def _get_conversation(question: sessions.GetConversation) -> Plan[Rows]:
    """Its thread must have the same to say: nothing of it is missing, or another user's."""
    sql = "SELECT user_id FROM session_threads WHERE thread_id = %(thread_id)s"
    is_alone = False
    for _ in range(TRIES):
        rows: Rows = yield sessions.GetSession(**vars(question))
        owners = (yield ask(sql, question.params)) if rows else []
        if not rows or owners == [{"user_id": question.user_id}] or is_alone:
            break
        is_alone = not (yield from settled(question.user_id, question.thread_id))
    return rows


def _of_owner(question: Any) -> Plan[Rows]:
    """Add whose the thread is, as its row says, so that one shard alone is asked."""
    sql = "SELECT user_id FROM session_threads WHERE thread_id = %(thread_id)s"
    for row in (yield ask(sql, question.params)):
        sql = question.sql.replace("WHERE ", "WHERE user_id = %(user_id)s AND ", 1)
        found: Rows = yield ask(sql, params(question, **row))
        return found
    return []


def _set_lock_times(question: sessions.SetLockTimes) -> Plan[Rows]:
    """They hold on the coordinator, too, where the lock is waited for."""
    yield ask(question.sql, question.params)
    yield Execute("SET LOCAL citus.propagate_set_commands = 'local'")
    yield Execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    yield Execute("SET LOCAL statement_timeout = 0")
    yield Execute(f"SET LOCAL lock_timeout = '{question.milliseconds}'")
    return []


def _lock(question: sessions.LockSession) -> Question:
    """The lock is the coordinator's, through whichever node one comes.

    On the node of the thread's shard it would exclude nobody once the shard was moved elsewhere.
    """
    sql = f"{question.sql} FROM (SELECT count(*) FROM session_locks) AS coordinator"
    return ask(sql, question.params)


TRANSLATIONS: Final[dict[type, Any]] = {
    sessions.CreateSession: steps(_create, atomic=True),
    sessions.CreateGivenSession: steps(_create, atomic=True),
    sessions.GetConversation: steps(_get_conversation),
    sessions.SwitchSession: steps(_switch),
    sessions.ClaimTitle: steps(_of_owner),
    sessions.ReleaseTitle: steps(_of_owner),
    sessions.SetModelTitle: steps(_of_owner),
    sessions.SetLockTimes: steps(_set_lock_times),
    sessions.LockSession: _lock,
}
