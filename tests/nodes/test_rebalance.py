"""Shards move from node to node while users talk."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from tests.nodes.cluster import halves, loose, needs_citus
from tests.nodes.talking import Talk
from tests.support import Chat, until

pytestmark = needs_citus

# All shards go to the first node; those that are co-located move with the one that is named.
_SKEW = """
SELECT citus_move_shard_placement(shardid, p.host, p.port, n.host, n.port, 'block_writes')
FROM (
    SELECT DISTINCT ON (colocation_id, shard_index) s.shardid, s.nodename AS host,
        s.nodeport AS port
    FROM (
        SELECT *, row_number() OVER (PARTITION BY table_name ORDER BY shardid) AS shard_index
        FROM citus_shards WHERE citus_table_type = 'distributed'
    ) AS s
) AS p, (
    SELECT nodename AS host, nodeport AS port FROM pg_dist_node
    WHERE shouldhaveshards ORDER BY nodeid LIMIT 1
) AS n
WHERE (p.host, p.port) <> (n.host, n.port)"""
_PLACED = """
SELECT nodeport, count(*) AS shards FROM citus_shards
WHERE citus_table_type = 'distributed' GROUP BY 1 ORDER BY 2"""


def rebalance(db: psycopg.Connection[Any], mode: str) -> None:
    """Have shards go where there are few, and wait for that."""
    start = "SELECT citus_rebalance_start(shard_transfer_mode => %s::citus.shard_transfer_mode)"
    db.execute(start, [mode])
    told = "SELECT state::text FROM pg_dist_background_job"
    until(lambda: [row["state"] for row in db.execute(told)] == ["finished"])


@pytest.mark.parametrize("mode", ["block_writes", "force_logical"])
async def test_a_rebalance_is_nobodys_error(
    chat: Chat, db: psycopg.Connection[Any], direct_url: str, mode: str
) -> None:
    """Half of all shards move under turns: each is answered, and none is lost."""
    db.execute(_SKEW)
    assert len(db.execute(_PLACED).fetchall()) == 1
    async with Talk(chat) as talk:
        await asyncio.to_thread(rebalance, db, mode)
    assert talk.errors == {}
    few, many = (row["shards"] for row in db.execute(_PLACED))
    assert many - few <= 4
    assert await talk.lost() == []
    with psycopg.connect(direct_url) as conn:
        assert halves(conn) == loose(conn) == []
