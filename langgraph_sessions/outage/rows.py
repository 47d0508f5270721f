"""Sessions' rows in memory, as PostgreSQL would return them."""

from __future__ import annotations

from typing import Any

from langgraph_sessions.models import Session
from langgraph_sessions.sql.columns import USER_SESSIONS

Row = dict[str, Any]


def new_row(user_id: str, thread_id: str, agent: str | None) -> Row:
    """Return the row of a session that is made now."""
    return {**row_of(Session.draft(user_id, thread_id, agent=agent)), "last_save": None}


def opened(row: Row) -> Row:
    """Return *row* as the statements that open a thread do."""
    session = {f"session_{key}": value for key, value in row.items()}
    return {**unopened(row["thread_id"]), **session, "last_save": row["last_save"]}


def unopened(thread_id: str | None) -> Row:
    """Return the row of a thread that has no session, as the statements that open one do."""
    return {
        "asked_thread_id": thread_id,
        "preferences": None,
        "newest_thread_id": None,
        "newest_user_id": None,
        "session_id": None,
        "session_user_id": None,
        "session_is_active": None,
        "session_current_at": None,
        "session_titler_tries": None,
        "session_status": None,
        "last_save": None,
    }


def row_of(session: Session) -> Row:
    """Return the row of *session*; columns hidden from users have their defaults."""
    return {
        column.name: getattr(session, column.name) if column.seen else column.initial
        for column in USER_SESSIONS
        if column.in_runs
    }
