"""The columns and rows of sessions that statements return."""

from __future__ import annotations

from typing import Final

from langgraph_sessions.sql.columns import IN_RUNS, SEEN

SESSION: Final = ", ".join(SEEN)
# With the columns that are hidden from users.
SESSION_ROW: Final = ", ".join(IN_RUNS)

# The current session: the active one that was made current last. One index scan of one row. What
# a job, or a graph called inside a run, made never was.
CURRENT: Final = """
SELECT * FROM user_sessions
WHERE user_id = %(user_id)s AND is_active AND current_at IS NOT NULL
ORDER BY current_at DESC, id DESC LIMIT 1"""
