"""What stands in a database of Citus, on all of its nodes."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from tests.catalogue import catalogue
from tests.citus import everywhere


def addresses(url: str) -> list[str]:
    """Return the addresses of a database on all nodes, the coordinator's first."""
    with everywhere(url) as nodes:
        return [make_conninfo(url, host=node.info.host, port=node.info.port) for node in nodes]


_SHARD = re.compile(r"_\d{6,}\b")
_DISTRIBUTED = """
SELECT logicalrelid::text AS name, partmethod, partkey,
    colocationid, repmodel
FROM pg_dist_partition ORDER BY name"""


def whole(url: str) -> list[Any]:
    """Return what stands in a database on each node, and how it is distributed."""
    with psycopg.connect(url) as conn:
        distributed = conn.execute(_DISTRIBUTED).fetchall() if has_citus(conn) else []
        nodes = addresses(url) if has_citus(conn) else [url]
    return [distributed, *map(catalogue, nodes)]


def made(url: str) -> dict[str, dict[str, Any]]:
    """Return the catalogue of a database, without shards, whose numbers are its own."""
    return {
        kind: {name: what for name, what in found.items() if not _SHARD.search(name)}
        for kind, found in catalogue(url).items()
    }


def has_citus(conn: psycopg.Connection[Any]) -> bool:
    """Say whether the database has the extension."""
    return conn.execute("SELECT 1 FROM pg_extension WHERE extname = 'citus'").fetchone() is not None
