"""Tables of somebody else's with the names of ours, which a set-up leaves as they are.

Before our tables are made, what has one of their names is somebody else's: but for a
`user_sessions` of the older tool, which is upgraded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from langgraph_sessions.errors import SessionError
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql import columns
from langgraph_sessions.sql.place import OUR_TABLES, VERSION_TABLES, Place, here

Columns = Mapping[str, Sequence[str]]  # For each column, the types that it may have.

_NAME: Final = ("character varying(255)",)
_TIME: Final = ("timestamp without time zone", "timestamp with time zone")
_OLDER_TOOLS: Final[Columns] = {
    "id": ("integer", "bigint"),
    "user_id": _NAME,
    "thread_id": _NAME,
    "title": _NAME,
    "created_at": _TIME,
    "updated_at": _TIME,
    "is_active": ("boolean",),
}
# What the older tool's table has beside its columns, and nothing else of the kind.
_KEYS: Final = ("PRIMARY KEY (id)", "UNIQUE (thread_id)", "NOT NULL user_id", "NOT NULL thread_id")
_FIND_KEYS: Final = f"""
SELECT pg_catalog.pg_get_constraintdef(oid) AS key FROM pg_catalog.pg_constraint
WHERE conrelid = {here("'user_sessions'")} AND contype <> 'n'
UNION
SELECT 'NOT NULL ' || pg_catalog.quote_ident(attname::text) FROM pg_catalog.pg_attribute
WHERE attrelid = {here("'user_sessions'")} AND attnum > 0 AND attnotnull
    AND attname IN ('user_id', 'thread_id')
UNION
SELECT 'index ' || relname FROM pg_catalog.pg_index
JOIN pg_catalog.pg_class AS c ON c.oid = indexrelid
WHERE indrelid = {here("'user_sessions'")} AND indisunique AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint WHERE conindid = indexrelid)
ORDER BY key"""
REMEDY: Final = "Rename them, or give this package a schema of its own, first in the search_path"
_UNVERSIONED: Final = "{} looks like this package's, but no row of user_sessions_migrations says so"
_TABLE: Final = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\n\);", re.DOTALL)
_COLUMN: Final = re.compile(r"^\s+([a-z_]+) ", re.MULTILINE)


def unlike(place: Place, langgraph: Sequence[str]) -> list[str]:
    """Say what differs of tables that are somebody else's in whatever version ours have.

    These are LangGraph's, and those from which our versions are read, by the columns that they
    had from the beginning.

    Args:
        place: Where they would be.
        langgraph: LangGraph's own list of migrations.
    """
    found = []
    for table, body in _TABLE.findall("\n".join(langgraph)):
        names = dict.fromkeys(_COLUMN.findall(body), ())
        found += _differences(table, place, names, kinds=("table", "partitioned table"))
    for table in VERSION_TABLES:
        found += _differences(table, place, {"version": ("integer",), "applied_at": ()})
    return found


def unmade(place: Place) -> Plan[list[str]]:
    """Say what differs of tables with the names of ours, where no version says that we made them.

    That is all of them, but for a `user_sessions` of the older tool's.
    """
    found = []
    for table in OUR_TABLES:
        if table in place.relations and table not in (*VERSION_TABLES, "user_sessions"):
            found += _unlike_ours(table, place) or [_UNVERSIONED.format(table)]
    return found + (yield from _of_older_tools(place))


def refuse(place: Place, found: Sequence[str]) -> None:
    """Refuse what was *found*.

    Raises:
        SessionError: That is something.
    """
    if found:
        raise SessionError(
            f"the schema {place.schema!r} has tables that are somebody else's, and stay as they "
            f"are: {'; '.join(found)}. {REMEDY}"
        )


def _of_older_tools(place: Place) -> Plan[list[str]]:
    if "user_sessions" not in place.relations:
        return []
    if found := _differences("user_sessions", place, _OLDER_TOOLS, exactly=True):
        return (
            found
            if _unlike_ours("user_sessions", place)
            else [_UNVERSIONED.format("user_sessions")]
        )
    keys = [row["key"] for row in (yield Fetch(_FIND_KEYS))]
    lacks = [f"has no {key}" for key in _KEYS if key not in keys]
    return _told("user_sessions", lacks + [f"has {key}" for key in keys if key not in _KEYS])


def _differences(
    table: str,
    place: Place,
    expected: Columns,
    *,
    kinds: Sequence[str] = ("table",),
    exactly: bool = False,
) -> list[str]:
    """Say how *table*, if there is one, differs; without any types, a column may have any."""
    if table not in place.relations:
        return []
    kind, there = place.relations[table]
    if kind not in kinds:
        return [f"{table} is a {kind}"]
    found = [f"has no column {name}" for name in expected if name not in there]
    found += [
        f"has {name} as {there[name]}, not {' or '.join(types)}"
        for name, types in expected.items()
        if types and there.get(name, types[0]) not in types
    ]
    found += [f"has a column {name}" for name in there if exactly and name not in expected]
    return _told(table, found)


def _unlike_ours(table: str, place: Place) -> list[str]:
    expected = {column.name: (column.type,) for column in columns.TABLES[table]}
    return _differences(table, place, expected, exactly=True)


def _told(table: str, found: Sequence[str]) -> list[str]:
    return [f"{table} {', '.join(found)}"] if found else []
