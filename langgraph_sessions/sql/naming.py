"""Statements that find a session by what people call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from langgraph_sessions.plans import Statement
from langgraph_sessions.sql.rows import OF_AGENT, SESSION

_OF_USER: Final = "(%(user_id)s::text IS NULL OR user_id = %(user_id)s::text)"


@dataclass(frozen=True)
class Now(Statement):
    """Return the time, by the clock that writes the sessions' times."""

    sql: ClassVar[str] = "SELECT clock_timestamp() AS now"


@dataclass(frozen=True, kw_only=True)
class SessionsNamed(Statement):
    """Return the session with that thread id, and that with that number; of a user, if given."""

    thread_id: str
    number: int | None
    user_id: str | None
    agent: str | None

    sql: ClassVar[str] = f"""
SELECT {SESSION}, status FROM user_sessions
WHERE (thread_id = %(thread_id)s OR id = %(number)s::bigint) AND {_OF_USER} AND {OF_AGENT}"""


@dataclass(frozen=True, kw_only=True)
class SessionsBeginning(Statement):
    """Return sessions whose thread ids begin so, those used last first; of a user, if given.

    It reads all of them: no index of theirs is for beginnings, but in the locale `C`.
    """

    beginning: str
    user_id: str | None
    agent: str | None
    limit: int

    sql: ClassVar[str] = f"""
SELECT {SESSION}, status FROM user_sessions
WHERE starts_with(thread_id, %(beginning)s) AND {_OF_USER} AND {OF_AGENT}
ORDER BY user_sessions.updated_at DESC, id DESC LIMIT %(limit)s"""
