"""The schema as a script, for teams that run their own migrations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import dedent
from typing import Final

from langgraph_sessions import _schema

_HEADER: Final = """\
-- The tables of LangGraph and langgraph-sessions, for a database without those of the latter.
-- All of it or nothing: take BEGIN and COMMIT out where your tool makes the transaction.
"""
_FUNCTION: Final = re.compile(r"CREATE OR REPLACE FUNCTION (\w+)")


def ddl(langgraph: Sequence[str]) -> str:
    """Return the SQL that makes both packages' tables, with the rows that say their versions.

    With it run, `auto_setup=False` works. LangGraph's tables may be there already, in any
    version; where ours are, it fails and changes nothing.

    Args:
        langgraph: LangGraph's own list of migrations.
    """
    body = "\n\n".join([*_langgraph(langgraph), *_sessions()])
    return f"{_HEADER}BEGIN;\n\n{body}\n\nCOMMIT;\n"


def functions() -> dict[str, str]:
    """Return the SQL of our functions by name, each as its last migration makes it."""
    return {
        found[1]: _terminated(statement)
        for migration in _schema.MIGRATIONS
        for statement in migration
        if (found := _FUNCTION.search(statement))
    }


def functions_script() -> str:
    """Return the SQL that makes our functions anew, and changes nothing else."""
    return "\n\n".join(["BEGIN;", *functions().values(), "COMMIT;"]) + "\n"


def _langgraph(migrations: Sequence[str]) -> Iterator[str]:
    for version, migration in enumerate(migrations):
        yield f"-- LangGraph, version {version}"
        # As in `_schema.migrate`: no transaction allows CONCURRENTLY.
        yield _terminated(migration.replace("CONCURRENTLY", ""))
        yield f"INSERT INTO checkpoint_migrations (v) VALUES ({version}) ON CONFLICT DO NOTHING;"


def _sessions() -> Iterator[str]:
    yield _terminated(_schema._VERSION_TABLE)
    for version, migration in enumerate(_schema.MIGRATIONS, 1):
        yield f"-- langgraph-sessions, version {version}"
        yield from map(_terminated, migration)
        yield f"INSERT INTO user_sessions_migrations (version) VALUES ({version});"


def _terminated(statement: str) -> str:
    return dedent(statement).strip().rstrip(";") + ";"
