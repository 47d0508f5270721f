"""The tables, distributed over Citus' nodes: made so, converted, and looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from psycopg.rows import DictRow

from langgraph_sessions.errors import SessionError
from langgraph_sessions.plans import Execute, Fetch, Plan
from langgraph_sessions.sql.citus import functions
from langgraph_sessions.sql.locking import locked
from langgraph_sessions.sql.place import SCHEMA, TABLES, Place

THREADS: Final = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "session_threads")
USERS: Final = ("user_sessions", "session_users", "session_reservations")
EVERYWHERE: Final = ("checkpoint_migrations", "user_sessions_migrations", "user_sessions_functions")
# By what each is distributed; `None`: it is a reference table, whole on each node.
KEYS: Final[Mapping[str, str | None]] = {
    **dict.fromkeys(THREADS, "thread_id"),
    **dict.fromkeys(USERS, "user_id"),
    **dict.fromkeys(EVERYWHERE),
}

# Those of local tables that Citus knows for other reasons are left out.
_FOUND: Final = f"""
SELECT c.relname::text AS name, p.colocationid AS together,
    CASE WHEN p.partmethod = 'h' THEN column_to_column_name(p.logicalrelid, p.partkey) END AS key
FROM pg_catalog.pg_dist_partition AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.logicalrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE pg_catalog.quote_ident(n.nspname::text) = {SCHEMA} AND c.relname = ANY (%(names)s::name[])
AND (p.partmethod = 'h' OR p.repmodel = 't')"""
_CLUSTER: Final = f"""
SELECT citus_is_coordinator() AS is_coordinator,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_dist_node
        WHERE shouldhaveshards AND isactive AND noderole = 'primary') AS nodes,
    ARRAY(SELECT p.oid::pg_catalog.regproc::text FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
        AND p.proname = ANY (%(functions)s::name[])
        AND NOT pg_catalog.has_function_privilege(p.oid, 'EXECUTE') ORDER BY 1) AS functions,
    ARRAY(SELECT c.relname::text FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE pg_catalog.quote_ident(n.nspname::text) = {SCHEMA}
        AND c.relname = ANY (%(names)s::name[]) AND c.relkind IN ('r', 'p')
        AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 1) AS others"""
# What is called below, which not each role may.
_CALLED: Final = (
    "create_distributed_table",
    "create_reference_table",
    "truncate_local_data_after_distributing_table",
)
_ASKED: Final = {"names": list(TABLES), "functions": list(_CALLED)}


def found(place: Place) -> Plan[dict[str, DictRow]]:
    """Return by what the tables of *place* that are distributed are so, by their names."""
    if not place.has_citus:
        return {}
    rows = yield Fetch(_FOUND, {"names": list(TABLES)})
    return {row["name"]: row for row in rows}


def differences(place: Place, found: Mapping[str, DictRow]) -> list[str] | None:
    """Say what of *place* is not *found* as it is to be; `None`: nothing is distributed."""
    if not found:
        return None
    told = []
    for table, key in KEYS.items():
        if table not in found:
            told.append(
                f"{table} is not{'' if table in place.relations else ' there, or not'} distributed"
            )
        elif found[table]["key"] != key:
            told.append(f"{table} is distributed {_by(found[table]['key'])}, not {_by(key)}")
    for group in (THREADS, USERS):
        together = {found[table]["together"] for table in group if table in found}
        if not told and len(together) > 1:
            told.append(f"{', '.join(group)} are not co-located")
    return told


def indexes(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return what of the indexes *wanted* on one PostgreSQL, and in their place, is wanted."""
    return {**{name: sql for name, sql in wanted.items() if name != _KEY_BY_THREAD}, **_INDEXES}


def _by(key: str | None) -> str:
    return f"by {key}" if key else "as a reference table"


def is_distributed(place: Place) -> Plan[bool]:
    """Say whether the tables are distributed.

    Raises:
        SessionError: Some are, or otherwise than they are to be.
    """
    told = differences(place, (yield from found(place)))
    if told:
        raise SessionError(f"{_partly(place, told)}. {_MEND}")
    return told is not None


# What one transaction does to tables of the same shards is done one after another, and to all
# nodes' functions over the same connections.
_SEQUENTIAL: Final = "SET LOCAL citus.multi_shard_modify_mode = 'sequential'"


def may_change() -> Plan[None]:
    """See that distributed tables can be changed here, by the rest of the transaction.

    Raises:
        SessionError: This is no coordinator.
    """
    (cluster,) = yield Fetch(_CLUSTER, _ASKED)
    _refuse_workers(cluster["is_coordinator"])
    yield Execute(_SEQUENTIAL)


_MEND: Final = (
    "Call setup(citus=True) on a database whose tables are not distributed: Citus' "
    "undistribute_table() makes them so again"
)


def _partly(place: Place, told: list[str]) -> str:
    return f"the tables in the schema {place.schema!r} are partly distributed: {'; '.join(told)}"


def check(place: Place) -> Plan[bool]:
    """See that the tables in *place* can be distributed; say whether they are already.

    Raises:
        SessionError: There is no Citus, no node for shards, this is no coordinator, the role may
            not distribute, or some tables are distributed, by whatever.
    """
    if not place.has_citus:
        raise SessionError(
            "setup(citus=True) wants the extension citus, which this database does not have: "
            "CREATE EXTENSION citus on each node, and citus_add_node() on the coordinator"
        )
    if (yield from is_distributed(place)):
        yield from may_change()
        return True
    (cluster,) = yield Fetch(_CLUSTER, _ASKED)
    _refuse_workers(cluster["is_coordinator"])
    if not cluster["nodes"]:
        raise SessionError(
            "setup(citus=True) finds no node for shards: call citus_add_node() for each worker"
        )
    if cluster["functions"]:
        raise SessionError(
            "this role may not distribute tables: GRANT EXECUTE ON FUNCTION "
            f"{', '.join(cluster['functions'])}, or set up as another role"
        )
    if cluster["others"]:
        raise SessionError(
            f"this role may not distribute {', '.join(cluster['others'])}: only their owner may"
        )
    return False


def _refuse_workers(is_coordinator: bool) -> None:
    """Refuse to change tables from a worker.

    Raises:
        SessionError: This is no coordinator.
    """
    if not is_coordinator:
        raise SessionError(
            "this is a worker of Citus, and tables are made and changed through the coordinator "
            "alone: call setup() there once"
        )


# Keys that have the user's id in them, as Citus wants them; of tables that were distributed once,
# and are no more, they have it already.
_KEY_BY_THREAD: Final = "user_sessions_thread_id_key"
_KEY_BY_USER: Final = "user_sessions_user_id_thread_id_key"
_KEYS_BY_USER: Final = (
    "ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_pkey",
    f"ALTER TABLE user_sessions DROP CONSTRAINT IF EXISTS {_KEY_BY_THREAD}",
    f"ALTER TABLE user_sessions DROP CONSTRAINT IF EXISTS {_KEY_BY_USER}",
    f"DROP INDEX IF EXISTS {_KEY_BY_THREAD}, {_KEY_BY_USER}",
    "ALTER TABLE user_sessions ADD PRIMARY KEY (user_id, id), "
    f"ADD CONSTRAINT {_KEY_BY_USER} UNIQUE (user_id, thread_id)",
)
_INDEXES: Final = {
    _KEY_BY_USER: f"CREATE UNIQUE INDEX CONCURRENTLY {_KEY_BY_USER} "
    "ON user_sessions (user_id, thread_id);"
}


def statements() -> Iterator[str]:
    """Give the statements that distribute the tables, with what is in them."""
    yield locked(KEYS)
    yield _SEQUENTIAL
    yield from _KEYS_BY_USER
    for group in (THREADS, USERS):
        for table in group:
            beside = "none" if table == group[0] else group[0]
            yield (
                f"SELECT create_distributed_table('{table}', '{KEYS[table]}', "
                f"colocate_with => '{beside}')"
            )
    for table in EVERYWHERE:
        yield f"SELECT create_reference_table('{table}')"
    # What stays on the coordinator, and is reached from each node: locks that are held for long.
    # There is nothing in it, and roles that have rights on the other tables know nothing of it.
    yield "CREATE TABLE IF NOT EXISTS session_locks ()"
    yield "SELECT citus_add_local_table_to_metadata('session_locks')"
    yield "GRANT SELECT ON session_locks TO PUBLIC"
    # What was in them stands on the coordinator, too, unseen.
    for table in KEYS:
        yield f"SELECT truncate_local_data_after_distributing_table('{table}')"


def distribute() -> Plan[None]:
    """Distribute the tables, in the transaction that made them, and make the functions for that."""
    for statement in statements():
        yield Execute(statement)
    for function in functions.load():
        yield Execute(function.sql)
