"""Problems of a database, and how to mend them. Everything here only reads.

The tables may be missing or of any version: what cannot be looked at is left out, and what
would be mended by the same remedy is told once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from langgraph_sessions.database.database import Database
from langgraph_sessions.database.deeds import do
from langgraph_sessions.database.place import OLDEST_SERVER
from langgraph_sessions.database.source import Source
from langgraph_sessions.doctor import (
    citus,
    columns,
    functions,
    indexes,
    leftovers,
    partitions,
    places,
    rights,
    versions,
)
from langgraph_sessions.doctor.findings import Finding
from langgraph_sessions.errors import SessionError
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql import place, strangers
from langgraph_sessions.sql.citus import distributing

_SERVER = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
    current_setting('server_encoding') AS encoding,
    current_setting('default_transaction_isolation') AS isolation,
    current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery() AS read_only,
    pg_backend_pid() AS pid"""
_PID = "SELECT pg_backend_pid() AS pid"


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
            doctor = Database(conn)
            doctor.place.are_distributed = do(doctor.drive_deed(conn, _are_distributed()))
            plan = examine(langgraph, conn.info.backend_pid)
            return do(doctor.drive_deed(conn, plan))
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


def _are_distributed() -> Plan[bool]:
    """Say whether the tables are distributed: the walk over the threads asks Citus otherwise."""
    try:
        there = yield from place.look()
    except SessionError:
        return False
    return distributing.differences(there, (yield from distributing.found(there))) == []


def _inside(langgraph: Sequence[str]) -> Plan[list[Finding]]:
    """Look at the tables, as far as there are any, and one may."""
    try:
        there = yield from place.look()
    except SessionError as error:
        return [places.no_place(error)]
    tables = [name for name in place.TABLES if name in there.relations]
    found = yield from rights.find(tables)
    if found:
        return found
    if others := strangers.unlike(there, langgraph):
        return [places.strangers(others)]
    # First those of the tables from which the versions are read.
    found = yield from columns.find(place.VERSION_TABLES)
    if found:
        return found
    known = yield from versions.find(langgraph, tables)
    if not known.tables_are_made and (others := (yield from strangers.unmade(there))):
        return [places.strangers(others)]
    spread = yield from distributing.found(there)
    told = distributing.differences(there, spread)
    if told and not (known.has_problems and known.tables_are_made):
        return citus.differs(told, [*spread])
    if known.has_problems:
        return known.found
    return known.found + (yield from _within(langgraph, tables, known, told is not None))


def _within(
    langgraph: Sequence[str], tables: Sequence[str], known: versions.Versions, distributed: bool
) -> Plan[list[Finding]]:
    """Look at tables whose versions can be gone on with."""
    found = yield from columns.find_foreign(tables, langgraph)
    if not known.tables_are_newer:  # What a newer version made of them is its own affair.
        found += yield from columns.find(place.OUR_TABLES)
    if found:  # The functions, and indexes, want them.
        return found
    found += yield from rights.find_creators()
    found += yield from places.find_elsewhere()
    found += yield from partitions.find(tables)
    if not known.tables_are_newer:
        found += yield from indexes.find(langgraph, tables, distributed=distributed)
    newer = known.functions_are_newer
    changed = yield from functions.find(newer=newer, distributed=distributed)
    if distributed and not changed:
        found += yield from citus.find(newer=newer)
    if changed or any(finding.check in citus.UNFIT for finding in found):
        return found + changed  # The walk over the threads calls one, on each node.
    return found + (yield from leftovers.find(distributed=distributed))


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
