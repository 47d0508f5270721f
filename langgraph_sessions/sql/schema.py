"""How the tables and the functions come about, and what an older or newer database means.

A newer package brings the tables up to date in place, and makes the functions again, in one
transaction. Workers of the version before go on beside it, unless a migration is breaking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from psycopg.rows import DictRow

from langgraph_sessions.errors import SessionError
from langgraph_sessions.log import logger
from langgraph_sessions.plans import Execute, Fetch, Plan
from langgraph_sessions.sql import functions, migrations, place, strangers
from langgraph_sessions.sql.citus import distributing
from langgraph_sessions.sql.citus import functions as citus_functions
from langgraph_sessions.sql.functions import Function
from langgraph_sessions.sql.migrations import Migration

# Those from which the versions are read.
_TABLES: Final = ("checkpoint_migrations", *place.VERSION_TABLES)
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


class Tables(NamedTuple):
    """Tables that are up to date: in which schema, and whether Citus has distributed them."""

    schema: str
    are_distributed: bool


def current(langgraph: Sequence[str]) -> Plan[Tables | None]:
    """Return where both packages' tables, and the functions, are up to date.

    `None`: they are not, or are not there. Where they are newer than this version of the package,
    they are; a warning is logged once.

    Raises:
        SessionError: Our tables are newer, by a breaking migration; some of either package's are
            gone; those of their names are somebody else's; some alone are distributed; or as
            `place.look`.
    """
    found = yield from place.look()
    strangers.refuse(found, strangers.unlike(found, langgraph))
    if found.missing(_TABLES):
        return None
    (versions,) = yield Fetch(_VERSIONS)
    _see_newer(versions)
    if (
        versions["langgraph"] < len(langgraph) - 1
        or versions["version"] < len(migrations.MIGRATIONS)
        or versions["functions"] < functions.FUNCTIONS_VERSION
    ):
        return None
    found.refuse_gaps()
    return Tables(found.schema, (yield from distributing.is_distributed(found)))


def _see_newer(sessions: DictRow) -> None:
    version, known = sessions["version"], len(migrations.MIGRATIONS)
    if sessions["breaking"] > known:
        raise SessionError(
            f"the database has user_sessions version {version}, made by a newer "
            f"langgraph-sessions; this one knows {known}, and cannot go on with it: upgrade the "
            "package"
        )
    mark = object()
    if version > known and _told.setdefault(version, mark) is mark:
        logger.warning(
            "a newer langgraph-sessions made the database's tables; this one goes on with them: "
            "upgrade the package",
            extra={"version": version, "known": known},
        )


def migrate(langgraph: Sequence[str], *, citus: bool = False) -> Plan[Tables]:
    """Bring both packages' tables up to date, in one transaction; return where they are.

    *langgraph* is LangGraph's own list of migrations. With *citus*, they are distributed. Their
    indexes are built without CONCURRENTLY, which no transaction allows and whose waiting for one
    another is what makes several set-ups at once fail. What results is the same.

    Raises:
        SessionError: Our tables are newer than this version of the package, by a breaking
            migration; some of either package's are gone; those of their names are somebody
            else's; as `place.look`; or as `distributing.check` and `distributing.may_change`.
    """
    yield Fetch(LOCK)
    there = yield from place.look()
    yield from place.pin()
    strangers.refuse(there, strangers.unlike(there, langgraph))
    are_distributed = yield from _see_nodes(there, citus)
    version = 0 if there.missing(["user_sessions_migrations"]) else (yield from _version())
    if version == 0:
        strangers.refuse(there, (yield from strangers.unmade(there)))
    yield from _upgrade_langgraph(langgraph)
    for table in migrations.VERSION_TABLES:
        yield Execute(table)
    kept = citus_functions.load() if are_distributed else functions.load()
    yield from _upgrade(version, kept)
    (yield from place.look()).refuse_gaps()
    if citus and not are_distributed:
        yield from distributing.distribute()
    return Tables(there.schema, citus or are_distributed)


def _see_nodes(there: place.Place, citus: bool) -> Plan[bool]:
    """Say whether the tables are distributed; see that they can be changed, or distributed."""
    if citus:
        return (yield from distributing.check(there))
    if are_distributed := (yield from distributing.is_distributed(there)):
        yield from distributing.may_change()
    return are_distributed


def _version() -> Plan[int]:
    (sessions,) = yield Fetch(SESSIONS_VERSION)
    _see_newer(sessions)
    return int(sessions["version"])


def _upgrade_langgraph(langgraph: Sequence[str]) -> Plan[None]:
    yield Execute(langgraph[0])
    (checkpoints,) = yield Fetch(LANGGRAPH_VERSION)
    for version in range(checkpoints["version"] + 1, len(langgraph)):
        yield Execute(langgraph[version].replace("CONCURRENTLY", ""))
        yield Execute("INSERT INTO checkpoint_migrations (v) VALUES (%(v)s)", {"v": version})


def _upgrade(version: int, kept: Sequence[Function]) -> Plan[None]:
    """Upgrade our tables from *version*: first all tables, then the functions, then the rest."""
    pending = migrations.MIGRATIONS[version:]
    for migration in pending:
        for statement in migration.statements:
            yield Execute(statement)
    (made,) = yield Fetch(FUNCTIONS_VERSION)
    # Never those of a higher number: a newer worker has made them.
    if made["version"] < functions.FUNCTIONS_VERSION:
        for function in kept:
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
