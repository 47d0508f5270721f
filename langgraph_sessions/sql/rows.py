"""The columns and rows of sessions that statements return."""

from __future__ import annotations

from typing import Final

from langgraph_sessions.sql.columns import IN_RUNS, SEEN

SESSION: Final = ", ".join(SEEN)
# With the columns that are hidden from users.
SESSION_ROW: Final = ", ".join(IN_RUNS)

# Of an agent's sessions alone, if one is given; for what is found by its key, or read whole.
OF_AGENT: Final = "(%(agent)s::text IS NULL OR agent = %(agent)s::text)"
# The orders of a user's lists, newest first, in the words of the indexes that give them. No id is
# NULL: NULLS LAST changes nothing but which index has that order, see `migrations._INDEXES`.
NEWEST: Final = "updated_at DESC, id DESC"
NEWEST_OF_AGENT: Final = "updated_at DESC, id DESC NULLS LAST"


def current(agent: str | None) -> str:
    """Return the query of the current session: the active one used last, of *agent* if given.

    It is an index scan of one row.
    """
    which, order = ("", NEWEST) if agent is None else (" AND agent = %(agent)s", NEWEST_OF_AGENT)
    return f"""
SELECT * FROM user_sessions
WHERE user_id = %(user_id)s{which} AND is_active
ORDER BY {order} LIMIT 1"""
