"""Whether our columns are there as they were made, and nobody else's is in their way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from psycopg.rows import DictRow

from langgraph_sessions.doctor.findings import COMMAND, Finding
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql.columns import TABLES, Column
from langgraph_sessions.sql.place import here

# `given`: the table itself has a value where an INSERT gives none.
_COLUMNS: Final = f"""
SELECT name AS table, attname AS column, quote_ident(attname) AS quoted,
    format_type(atttypid, atttypmod) AS type, NOT attnotnull AS nullable,
    pg_get_expr(adbin, adrelid) AS default, attidentity <> '' AS identity,
    atthasdef OR attidentity <> '' OR typdefault IS NOT NULL AS given
FROM unnest(%(tables)s::text[]) AS name
JOIN pg_attribute ON attrelid = {here("name")} AND attnum > 0 AND NOT attisdropped
JOIN pg_type AS t ON t.oid = atttypid
LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
ORDER BY name, attnum"""

Known = tuple[str, Column, DictRow]  # A table, a column of it as it was made, and as it is.


def find(tables: Sequence[str]) -> Plan[list[Finding]]:
    """Compare the columns of those of our *tables* that are there with what they were made as."""
    rows = yield Fetch(_COLUMNS, {"tables": list(tables)})
    there = {(row["table"], row["column"]): row for row in rows}
    present = {table for table, _ in there}
    made = [(table, column) for table in tables if table in present for column in TABLES[table]]
    known = [(t, c, there[t, c.name]) for t, c in made if (t, c.name) in there]
    return [
        *_missing([(t, c) for t, c in made if (t, c.name) not in there]),
        *_differing(known, "columns have another type", _has_other_type, _retype),
        *_differing(known, "columns may be NULL that must not", _may_be_null, _fill),
        *_differing(known, "columns must not be NULL that may", _must_not_be_null, _free),
        *_differing(known, "columns have not their default", _has_no_default, _default),
    ]


def find_foreign(tables: Sequence[str], langgraph: Sequence[str]) -> Plan[list[Finding]]:
    """Tell of somebody else's columns, in either package's *tables*, that fail every INSERT.

    Args:
        tables: Those that are there.
        langgraph: LangGraph's own list of migrations, which name its columns.
    """
    rows = yield Fetch(_COLUMNS, {"tables": list(tables)})
    words = set(re.findall(r"\w+", " ".join(langgraph)))
    known = {table: {column.name for column in made} for table, made in TABLES.items()}
    foreign = [
        row
        for row in rows
        if not (row["nullable"] or row["given"])
        and row["column"] not in known.get(row["table"], words)
    ]
    if not foreign:
        return []
    what = "somebody else's columns are NOT NULL and have no default: every INSERT fails"
    mend = "; ".join(f"ALTER TABLE {r['table']} ALTER {r['quoted']} DROP NOT NULL" for r in foreign)
    return [Finding("column-foreign", what, mend, len(foreign), [*map(_name, foreign)])]


def _name(row: DictRow) -> str:
    return f"{row['table']}.{row['column']}"


def _missing(columns: Sequence[tuple[str, Column]]) -> Iterator[Finding]:
    if columns:
        which = [f"{table}.{column.name}" for table, column in columns]
        mends = "; ".join(_add(table, column) for table, column in columns)
        yield Finding("column", "columns are missing", mends, len(which), which)


def _add(table: str, column: Column) -> str:
    if column.is_numbered or (column.default is None and not column.nullable):
        return f'restore {table}.{column.name} from a backup; what it is, "{COMMAND} ddl" shows'
    default = "" if column.default is None else f" DEFAULT {column.default}"
    rest = default if column.nullable else f" NOT NULL{default}"
    return f"ALTER TABLE {table} ADD COLUMN {column.name} {column.type}{rest}"


def _differing(
    known: Sequence[Known],
    what: str,
    differs: Callable[[Column, DictRow], bool],
    mend: Callable[[str, Column], str],
) -> Iterator[Finding]:
    found = [(table, column) for table, column, row in known if differs(column, row)]
    if found:
        which = [f"{table}.{column.name}" for table, column in found]
        mends = "; ".join(mend(table, column) for table, column in found)
        yield Finding("column", what, mends, len(which), which)


def _has_other_type(column: Column, row: DictRow) -> bool:
    return bool(row["type"] != column.type)


def _retype(table: str, column: Column) -> str:
    """Change the type; a default is taken away meanwhile, since it may not be of the new one."""
    name = column.name
    alter = f"ALTER TABLE {table} ALTER {name} TYPE {column.type} USING {name}::{column.type}"
    if column.default is None or column.is_numbered:
        return alter
    return (
        f"ALTER TABLE {table} ALTER {name} DROP DEFAULT; {alter}, "
        f"ALTER {name} SET DEFAULT {column.default}"
    )


def _may_be_null(column: Column, row: DictRow) -> bool:
    return bool(row["nullable"]) and not column.nullable


def _fill(table: str, column: Column) -> str:
    alter = f"ALTER TABLE {table} ALTER {column.name} SET NOT NULL"
    if column.default is None:
        return alter
    fill = f"UPDATE {table} SET {column.name} = DEFAULT WHERE {column.name} IS NULL"
    return f"{fill}; {alter}"


def _must_not_be_null(column: Column, row: DictRow) -> bool:
    return column.nullable and not row["nullable"]


def _free(table: str, column: Column) -> str:
    return f"ALTER TABLE {table} ALTER {column.name} DROP NOT NULL"


def _has_no_default(column: Column, row: DictRow) -> bool:
    if column.is_numbered:  # By a sequence of whatever name, or by an identity.
        return not (row["identity"] or (row["default"] or "").startswith("nextval("))
    return column.default is not None and row["default"] != column.default


def _default(table: str, column: Column) -> str:
    return f"ALTER TABLE {table} ALTER {column.name} SET DEFAULT {column.default}"
