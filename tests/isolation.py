"""Databases whose transactions are stricter by default than the server's.

With LANGGRAPH_SESSIONS_TEST_ISOLATION, such as `serializable`, all the fixtures' databases are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from langgraph_sessions.doctor.findings import Finding

VARIABLE = "LANGGRAPH_SESSIONS_TEST_ISOLATION"
LEVELS = ("repeatable read", "serializable")


def wanted() -> str | None:
    """Return the isolation level that the fixtures' databases are to have, if any.

    Raises:
        ValueError: There is no such level.
    """
    level = os.environ.get(VARIABLE, "").lower() or None
    if level not in (None, *LEVELS):
        raise ValueError(f"{VARIABLE} must be one of {', '.join(LEVELS)}, not {level!r}")
    return level


def demand(admin: psycopg.Connection[Any], database: str, level: str) -> None:
    """Let the transactions of connections made from now on be so strict by default."""
    statement = "ALTER DATABASE {} SET default_transaction_isolation = {}"
    admin.execute(sql.SQL(statement).format(sql.Identifier(database), sql.Literal(level)))


def unasked(found: Iterable[Finding]) -> list[Finding]:
    """Return what a doctor *found*, but for a level that was wanted."""
    return [each for each in found if wanted() is None or each.check != "isolation"]
