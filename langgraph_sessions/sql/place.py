"""Where the tables are: in the first schema of the search path, and in no other.

That is where CREATE TABLE makes them. A bare name is looked for in all of the path, and among
temporary tables before it, so that one of two tenants, each with a schema before a common one,
could come upon the other's tables, or somebody else's. Hence a set-up, and the connections that
the savers open, go by `PINNED`; and any other connection is looked at before it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from langgraph_sessions.errors import SessionError
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql import columns

LANGGRAPH_TABLES: Final = (
    "checkpoints",
    "checkpoint_blobs",
    "checkpoint_writes",
    "checkpoint_migrations",
)
OUR_TABLES: Final = tuple(columns.TABLES)
TABLES: Final = (*LANGGRAPH_TABLES, *OUR_TABLES)
VERSION_TABLES: Final = ("user_sessions_migrations", "user_sessions_functions")

# The schema, as a name to be put before another one; NULL where there is none.
SCHEMA: Final = "pg_catalog.quote_ident(pg_catalog.current_schema())"
# A search path of that schema alone; temporary tables are looked for first unless they are named.
PINNED: Final = f"{SCHEMA} || ', pg_temp'"


def here(name: str) -> str:
    """Return SQL for the table that the SQL expression *name* names, NULL if there is none."""
    return f"pg_catalog.to_regclass({SCHEMA} || '.' || {name})"


@dataclass(frozen=True)
class Place:
    """A schema, and what is in it by the names of both packages' tables.

    Attributes:
        schema: Its name.
        relations: What kind of thing has that name, and its columns: their types by their names.
        has_citus: Whether the database has the extension citus.
    """

    schema: str
    relations: dict[str, tuple[str, dict[str, str]]]
    has_citus: bool = False

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of *names* that nothing here has."""
        return [name for name in names if name not in self.relations]

    def refuse_gaps(self) -> None:
        """Refuse a place without some of the tables, which were made.

        Raises:
            SessionError: They are gone; elsewhere in the search path there may be others.
        """
        if gone := self.missing(TABLES):
            raise _gone(self.schema, gone)


_KIND: Final = """CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
    WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'composite type'
    WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' ELSE 'index' END"""
# What the search path names first, but for "$user", which names a schema only where there is one.
_FIRST: Final = r"""pg_catalog.to_regnamespace(pg_catalog.substring(path,
    '^\s*(?:"?\$user"?\s*,)?\s*("(?:[^"]|"")*"|[^",\s]+)'))"""
_USERS: Final = r"""CASE WHEN path ~ '^\s*"?\$user"?\s*(,|$)'
    THEN pg_catalog.to_regnamespace(pg_catalog.quote_ident(current_user)) END"""
_LOOK: Final = f"""
SELECT n.nspname::text AS schema, path,
    pg_catalog.to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL AS has_citus,
    n.oid IN ({_FIRST}, {_USERS}) AS is_first,
    c.relname::text AS name, {_KIND} AS kind,
    c.oid <> pg_catalog.to_regclass(c.relname::text) AS is_hidden,
    ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid
        AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns,
    ARRAY(SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS types
FROM pg_catalog.current_setting('search_path') AS path
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = pg_catalog.current_schema()
LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = ANY (%(names)s::name[])
"""
_SETTLE: Final = f"""
SELECT pg_catalog.current_schema()::text AS schema, ARRAY(
    SELECT name FROM pg_catalog.unnest(%(names)s::text[]) AS name
    WHERE pg_catalog.to_regclass(name) IS DISTINCT FROM {here("name")}) AS elsewhere"""
PIN: Final = f"SELECT pg_catalog.set_config('search_path', {PINNED}, TRUE)"


def look() -> Plan[Place]:
    """Return the place that the connection's search path leads to.

    Raises:
        SessionError: It leads to none, to temporary tables, or past a schema that it names first
            and that is not there: what others have further on is not meant. Or temporary tables
            have the names of these.
    """
    rows = yield Fetch(_LOOK, {"names": list(TABLES)})
    if not rows[0]["is_first"]:
        raise SessionError(
            f"the search_path {rows[0]['path']!r} begins with a schema that is not there, that "
            "this role may not use, or that is temporary: create it, grant USAGE, or leave it out"
        )
    if hidden := [row["name"] for row in rows if row["is_hidden"]]:
        raise _gone(rows[0]["schema"], hidden)
    relations = {
        row["name"]: (row["kind"], dict(zip(row["columns"], row["types"], strict=True)))
        for row in rows
        if row["name"] is not None
    }
    return Place(rows[0]["schema"], relations, rows[0]["has_citus"])


def pin() -> Plan[None]:
    """Have the rest of the transaction know no other schema."""
    yield Fetch(PIN)


def settle(schema: str) -> Plan[None]:
    """See that the connection's search path leads to the tables in *schema*.

    Raises:
        SessionError: It leads elsewhere, or past them.
    """
    (row,) = yield Fetch(_SETTLE, {"names": list(TABLES)})
    if row["schema"] != schema:
        raise SessionError(
            f"the tables are in the schema {schema!r}, but a connection's search_path leads to "
            f"{row['schema']!r}: give each schema a saver, and a pool, of its own"
        )
    if row["elsewhere"]:
        raise _gone(schema, row["elsewhere"])


def _gone(schema: str, tables: Iterable[str]) -> SessionError:
    return SessionError(
        f"tables of the schema {schema!r} are gone, or hidden by temporary ones: "
        f"{', '.join(tables)}"
    )
