"""How the tables and the functions come about, and what an older or newer database means.

A newer package brings the tables up to date in place, and makes the functions again, in one
transaction. Workers of the version before go on beside it, unless a migration is breaking.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from psycopg.rows import DictRow

from langgraph_sessions.errors import SessionError
from langgraph_sessions.plans import Execute, Fetch, Plan
from langgraph_sessions.sql import functions, migrations
from langgraph_sessions.sql.migrations import Migration

logger = logging.getLogger("langgraph_sessions")

_TABLES = """
SELECT to_regclass('checkpoint_migrations') IS NOT NULL
    AND to_regclass('user_sessions_migrations') IS NOT NULL
    AND to_regclass('user_sessions_functions') IS NOT NULL AS are_there"""
LANGGRAPH_VERSION: Final = "SELECT coalesce(max(v), -1) AS version FROM checkpoint_migrations"
# `breaking`: the newest version that the package's before it cannot go on with.
SESSIONS_VERSION: Final = """
SELECT coalesce(max(version), 0) AS version,
    coalesce(max(version) FILTER (WHERE breaking), 0) AS breaking
FROM user_sessions_migrations"""
FUNCTIONS_VERSION: Final = """
SELECT coalesce(max(version), 0) AS version FROM user_sessions_functions"""
_VERSIONS = f"""
SELECT sessions.*, checkpoints.version AS langgraph, made.version AS functions
FROM ({LANGGRAPH_VERSION}) AS checkpoints, ({SESSIONS_VERSION}) AS sessions,
    ({FUNCTIONS_VERSION}) AS made"""
# Held to the end of the transaction, never by the connection: behind a pooler in
# transaction mode, a lock of the connection would be somebody else's a moment later.
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('langgraph_sessions.migrations'))::text"

_told: dict[int, object] = {}  # The versions that this process has warned of.


def is_current(langgraph: Sequence[str]) -> Plan[bool]:
    """Say whether both packages' tables, and the functions, are there and up to date.

    Where they are newer than this version of the package, they are; a warning is logged once.

    Raises:
        SessionError: Our tables are newer, by a breaking migration.
    """
    (tables,) = yield Fetch(_TABLES)
    if not tables["are_there"]:
        return False
    (versions,) = yield Fetch(_VERSIONS)
    _see_newer(versions)
    return bool(
        versions["langgraph"] >= len(langgraph) - 1
        and versions["version"] >= len(migrations.MIGRATIONS)
        and versions["functions"] >= functions.FUNCTIONS_VERSION
    )


def _see_newer(sessions: DictRow) -> None:
    version, known = sessions["version"], len(migrations.MIGRATIONS)
    newer = (
        f"the database has user_sessions version {version}, made by a newer langgraph-sessions; "
        f"this one knows {known}"
    )
    if sessions["breaking"] > known:
        raise SessionError(f"{newer}, and cannot go on with it: upgrade the package")
    mark = object()
    if version > known and _told.setdefault(version, mark) is mark:
        logger.warning("%s, and goes on: upgrade the package", newer)


def migrate(langgraph: Sequence[str]) -> Plan[None]:
    """Bring both packages' tables up to date; to be run in one transaction.

    *langgraph* is LangGraph's own list of migrations. Their indexes are built without
    CONCURRENTLY, which no transaction allows and whose waiting for one another is what
    makes several set-ups at once fail. What results is the same.

    Raises:
        SessionError: Our tables are newer than this version of the package, by a breaking
            migration.
    """
    yield Fetch(LOCK)
    yield Execute(langgraph[0])
    (checkpoints,) = yield Fetch(LANGGRAPH_VERSION)
    for version in range(checkpoints["version"] + 1, len(langgraph)):
        yield Execute(langgraph[version].replace("CONCURRENTLY", ""))
        yield Execute("INSERT INTO checkpoint_migrations (v) VALUES (%(v)s)", {"v": version})
    for table in migrations.VERSION_TABLES:
        yield Execute(table)
    (sessions,) = yield Fetch(SESSIONS_VERSION)
    _see_newer(sessions)
    yield from _upgrade(sessions["version"])


def _upgrade(version: int) -> Plan[None]:
    """Upgrade our tables from *version*: first all tables, then the functions, then the rest."""
    pending = migrations.MIGRATIONS[version:]
    for migration in pending:
        for statement in migration.statements:
            yield Execute(statement)
    (made,) = yield Fetch(FUNCTIONS_VERSION)
    # Never those of a higher number: a newer worker has made them.
    if made["version"] < functions.FUNCTIONS_VERSION:
        for function in functions.load():
            yield Execute(function.sql)
        yield Execute(functions_made())
    for position, migration in enumerate(pending, version + 1):
        for statement in migration.finish:
            yield Execute(statement)
        yield Execute(migration_made(position, migration))


def functions_made() -> str:
    """Return the statement that says that the functions have this package's number."""
    return f"INSERT INTO user_sessions_functions (version) VALUES ({functions.FUNCTIONS_VERSION})"


def migration_made(version: int, migration: Migration) -> str:
    """Return the statement that says that the tables have *version*."""
    return (
        "INSERT INTO user_sessions_migrations (version, breaking) "
        f"VALUES ({version}, {str(migration.breaking).upper()})"
    )
