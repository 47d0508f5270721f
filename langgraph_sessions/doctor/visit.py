"""Problems of a database, and how to mend them. Everything here only reads.

The tables may be missing or of any version: what cannot be looked at is left out, and what
would be mended by the same remedy is told once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from langgraph_sessions.database.database import Database
from langgraph_sessions.database.deeds import do
from langgraph_sessions.database.source import Source
from langgraph_sessions.doctor import columns, functions, indexes, leftovers, versions
from langgraph_sessions.doctor.findings import Finding
from langgraph_sessions.doctor.versions import LANGGRAPH_TABLES, OUR_TABLES, VERSION_TABLES
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql.functions import load

OLDEST_SERVER: Final = 14

_SERVER = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
    current_setting('server_encoding') AS encoding,
    current_setting('default_transaction_isolation') AS isolation,
    current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery() AS read_only,
    pg_backend_pid() AS pid"""
_PID = "SELECT pg_backend_pid() AS pid"
_TABLES = """
SELECT name FROM unnest(%(tables)s::text[]) AS name WHERE to_regclass(name) IS NOT NULL"""
_RIGHTS = """
SELECT quote_ident(current_user) AS role, name AS of, p AS privilege
FROM unnest(%(tables)s::text[]) AS name
CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
WHERE (p = 'SELECT' OR name NOT SIMILAR TO '%%(migrations|functions)')
AND NOT has_table_privilege(to_regclass(name), p)
UNION ALL
SELECT quote_ident(current_user), s, 'USAGE'
FROM pg_attribute CROSS JOIN pg_get_serial_sequence('user_sessions', attname) AS s
WHERE attrelid = to_regclass('user_sessions') AND attname = 'id' AND NOT attisdropped
AND NOT has_sequence_privilege(s, 'USAGE')
UNION ALL
SELECT quote_ident(current_user), oid::regprocedure::text, 'EXECUTE'
FROM pg_proc WHERE proname = ANY (%(functions)s) AND pg_function_is_visible(oid)
AND NOT has_function_privilege(oid, 'EXECUTE')"""


# Who else may create in the schema of our tables than its owner and theirs.
_CREATORS = """
SELECT DISTINCT quote_ident(nspname) AS schema,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS role
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
CROSS JOIN aclexplode(nspacl)
WHERE c.oid = to_regclass('user_sessions') AND privilege_type = 'CREATE'
AND grantee NOT IN (nspowner, relowner, (SELECT oid FROM pg_roles WHERE rolname = current_user))
ORDER BY role"""


def visit(database: str | None, langgraph: Sequence[str]) -> list[Finding]:
    """Return what is found in *database*, a URL, or in the embedded PostgreSQL.

    Raises:
        SessionError: The embedded server cannot be started.
        psycopg.OperationalError: There is no such server or database, or it refuses the login.
    """
    source = Source(database, None, (Connection, ConnectionPool))
    try:
        conninfo = source.server.start() if source.server else source.conninfo
        # Without the encoding, one of SQL_ASCII would give bytes.
        with psycopg.connect(
            conninfo, autocommit=True, prepare_threshold=None, client_encoding="UTF8"
        ) as conn:
            plan = examine(langgraph, conn.info.backend_pid)
            return do(Database(conn).drive_deed(conn, plan))
    finally:
        if source.server:
            source.server.release()


def examine(langgraph: Sequence[str], announced_pid: int) -> Plan[list[Finding]]:
    """Return what is found, problems first; nothing is changed, by not a single statement.

    Args:
        langgraph: LangGraph's own list of migrations.
        announced_pid: The process that the server said, on connecting, was ours.
    """
    (server,) = yield Fetch(_SERVER)
    found = [*_server(server)]
    found += yield from _inside(langgraph)
    (later,) = yield Fetch(_PID)
    found += _pooler(announced_pid, server["pid"], later["pid"])
    return sorted(found, key=lambda finding: not finding.is_problem)


def _inside(langgraph: Sequence[str]) -> Plan[list[Finding]]:
    """Look at the tables, as far as there are any, and one may."""
    rows = yield Fetch(_TABLES, {"tables": [*LANGGRAPH_TABLES, *OUR_TABLES]})
    tables = [row["name"] for row in rows]
    found = yield from _rights(tables)
    if found:
        return found
    # First those of the tables from which the versions are read.
    found = yield from columns.find(VERSION_TABLES)
    if found:
        return found
    known = yield from versions.find(langgraph, tables)
    if known.has_problems:
        return known.found
    found = yield from columns.find_foreign(tables, langgraph)
    if not known.tables_are_newer:  # What a newer version made of them is its own affair.
        found += yield from columns.find(OUR_TABLES)
    if found:  # The functions, and indexes, want them.
        return known.found + found
    found = known.found + (yield from _openness())
    found += yield from indexes.find_partitioned(tables)
    if not known.tables_are_newer:
        found += yield from indexes.find(langgraph, tables)
    changed = yield from functions.find(newer=known.functions_are_newer)
    if changed:  # The walk over the threads calls one.
        return found + changed
    return found + (yield from leftovers.find())


# --- The server --------------------------------------------------------------------------------


def _server(row: DictRow) -> Iterator[Finding]:
    if row["version"] < OLDEST_SERVER:
        yield Finding(
            "server-version",
            f"the server is PostgreSQL {row['version']}",
            f"upgrade it to {OLDEST_SERVER} or newer",
        )
    if row["encoding"] != "UTF8":
        yield Finding(
            "encoding",
            f"the database's encoding is {row['encoding']}: it cannot hold everything users write",
            "make a database with ENCODING 'UTF8' and move the data there with pg_dump",
        )
    if row["isolation"] != "read committed":
        yield Finding(
            "isolation",
            f"default_transaction_isolation is {row['isolation']}: saves side by side meet "
            "serialization errors, and are tried again",
            "ALTER DATABASE … SET default_transaction_isolation = 'read committed', and look for "
            "it among the settings of the role and the options of the URL",
        )
    if row["read_only"]:
        yield Finding(
            "read-only",
            "the server is a standby, or its transactions are read-only: nothing can be saved",
            "connect to the primary (target_session_attrs=read-write in the URL), or turn "
            "default_transaction_read_only off",
        )


def _pooler(announced: int, first: int, later: int) -> Iterator[Finding]:
    """Tell of a pooler, which announces a process that is not the one that answers."""
    if announced == first == later:
        return
    mode = "in transaction mode" if first != later else "perhaps in transaction mode"
    yield Finding(
        "pooler",
        f"a connection pooler such as PgBouncer stands before the server, {mode}: prepared "
        "statements may meet another client's",
        "nothing, if the savers open their own connections from a URL; connections and pools of "
        "your own need prepare_threshold=None",
        is_problem=False,
    )


# --- Rights --------------------------------------------------------------------------------------


def _rights(tables: Sequence[str]) -> Plan[list[Finding]]:
    if "user_sessions" not in tables:
        return []
    params = {"tables": tables, "functions": [function.name for function in load()]}
    rows = yield Fetch(_RIGHTS, params)
    if not rows:
        return []
    role = rows[0]["role"]
    which = [f"{row['privilege']} on {row['of']}" for row in rows]
    grants = "; ".join(_grant(row, role) for row in rows)
    return [Finding("rights", f"the role {role} lacks rights", grants, len(which), which)]


def _grant(row: DictRow, role: str) -> str:
    kind = {"USAGE": "SEQUENCE ", "EXECUTE": "FUNCTION "}.get(row["privilege"], "")
    return f"GRANT {row['privilege']} ON {kind}{row['of']} TO {role}"


def _openness() -> Plan[list[Finding]]:
    """Tell of those who may put something of their own in place of our functions."""
    rows = yield Fetch(_CREATORS)
    if not rows:
        return []
    which = [row["role"] for row in rows]
    what = f"others may create functions in the schema {rows[0]['schema']}, also in place of ours"
    mend = f"REVOKE CREATE ON SCHEMA {rows[0]['schema']} FROM {', '.join(which)}"
    return [Finding("schema-open", what, mend, len(which), which, is_problem=False)]
