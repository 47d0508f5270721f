"""The columns and rows of sessions that statements return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langgraph_sessions.sql.columns import IN_RUNS, SEEN, shown

SESSION: Final = ", ".join(f"{shown(name)} AS {name}" for name in SEEN)
# With the columns that are hidden from users.
SESSION_ROW: Final = ", ".join(f"{shown(name)} AS {name}" for name in IN_RUNS)


def is_whole(row: Mapping[str, Any]) -> bool:
    """Say whether *row* is a session's, not only what a save has changed of it."""
    return "id" in row


# Of an agent's sessions alone, if one is given; for what is found by its key, or read whole.
OF_AGENT: Final = "(%(agent)s::text IS NULL OR agent = %(agent)s::text)"


def and_agent(agent: str | None) -> str:
    """Return the condition that a session is of *agent*, if given, behind others."""
    return "" if agent is None else " AND agent = %(agent)s"


def current(agent: str | None) -> str:
    """Return the query of the current session, of *agent* if given: an index scan of one row.

    It is the active one that was made current last. What a job, or a graph called inside a run,
    made never was. No id is NULL: NULLS LAST changes nothing but which index has that order.
    """
    last = "" if agent is None else " NULLS LAST"
    return f"""
SELECT * FROM user_sessions
WHERE user_id = %(user_id)s{and_agent(agent)} AND is_active AND current_at IS NOT NULL
ORDER BY current_at DESC, id DESC{last} LIMIT 1"""
