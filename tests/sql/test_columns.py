"""A column has one home: `sql.columns` says what the database has."""

from __future__ import annotations

from typing import Any

import psycopg

from langgraph_sessions import models
from langgraph_sessions.sql import columns
from langgraph_sessions.sql.columns import Column

COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS type, NOT attnotnull AS nullable,
    pg_get_expr(adbin, adrelid) AS default
FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
TABLES = """
SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
AND relkind = 'r' AND relname LIKE '%session%' AND relname <> 'session_locks'"""


def test_every_column_is_as_the_database_has_it(db: psycopg.Connection[Any]) -> None:
    """Of each of our tables, the columns, in order, are those that a setup makes."""
    assert {row["name"] for row in db.execute(TABLES)} == columns.TABLES.keys()
    for table, known in columns.TABLES.items():
        made = [Column(**row) for row in db.execute(COLUMNS, (table,))]
        assert made == [Column(c.name, c.type, c.nullable, c.default) for c in known]


def test_what_users_see_is_the_models() -> None:
    """The columns that users see are those of `Session`, and a run knows all of them."""
    assert columns.SEEN == models.COLUMNS
    assert set(columns.SEEN) <= set(columns.IN_RUNS)


def test_what_a_run_changes_stands_before_what_may_be_long() -> None:
    """Between the first and the last column that a run's first save changes, none is long.

    Of an updated row PostgreSQL logs all that lies between: metadata would be logged each turn.
    """
    names = [column.name for column in columns.USER_SESSIONS]
    changed = [names.index(name) for name in ("updated_at", "current_at", "status")]
    between = names[min(changed) : max(changed) + 1]
    assert between == ["updated_at", "is_active", "current_at", "status"]
