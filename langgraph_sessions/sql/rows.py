"""What the statements return of a session."""

from __future__ import annotations

from typing import Any, Final

from langgraph_sessions.models import COLUMNS

# What the package keeps with a session and shows to nobody, as it is at first.
OWN_DEFAULTS: Final[dict[str, Any]] = {
    "title_source": "default",
    "titler_called": False,
    "last_save": None,
}
ROW: Final = (*COLUMNS, *OWN_DEFAULTS)

SESSION: Final = ", ".join(COLUMNS)
SESSION_ROW: Final = ", ".join(ROW)

# The current session: the active one used last. One index scan of one row.
CURRENT: Final = """
SELECT * FROM user_sessions
WHERE user_id = %(user_id)s AND is_active
ORDER BY updated_at DESC, id DESC LIMIT 1"""
