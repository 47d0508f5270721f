"""Cursors, of which a connection keeps those of statements that are executed often.

What psycopg finds out about a statement's types stays with its cursor: to find it out each time
takes a third of the client's CPU for the statement.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, LiteralString

from psycopg.pq import PipelineStatus
from psycopg.rows import dict_row, tuple_row

from langgraph_sessions.plans import LARGE, Params, Statement, vouched

# On the connection itself: a cursor refers to its connection, which no dictionary of ours is to
# keep alive.
_KEPT: Final = "_langgraph_sessions_cursors"
MOST: Final = 32  # Of a connection. A turn has six, and another for each number of rows.
_OFF: Final = PipelineStatus.OFF


def cursor(conn: Any, statement: Statement, sql: str) -> Any:
    """Return a cursor of *conn* for *statement*: a fresh one, unless that is executed often.

    In pipeline mode it is fresh: one used before could return an earlier statement's rows.
    """
    if not statement.often or conn.pgconn.pipeline_status != _OFF:
        return _fresh(conn, statement)
    kept = vars(conn).setdefault(_KEPT, {})
    found = kept.get(sql)
    if found is None or found.closed:
        if len(kept) >= MOST:
            kept.clear()
        found = kept[sql] = _fresh(conn, statement)
    return found


def forget(conn: Any, sql: str) -> None:
    """Keep the cursor of *sql* no more: its rows would be there until it is executed again.

    To close it is not enough: what it loads with refers to them, too.
    """
    vars(conn).get(_KEPT, {}).pop(sql, None)


def are_large(params: Params) -> bool:
    """Say whether *params*, which a cursor keeps as well, have large values among them."""
    if not isinstance(params, list):
        return False
    return sum([len(value) for value in params if isinstance(value, bytes)]) > LARGE


@lru_cache(maxsize=512)
def text(sql: str) -> LiteralString | bytes:
    """Return *sql* as psycopg need not encode it anew, nor read it to find what it knows of it."""
    return sql.encode() if sql.isascii() else vouched(sql)


def _fresh(conn: Any, statement: Statement) -> Any:
    factory: Any = dict_row if statement.returns_rows else tuple_row
    return conn.cursor(binary=True, row_factory=factory)
