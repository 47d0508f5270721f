"""Databases whose transactions are stricter by default than the server's.

With LANGGRAPH_SESSIONS_TEST_ISOLATION, such as `serializable`, all the fixtures' databases are.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg import sql

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
