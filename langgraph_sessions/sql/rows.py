"""The columns and rows of sessions that statements return."""

from __future__ import annotations

from typing import Final

from langgraph_sessions.sql.columns import IN_RUNS, SEEN

SESSION: Final = ", ".join(SEEN)
# With the columns that are hidden from users.
SESSION_ROW: Final = ", ".join(IN_RUNS)

# The current session: the active one used last. One index scan of one row.
CURRENT: Final = """
SELECT * FROM user_sessions
WHERE user_id = %(user_id)s AND is_active
ORDER BY updated_at DESC, id DESC LIMIT 1"""
