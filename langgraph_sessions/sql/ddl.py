"""The schema as a script, for teams that run their own migrations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import dedent
from typing import Final

from langgraph_sessions.sql import schema

_HEADER: Final = """\
-- The tables of LangGraph and langgraph-sessions, for a database without those of the latter.
-- All of it or nothing: take BEGIN and COMMIT out where your tool makes the transaction.
"""
_FUNCTION: Final = re.compile(r"CREATE OR REPLACE FUNCTION (\w+).*?\$\$(.*)\$\$", re.DOTALL)
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
    body = "\n\n".join([*_langgraph(langgraph), *_sessions()])
    return f"{_HEADER}BEGIN;\n\n{body}\n\nCOMMIT;\n"


def functions_script() -> str:
    """Return the SQL that makes our functions anew, and changes nothing else."""
    return "\n\n".join(["BEGIN;", *functions().values(), "COMMIT;"]) + "\n"


def functions() -> dict[str, str]:
    """Return the SQL of our functions by name, each as its last migration makes it."""
    return {found[1]: _terminated(found.string) for found in _functions()}


def function_bodies() -> dict[str, str]:
    """Return our functions' bodies by name, as PostgreSQL keeps them."""
    return {found[1]: found[2] for found in _functions()}


def _functions() -> Iterator[re.Match[str]]:
    for migration in schema.MIGRATIONS:
        for statement in migration:
            if found := _FUNCTION.search(statement):
                yield found


def indexes(langgraph: Sequence[str]) -> dict[str, str]:
    """Return the SQL of the indexes, beside those of the keys, that both packages want, by name.

    It builds them without locking the table against runs.
    """
    wanted: dict[str, str] = {}
    for statement in [*langgraph, *(sql for migration in schema.MIGRATIONS for sql in migration)]:
        for found in _INDEX.finditer(statement):
            wanted.pop(found[2], None)
            if found[1] == "CREATE":
                sql = " ".join(_terminated(statement).replace("CONCURRENTLY", "").split())
                wanted[found[2]] = sql.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
    return wanted


def _langgraph(migrations: Sequence[str]) -> Iterator[str]:
    for version, migration in enumerate(migrations):
        yield f"-- LangGraph, version {version}"
        # As in `schema.migrate`: no transaction allows CONCURRENTLY.
        yield _terminated(migration.replace("CONCURRENTLY", ""))
        yield f"INSERT INTO checkpoint_migrations (v) VALUES ({version}) ON CONFLICT DO NOTHING;"


def _sessions() -> Iterator[str]:
    yield _terminated(schema.VERSION_TABLE)
    for version, migration in enumerate(schema.MIGRATIONS, 1):
        yield f"-- langgraph-sessions, version {version}"
        yield from map(_terminated, migration)
        yield f"INSERT INTO user_sessions_migrations (version) VALUES ({version});"


def _terminated(statement: str) -> str:
    return dedent(statement).strip().rstrip(";") + ";"
