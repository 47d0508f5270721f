"""The tables, distributed by Citus, as a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langgraph_sessions.sql import ddl, migrations, place, schema
from langgraph_sessions.sql.citus import distributing, functions

_HEADER: Final = """\
-- The tables of LangGraph and langgraph-sessions, made where they are not there, distributed by
-- Citus with what is in them, meanwhile runs wait. For psql, on the coordinator.
-- All of it or nothing: take BEGIN and COMMIT out where your tool makes the transaction.
"""
_REFUSALS: Final = """
DO $$ BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NULL THEN
        RAISE EXCEPTION 'this database has not the extension citus: CREATE EXTENSION citus';
    ELSIF NOT citus_is_coordinator() THEN
        RAISE EXCEPTION 'this is a worker of Citus: run this on the coordinator';
    ELSIF NOT EXISTS (SELECT FROM pg_dist_node
        WHERE shouldhaveshards AND isactive AND noderole = 'primary')
    THEN
        RAISE EXCEPTION 'there is no node for shards: call citus_add_node() for each worker';
    ELSIF EXISTS (SELECT FROM pg_dist_partition
        WHERE logicalrelid = ANY (ARRAY(
            SELECT to_regclass(quote_ident(current_schema()) || '.' || name)
            FROM unnest(ARRAY[{tables}]) AS name
        )) AND (partmethod = 'h' OR repmodel = 't'))
    THEN
        RAISE EXCEPTION 'tables are distributed here already: the command doctor says how';
    END IF;
END $$"""
# In a block, since SQL alone knows no IF: what the transaction did before stands.
_UNLESS_MADE: Final = """
DO $made$ DECLARE made integer := (SELECT max(version) FROM user_sessions_migrations);
BEGIN
    IF made = {version} THEN
        RETURN;
    ELSIF made IS NOT NULL THEN
        RAISE EXCEPTION 'the tables have version %, not {version}: call setup() first', made;
    END IF;

{statements}
END $made$"""


def script(langgraph: Sequence[str]) -> str:
    """Return the SQL that distributes both packages' tables, be they there or not.

    With it run, `auto_setup=False` works. Where it cannot, since there is no Citus, no node for
    shards or no coordinator, where tables are distributed already, or ours are of another version,
    it fails and changes nothing.

    Args:
        langgraph: LangGraph's own list of migrations.
    """
    tables = ", ".join(f"'{table}'" for table in distributing.KEYS)
    body = [
        "SET LOCAL client_min_messages = warning",
        schema.LOCK,
        place.PIN,
        _REFUSALS.format(tables=tables),
        *ddl.langgraph_script(langgraph),
        *migrations.VERSION_TABLES,
        _UNLESS_MADE.format(
            version=len(migrations.MIGRATIONS), statements="\n\n".join(ddl.sessions_script())
        ),
        *distributing.statements(),
        *ddl.functions_statements(functions.load()),
    ]
    return "\n\n".join([_HEADER + "BEGIN;", *map(ddl.terminated, body), "COMMIT;"]) + "\n"
