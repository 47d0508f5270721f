"""A session as people name it: by its thread id, its number, or how its thread id begins."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from langgraph_sessions.models import Session
from langgraph_sessions.plans import Plan
from langgraph_sessions.sql.naming import Now, SessionsBeginning, SessionsNamed

LARGEST: Final = 2**63 - 1  # Of PostgreSQL's bigint.


def named(
    word: str, user_id: str | None, agent: str | None, limit: int = 20
) -> Plan[list[Session]]:
    """Return the sessions that *word* may mean, of a user if given: one, none, or several.

    A whole thread id is that session. Digits alone are a session's number, and never a beginning:
    one that fits today could be another session's number tomorrow. Of those whose ids begin with
    *word* there are at most *limit*, the last used.
    """
    number = _number(word)
    rows = yield SessionsNamed(thread_id=word, number=number, user_id=user_id, agent=agent)
    rows = [row for row in rows if row["thread_id"] == word] or rows
    if not rows and not is_number(word):
        rows = yield SessionsBeginning(beginning=word, user_id=user_id, agent=agent, limit=limit)
    return [Session.from_row(row, listed=True) for row in rows]


def now() -> Plan[datetime]:
    """Return the time by the clock that wrote the sessions' times."""
    (row,) = yield Now()
    moment: datetime = row["now"]
    return moment


def is_number(word: str) -> bool:
    """Say whether *word* is meant as a session's number."""
    return re.fullmatch(r"[0-9]+", word) is not None


def _number(word: str) -> int | None:
    number = int(word) if is_number(word) else LARGEST + 1
    return number if number <= LARGEST else None
