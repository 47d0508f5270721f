"""Rows of any kind in the older tool's table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_sessions import AgentSessionManager
from tests.fuzzing.drawing import TEXT, is_whole, profile, rounds
from tests.sql.test_setup import OLDER_TOOL
from tests.support import psycopg_pool_options

pytestmark = pytest.mark.server

ODD = ["infinity", "-infinity", "294276-12-31 23:59:59", "4713-01-01 00:00:00 BC", "0001-01-01"]
TIMES = st.none() | st.sampled_from(ODD) | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": TEXT,
            "thread_id": TEXT,
            "title": st.none() | st.just("") | TEXT,
            "created_at": TIMES,
            "updated_at": TIMES,
            "is_active": st.none() | st.booleans(),
        }
    ),
    max_size=5,
    unique_by=lambda row: row["thread_id"],
)
INSERT = """
INSERT INTO user_sessions (user_id, thread_id, title, created_at, updated_at, is_active) VALUES
(%(user_id)s, %(thread_id)s, %(title)s, %(created_at)s, %(updated_at)s, %(is_active)s)"""


def rows_left(url: str, rows: list[Mapping[str, Any]]) -> None:
    """Leave a database as the older tool does, with these rows."""
    with psycopg.connect(url, **psycopg_pool_options()) as db:
        db.execute("DROP SCHEMA public CASCADE")
        db.execute("CREATE SCHEMA public")
        db.execute(OLDER_TOOL.encode())
        db.cursor().executemany(INSERT, rows)


@rounds(2000)
def test_the_older_tools_rows_are_kept(examples: int, empty_url: str) -> None:
    """Whatever stands in them, each is a session that is found, listed and exported."""

    @profile(examples // 5, shrinks=False)
    @given(ROWS)
    def holds(rows: list[Mapping[str, Any]]) -> None:
        rows_left(empty_url, rows)
        manager = AgentSessionManager(empty_url)
        try:
            assert manager.count_sessions() == len(rows)
            listed = {session.thread_id: session for session in manager.list_sessions()}
            for row in rows:
                session = manager.get_session(row["user_id"], row["thread_id"])
                assert session == listed[row["thread_id"]]
                assert row["title"] is None or session.title == row["title"]
                assert session.is_active == (row["is_active"] is not False)
                is_whole(session)
                assert list(manager.export_user(row["user_id"]))
            manager.purge_sessions(active=True, dry_run=True)
        finally:
            manager.close()

    holds()
