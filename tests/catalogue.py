"""What stands in a database, by its catalogues, to be compared with what stands in another."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.support import psycopg_pool_options

_OURS = "n.nspname = 'public'"
# By number among its columns, not by attnum: what was dropped before leaves a gap.
COLUMNS = f"""
SELECT concat_ws(' ', relname, row_number() OVER (PARTITION BY relname ORDER BY attnum), attname)
        AS name,
    concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
        pg_get_expr(adbin, adrelid)) AS what
FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid JOIN pg_namespace AS n
    ON n.oid = relnamespace LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
WHERE {_OURS} AND relkind IN ('r', 'p', 'S') AND attnum > 0 AND NOT attisdropped"""
# NOT NULL stands with the column; as a constraint it is PostgreSQL 18's.
CONSTRAINTS = f"""
SELECT conrelid::regclass || ' ' || conname AS name,
    concat_ws(' ', pg_get_constraintdef(o.oid), convalidated) AS what
FROM pg_constraint AS o JOIN pg_namespace AS n ON n.oid = connamespace
WHERE {_OURS} AND contype <> 'n'"""
INDEXES = f"""
SELECT indexrelid::regclass::text AS name,
    concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisready) AS what
FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid JOIN pg_namespace AS n
    ON n.oid = relnamespace WHERE {_OURS}"""
FUNCTIONS = f"""
SELECT p.oid::regprocedure::text AS name, pg_get_functiondef(p.oid) AS what
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace WHERE {_OURS}"""
SEQUENCES = f"""
SELECT seqrelid::regclass::text AS name,
    concat_ws(' ', format_type(seqtypid, NULL), refobjid::regclass, refobjsubid) AS what
FROM pg_sequence JOIN pg_class AS c ON c.oid = seqrelid
    JOIN pg_namespace AS n ON n.oid = relnamespace
    LEFT JOIN pg_depend ON objid = seqrelid AND deptype = 'a' WHERE {_OURS}"""
KINDS = {
    "columns": COLUMNS,
    "constraints": CONSTRAINTS,
    "indexes": INDEXES,
    "functions": FUNCTIONS,
    "sequences": SEQUENCES,
}


def catalogue(conninfo: str) -> dict[str, dict[str, Any]]:
    """Return what stands in the schema of a database: for each kind, what it is by its name."""
    with psycopg.connect(conninfo, **psycopg_pool_options()) as conn:
        return {
            kind: {row["name"]: row["what"] for row in conn.execute(query.encode())}
            for kind, query in KINDS.items()
        }
