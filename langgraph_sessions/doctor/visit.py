"""What is wrong with a database, and how to mend it. Everything here only reads.

The tables may be missing or of any version: what cannot be looked at is left out, and what
would be mended by the same remedy is told once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from langgraph_sessions.database.database import Database
from langgraph_sessions.database.deeds import do
from langgraph_sessions.database.source import Source
from langgraph_sessions.doctor import leftovers
from langgraph_sessions.doctor.findings import COMMAND, Finding
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql import columns, ddl, functions, migrations, schema

OLDEST_SERVER: Final = 14
LANGGRAPH_TABLES: Final = (
    "checkpoints",
    "checkpoint_blobs",
    "checkpoint_writes",
    "checkpoint_migrations",
)
OUR_TABLES: Final = tuple(columns.TABLES)

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
_INDEXES = """
SELECT name AS table, c.relname AS name, i.indisprimary AS primary,
    i.indisvalid AND i.indisready AS valid, pg_get_indexdef(i.indexrelid) AS definition
FROM unnest(%(tables)s::text[]) AS name
JOIN pg_index AS i ON i.indrelid = to_regclass(name)
JOIN pg_class AS c ON c.oid = i.indexrelid"""
_COLUMNS = """
SELECT name || '.' || attname AS column, atthasdef OR attidentity <> '' AS has_default
FROM unnest(%(tables)s::text[]) AS name
JOIN pg_attribute ON attrelid = to_regclass(name) AND attnum > 0 AND NOT attisdropped"""
# And whether they need a default.
OUR_COLUMNS: Final = {
    f"{table}.{column.name}": column.default is not None
    for table, of_it in columns.TABLES.items()
    for column in of_it
}
_FUNCTIONS = """
SELECT proname AS name, prosrc AS body FROM pg_proc
WHERE proname = ANY (%(functions)s) AND pg_function_is_visible(oid)"""


def visit(database: str | None, langgraph: Sequence[str]) -> list[Finding]:
    """Return what is found in *database*, a URL, or in the embedded PostgreSQL.

    Raises:
        SessionError: The embedded server cannot be started.
        psycopg.OperationalError: There is no such server or database, or no way in.
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
    found, is_old = yield from _versions(langgraph, tables)
    found += _missing_tables(tables, is_old)
    if found:
        return found
    found += yield from _columns()
    if found:  # The functions, and indexes, want them.
        return found
    found += yield from _indexes(langgraph, tables)
    changed = yield from _functions()
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
            f"default_transaction_isolation is {row['isolation']}: runs side by side would fail "
            "with serialization errors",
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


# --- Rights, tables and versions -----------------------------------------------------------------


def _rights(tables: Sequence[str]) -> Plan[list[Finding]]:
    if "user_sessions" not in tables:
        return []
    params = {"tables": tables, "functions": [function.name for function in functions.load()]}
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


def _versions(
    langgraph: Sequence[str], tables: Sequence[str]
) -> Plan[tuple[list[Finding], dict[str, bool]]]:
    """Compare both packages' versions; say which are too old."""
    checkpoints, sessions = -1, 0
    if "checkpoint_migrations" in tables:
        (row,) = yield Fetch(schema.LANGGRAPH_VERSION)
        checkpoints = row["version"]
    if "user_sessions_migrations" in tables:
        (row,) = yield Fetch(schema.SESSIONS_VERSION)
        sessions = row["version"]
    known, ours = len(langgraph) - 1, len(migrations.MIGRATIONS)
    found = [
        *_version("LangGraph", "langgraph-checkpoint-postgres", checkpoints, known),
        *_version("langgraph-sessions", "langgraph-sessions", sessions, ours),
    ]
    return found, {"langgraph": checkpoints < known, "sessions": sessions < ours}


def _version(whose: str, package: str, version: int, known: int) -> Iterator[Finding]:
    if version > known:
        yield Finding(
            "schema-new",
            f"the tables of {whose} have version {version}; what is installed knows {known}",
            f"upgrade the package {package} here",
        )
    elif version < known:
        has = f"have version {version}" if version > 0 else "are missing"
        yield Finding(
            "schema-old",
            f"the tables of {whose} {has}; this version needs {known}",
            f"call SessionSaver(url).setup() once; in a database without user_sessions, "
            f'"{COMMAND} ddl | psql URL" does the same. Then run the doctor again',
        )


def _missing_tables(tables: Sequence[str], is_old: dict[str, bool]) -> list[Finding]:
    """Tell of tables that are gone although the versions say that they were made."""
    expected = (() if is_old["langgraph"] else LANGGRAPH_TABLES) + (
        () if is_old["sessions"] else OUR_TABLES
    )
    missing = [table for table in expected if table not in tables]
    if not missing:
        return []
    mend = (
        "restore them from a backup; or make them empty: their CREATE TABLE and CREATE INDEX, "
        f'and of user_sessions the ALTERs, are in "{COMMAND} ddl"'
    )
    what = "tables were made and are gone"
    return [Finding("table-missing", what, mend, len(missing), missing)]


# --- Columns, indexes and functions --------------------------------------------------------------


def _columns() -> Plan[list[Finding]]:
    rows = yield Fetch(_COLUMNS, {"tables": list(OUR_TABLES)})
    present = {row["column"]: row["has_default"] for row in rows}
    missing = sorted(OUR_COLUMNS.keys() - present.keys())
    bare = [c for c, needs in OUR_COLUMNS.items() if needs and present.get(c) is False]
    mend = f'ALTER TABLE, to what "{COMMAND} ddl" shows; what stood in a column is in a backup'
    found = []
    if missing:
        found += [Finding("column", "columns are missing", mend, len(missing), missing)]
    if bare:
        found += [Finding("column", "columns have no default", mend, len(bare), bare)]
    return found


def _indexes(langgraph: Sequence[str], tables: Sequence[str]) -> Plan[list[Finding]]:
    rows = yield Fetch(_INDEXES, {"tables": tables})
    expected = ddl.indexes(langgraph)
    keyed = {row["table"] for row in rows if row["primary"]}
    return [
        *_missing_indexes(expected, {row["name"] for row in rows}),
        *(_missing_key(table) for table in tables if table not in keyed),
        *(_invalid_index(row["name"]) for row in rows if not row["valid"]),
        *(
            _other_index(row["name"], expected[row["name"]])
            for row in rows
            if _bare(row["definition"]) != _bare(expected.get(row["name"], row["definition"]))
        ),
    ]


def _bare(definition: str) -> str:
    """Return what an index is, without its schema and what goes without saying."""
    words = re.sub(r" CONCURRENTLY| IF NOT EXISTS| USING btree|(?<= ON )[^ (]+\.|;", "", definition)
    return re.sub(r"\s+|::text|[()]", "", words).lower()


def _missing_indexes(expected: dict[str, str], present: set[str]) -> Iterator[Finding]:
    for name in sorted(expected.keys() - present):
        yield Finding("index-missing", "an index is missing", expected[name], which=[name])


def _missing_key(table: str) -> Finding:
    mend = f'ALTER TABLE {table} ADD PRIMARY KEY (…), of the columns that "{COMMAND} ddl" shows'
    return Finding("index-missing", "a primary key is missing", mend, which=[f"{table}_pkey"])


def _other_index(name: str, sql: str) -> Finding:
    what = "an index is not what its name says: other columns, or not unique"
    return Finding(
        "index-other", what, f"DROP INDEX {name} (or its constraint); {sql}", which=[name]
    )


def _invalid_index(name: str) -> Finding:
    what = "an index is invalid: it was not built to its end, and no query uses it"
    return Finding("index-invalid", what, f"REINDEX INDEX CONCURRENTLY {name}", which=[name])


def _functions() -> Plan[list[Finding]]:
    expected = {function.name: function.body for function in functions.load()}
    rows = yield Fetch(_FUNCTIONS, {"functions": list(expected)})
    present = {(row["name"], row["body"]) for row in rows}
    wrong = sorted(name for name, body in expected.items() if (name, body) not in present)
    if not wrong:
        return []
    what = "functions are missing, or are not those of this version"
    mend = f"{COMMAND} ddl --functions | psql URL"
    return [Finding("function", what, mend, len(wrong), wrong)]
