"""The columns and indexes of a database, to be compared with another's."""

from __future__ import annotations

from typing import Any

import psycopg

CATALOGUE = """
SELECT 'column' AS kind, table_name || '.' || column_name AS name,
    concat_ws(' ', data_type, is_nullable, column_default, character_maximum_length) AS what
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
ORDER BY 1, 2"""


def catalogue(conninfo: str) -> list[Any]:
    """Return all columns and indexes of a database."""
    with psycopg.connect(conninfo) as connection:
        return connection.execute(CATALOGUE).fetchall()
