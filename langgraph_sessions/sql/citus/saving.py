"""Saves: the same statement, but for a run's first one, and what only locks a thread."""

from __future__ import annotations

import re
from typing import Any, Final

from langgraph_sessions.plans import Plan, Question
from langgraph_sessions.sql import saving
from langgraph_sessions.sql.citus.asking import ask, steps
from langgraph_sessions.sql.rows import SESSION_ROW

_LOCKING: Final = re.compile(r"SELECT 1 FROM session_threads (WHERE .*) FOR KEY SHARE")


class Put(saving.PutSession):
    """`PutSession` by its function, which runs where the statement came in.

    The statement that touches a session without it finds that by its thread's row.
    """

    touches = False


class Guard(saving.GuardThread):
    """`GuardThread` that changes the row where that one only locks it.

    A SELECT alone would go to the shard as a whole, where functions may not read tables.
    """

    @property
    def part(self) -> str:
        """As `GuardThread`'s."""
        return _LOCKING.sub(
            r"UPDATE session_threads SET last_save = last_save \1 RETURNING 1", super().part
        )


class Beside(saving.Beside):
    """What is translated already."""


def _beside(question: saving.Beside) -> Question:
    guard = question.guard
    if isinstance(guard, saving.PutSession):
        guard = Put(**vars(guard))
    elif isinstance(guard, saving.GuardThread) and not question.saved:
        guard = Guard(**vars(guard))
    return Beside(guard, question.saved)


def _find_saved(question: saving.FindSaved) -> Plan[list[dict[str, Any]]]:
    sql = """
SELECT 1 AS found FROM checkpoints WHERE thread_id = %(thread_id)s
AND checkpoint_ns = %(checkpoint_ns)s AND checkpoint_id = %(checkpoint_id)s"""
    if not (yield ask(sql, question.params)):
        return []
    sql = f"""
SELECT {SESSION_ROW} FROM user_sessions AS s
WHERE user_id = %(user_id)s AND thread_id = %(thread_id)s"""
    found: list[dict[str, Any]] = yield ask(sql, question.params)
    return found


TRANSLATIONS: Final = {
    saving.Beside: _beside,
    saving.FindSaved: steps(_find_saved),
}
