"""Which versions the tables and the functions of a database have, and whether all are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from psycopg.rows import DictRow

from langgraph_sessions.doctor.findings import COMMAND, Finding
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql import schema
from langgraph_sessions.sql.functions import FUNCTIONS_VERSION
from langgraph_sessions.sql.migrations import MIGRATIONS
from langgraph_sessions.sql.place import LANGGRAPH_TABLES, OUR_TABLES

_SETUP: Final = f'"{COMMAND} setup --database URL"'
_UPGRADE: Final = "upgrade the package {} here"


@dataclass
class Versions:
    """What is found of the versions.

    Attributes:
        found: What there is to tell.
        tables_are_made: Whether our tables have a version.
        tables_are_newer: Whether our tables are those of a newer version of the package.
        functions_are_newer: Whether our functions are.
    """

    found: list[Finding] = field(default_factory=list)
    tables_are_made: bool = False
    tables_are_newer: bool = False
    functions_are_newer: bool = False

    @property
    def has_problems(self) -> bool:
        """Whether something is to be mended before anything else can be looked at."""
        return any(finding.is_problem for finding in self.found)


def find(langgraph: Sequence[str], tables: Sequence[str]) -> Plan[Versions]:
    """Compare the versions that *tables* tell with those that are installed."""
    checkpoints, sessions, made = {"version": -1}, {"version": 0, "breaking": 0}, {"version": 0}
    if "checkpoint_migrations" in tables:
        (checkpoints,) = yield Fetch(schema.LANGGRAPH_VERSION)
    if "user_sessions_migrations" in tables:
        (sessions,) = yield Fetch(schema.SESSIONS_VERSION)
    if "user_sessions_functions" in tables:
        (made,) = yield Fetch(schema.FUNCTIONS_VERSION)
    versions = Versions(
        tables_are_made=sessions["version"] > 0,
        tables_are_newer=sessions["version"] > len(MIGRATIONS),
        functions_are_newer=made["version"] > FUNCTIONS_VERSION,
    )
    known, has = len(langgraph) - 1, checkpoints["version"]
    versions.found += _tables("LangGraph", "langgraph-checkpoint-postgres", has, known)
    versions.found += _ours(sessions)
    if sessions["version"] == len(MIGRATIONS):  # Else it is told, with the same remedy.
        versions.found += _functions(made["version"])
    versions.found += _missing(tables, has < known, sessions["version"] < len(MIGRATIONS))
    return versions


def _ours(sessions: DictRow) -> Iterator[Finding]:
    known = len(MIGRATIONS)
    breaks = sessions["breaking"] > known
    name = "langgraph-sessions"
    for finding in _tables(name, name, sessions["version"], known):
        is_note = finding.check == "schema-new" and not breaks
        yield Finding(finding.check, finding.what, finding.mend, is_problem=not is_note)


def _tables(whose: str, package: str, version: int, known: int) -> Iterator[Finding]:
    if version > known:
        what = f"the tables of {whose} have version {version}; what is installed knows {known}"
        yield Finding("schema-new", what, _UPGRADE.format(package))
    elif version < known:
        has = f"have version {version}" if version > 0 else "are missing"
        yield Finding(
            "schema-old",
            f"the tables of {whose} {has}; this version needs {known}",
            f"{_SETUP}; in a database without user_sessions, "
            f'"{COMMAND} ddl | psql URL" does the same. Then run the doctor again',
        )


def _functions(made: int) -> Iterator[Finding]:
    what = f"the functions have number {made}; those that are installed have {FUNCTIONS_VERSION}"
    if made < FUNCTIONS_VERSION:
        mend = (
            f'{_SETUP}, or "{COMMAND} ddl --functions | psql URL", with --citus where Citus has '
            "distributed the tables"
        )
        yield Finding("functions-old", what, mend)
    elif made > FUNCTIONS_VERSION:
        mend = _UPGRADE.format("langgraph-sessions")
        yield Finding("functions-new", what, f"nothing; {mend}, in time", is_problem=False)


def _missing(tables: Sequence[str], langgraph_is_old: bool, is_old: bool) -> Iterator[Finding]:
    """Tell of tables that are gone although the versions say that they were made."""
    # Without that of the functions' number, the functions count as old.
    ours = (table for table in OUR_TABLES if table != "user_sessions_functions")
    expected = (() if langgraph_is_old else LANGGRAPH_TABLES) + (() if is_old else tuple(ours))
    missing = [table for table in expected if table not in tables]
    if missing:
        mend = (
            "restore them from a backup; or make them empty: their CREATE TABLE and CREATE INDEX, "
            f'and of user_sessions the ALTERs, are in "{COMMAND} ddl"'
        )
        what = "tables were made and are gone"
        yield Finding("table-missing", what, mend, len(missing), missing)
