"""How tables are partitioned, and whether each row has a partition to go to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from psycopg.rows import DictRow

from langgraph_sessions.doctor.findings import Finding
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql.place import here

# `covered`: of a hash's values, the share that has a partition; NULL where it is split otherwise.
PARTITIONED: Final = f"""
SELECT name AS table, pg_get_partkeydef({here("name")}) AS key, CASE p.partstrat WHEN 'h' THEN (
    SELECT coalesce(sum(1.0::float8 / substring(
        pg_get_expr(part.relpartbound, part.oid) FROM 'modulus (\\d+)')::integer), 0)
    FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid WHERE inhparent = c.oid
) END AS covered
FROM unnest(%(tables)s::text[]) AS name
JOIN pg_class AS c ON c.oid = {here("name")} AND relkind = 'p'
JOIN pg_partitioned_table AS p ON p.partrelid = c.oid"""
_ROUNDED: Final = 1e-9


def find(tables: Sequence[str]) -> Plan[list[Finding]]:
    """Say which of *tables* are partitioned, which is good to know, and which lack a partition."""
    rows = yield Fetch(PARTITIONED, {"tables": list(tables)})
    return [*_uncovered(rows), *_told(rows)]


def _uncovered(rows: Sequence[DictRow]) -> Iterator[Finding]:
    gaps = [r["table"] for r in rows if r["covered"] is not None and r["covered"] < 1 - _ROUNDED]
    if gaps:
        what = "partitions are missing: the runs of some threads fail"
        mend = "; ".join(
            f"CREATE TABLE … PARTITION OF {table} FOR VALUES WITH (MODULUS …, REMAINDER …), "
            f"for what psql's \\d+ {table} does not show"
            for table in gaps
        )
        yield Finding("partition-missing", what, mend, len(gaps), gaps)


def _told(rows: Sequence[DictRow]) -> Iterator[Finding]:
    by_key: dict[str, list[str]] = {}
    for row in rows:
        by_key.setdefault(row["key"], []).append(row["table"])
    mend = "nothing; their indexes are those of the whole table, and cannot be built CONCURRENTLY"
    for key, which in by_key.items():
        what = f"tables are partitioned by {key}"
        yield Finding("partitioned", what, mend, len(which), which, False)
