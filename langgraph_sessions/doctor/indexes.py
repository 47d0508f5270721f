"""Whether the indexes that both packages want are there, valid, and what their names say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from psycopg.rows import DictRow

from langgraph_sessions.doctor.findings import COMMAND, Finding
from langgraph_sessions.doctor.partitions import PARTITIONED
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql import ddl
from langgraph_sessions.sql.citus import distributing
from langgraph_sessions.sql.place import here

# The indexes of a partitioned table are found on the table itself; whether they are valid, also
# on its partitions.
_INDEXES: Final = f"""
WITH tables AS (
    SELECT name, {here("name")}::oid AS oid, TRUE AS is_whole
    FROM unnest(%(tables)s::text[]) AS name
    UNION ALL
    SELECT name, relid::oid, FALSE FROM unnest(%(tables)s::text[]) AS name
    CROSS JOIN pg_partition_tree({here("name")}) WHERE level > 0
)
SELECT tables.name AS table, c.oid::regclass::text AS quoted, c.relname AS name, is_whole,
    c.relkind = 'I' AS partitioned, i.indisprimary AS primary,
    i.indisvalid AND i.indisready AS valid, pg_get_indexdef(i.indexrelid) AS definition
FROM tables JOIN pg_index AS i ON i.indrelid = tables.oid
JOIN pg_class AS c ON c.oid = i.indexrelid ORDER BY c.relname"""


def find(
    langgraph: Sequence[str], tables: Sequence[str], *, distributed: bool
) -> Plan[list[Finding]]:
    """Compare the indexes of *tables*, those of both packages, with what is wanted.

    Args:
        langgraph: LangGraph's own list of migrations.
        tables: Those that are there.
        distributed: They are distributed by Citus.
    """
    wanted = ddl.indexes(langgraph)
    if distributed:
        wanted = distributing.indexes(wanted)
    rows = yield Fetch(_INDEXES, {"tables": list(tables)})
    parted = yield Fetch(PARTITIONED, {"tables": list(tables)})
    expected = _buildable(wanted, [row["table"] for row in parted])
    whole = [row for row in rows if row["is_whole"]]
    keyed = {row["table"] for row in whole if row["primary"]}
    return [
        *_missing(expected, {row["name"] for row in whole}),
        *(_missing_key(table) for table in tables if table not in keyed),
        *(_invalid(row, expected) for row in rows if not row["valid"]),
        *(
            _other(row["name"], expected[row["name"]])
            for row in whole
            if _bare(row["definition"]) != _bare(expected.get(row["name"], row["definition"]))
        ),
    ]


def _buildable(indexes: dict[str, str], partitioned: Sequence[str]) -> dict[str, str]:
    """Return the SQL of *indexes*, without CONCURRENTLY where the table is partitioned."""
    return {
        name: sql.replace(" CONCURRENTLY", "")
        if any(re.search(rf" ON {table}\b", sql) for table in partitioned)
        else sql
        for name, sql in indexes.items()
    }


def _bare(definition: str) -> str:
    """Return what an index is, without its schema and what goes without saying."""
    words = re.sub(r" CONCURRENTLY| IF NOT EXISTS| USING btree|(?<= ON )ONLY |;", "", definition)
    words = re.sub(r'(?<= ON )("([^"]|"")*"|[^ (."]+)\.', "", words)
    return re.sub(r"\s+|::text|[()]", "", words).lower()


def _missing(expected: dict[str, str], present: set[str]) -> Iterator[Finding]:
    for name in sorted(expected.keys() - present):
        yield Finding("index-missing", "an index is missing", expected[name], which=[name])


def _missing_key(table: str) -> Finding:
    mend = f'ALTER TABLE {table} ADD PRIMARY KEY (…), of the columns that "{COMMAND} ddl" shows'
    return Finding("index-missing", "a primary key is missing", mend, which=[f"{table}_pkey"])


def _other(name: str, sql: str) -> Finding:
    what = "an index is not what its name says: other columns, or not unique"
    return Finding(
        "index-other", what, f"DROP INDEX {name} (or its constraint); {sql}", which=[name]
    )


def _invalid(row: DictRow, expected: dict[str, str]) -> Finding:
    what = "an index is invalid: it was not built to its end, and no query uses it"
    mend = f"REINDEX INDEX CONCURRENTLY {row['quoted']}"
    if row["partitioned"]:
        what = "an index is invalid: not each partition has it, and is valid"
        mend = f"DROP INDEX {row['quoted']}; {expected.get(row['name'], row['definition'])}"
    return Finding("index-invalid", what, mend, which=[row["name"]])
