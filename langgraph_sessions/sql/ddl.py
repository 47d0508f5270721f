"""The schema as a script, for teams that run their own migrations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import dedent
from typing import Final

from langgraph_sessions.sql import functions, migrations, place, schema
from langgraph_sessions.sql.citus import functions as citus_functions
from langgraph_sessions.sql.functions import Function

_HEADER: Final = """\
-- The tables of LangGraph and langgraph-sessions, for a database without those of the latter.
-- All of it or nothing: take BEGIN and COMMIT out where your tool makes the transaction.
"""
_INDEX: Final = re.compile(
    r"(CREATE|DROP)(?: UNIQUE)? INDEX(?: CONCURRENTLY)?(?: IF(?: NOT)? EXISTS)? (\w+)"
)


def ddl(langgraph: Sequence[str]) -> str:
    """Return the SQL that makes both packages' tables, with the rows that say their versions.

    With it run, `auto_setup=False` works. LangGraph's tables may be there already, in any
    version; where ours are, it fails and changes nothing.

    Args:
        langgraph: LangGraph's own list of migrations.
    """
    made = [*map(terminated, migrations.VERSION_TABLES), *sessions_script()]
    body = "\n\n".join([*langgraph_script(langgraph), *made])
    return f"{_HEADER}BEGIN;\n\n{body}\n\nCOMMIT;\n"


def functions_script(*, citus: bool = False) -> str:
    """Return the SQL that makes our functions anew, and changes nothing else.

    Where those of a newer version of the package are, it fails and changes nothing.

    Args:
        citus: Whether those for tables that Citus has distributed.
    """
    kept = citus_functions.load() if citus else functions.load()
    # Some of Citus' keep the search path with which they were made.
    body = [schema.LOCK, place.PIN, *migrations.VERSION_TABLES, *functions_statements(kept)]
    return "\n\n".join(["BEGIN;", *map(terminated, body), "COMMIT;"]) + "\n"


def functions_statements(kept: Sequence[Function]) -> Iterator[str]:
    """Give the statements that make the functions *kept* anew, unless there are newer ones."""
    version = functions.FUNCTIONS_VERSION
    yield f"""
DO $$ BEGIN
    IF (SELECT max(version) FROM user_sessions_functions) > {version} THEN
        RAISE EXCEPTION 'those of a newer langgraph-sessions are here: upgrade the package';
    END IF;
END $$"""
    yield from _functions(kept)


def indexes(langgraph: Sequence[str]) -> dict[str, str]:
    """Return the SQL of the indexes, beside those of the keys, that both packages want, by name.

    It builds them without locking the table against runs.
    """
    wanted: dict[str, str] = {}
    for statement in [*langgraph, *_statements()]:
        for found in _INDEX.finditer(statement):
            wanted.pop(found[2], None)
            if found[1] == "CREATE":
                sql = " ".join(terminated(statement).replace("CONCURRENTLY", "").split())
                wanted[found[2]] = sql.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    return wanted


def langgraph_script(migrations: Sequence[str]) -> Iterator[str]:
    """Give the statements that make LangGraph's tables, or bring them up to date."""
    for version, migration in enumerate(migrations):
        yield f"-- LangGraph, version {version}"
        # As in `schema.migrate`: no transaction allows CONCURRENTLY.
        yield terminated(migration.replace("CONCURRENTLY", ""))
        yield f"INSERT INTO checkpoint_migrations (v) VALUES ({version}) ON CONFLICT DO NOTHING;"


def _statements() -> Iterator[str]:
    """Give each statement of our migrations."""
    for migration in migrations.MIGRATIONS:
        yield from (*migration.statements, *migration.finish)


def sessions_script() -> Iterator[str]:
    """Give the statements that make our tables and functions, beside the tables of versions."""
    for version, migration in enumerate(migrations.MIGRATIONS, 1):
        yield f"-- langgraph-sessions, version {version}"
        yield from map(terminated, migration.statements)
    yield from map(terminated, _functions(functions.load()))
    for version, migration in enumerate(migrations.MIGRATIONS, 1):
        yield from map(terminated, migration.finish)
        yield terminated(schema.migration_made(version, migration))


def _functions(kept: Sequence[Function]) -> Iterator[str]:
    yield f"-- The functions of langgraph-sessions, number {functions.FUNCTIONS_VERSION}"
    yield from (function.sql for function in kept)
    yield f"{schema.functions_made()} ON CONFLICT DO NOTHING"


def terminated(statement: str) -> str:
    """Return a statement with a semicolon, a comment as it is."""
    bare = dedent(statement).strip().rstrip(";")
    return bare if bare.startswith("--") else f"{bare};"
