"""How Citus has distributed the tables, and whether its nodes have our functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from langgraph_sessions.doctor.findings import COMMAND, Finding
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql.citus import distributing, functions
from langgraph_sessions.sql.place import SCHEMA, TABLES, here

_SHARDS: Final = f"""
SELECT name AS table, shards, nodes, citus_is_coordinator() AS is_coordinator,
    has_function_privilege('run_command_on_all_nodes(text, boolean, boolean)', 'EXECUTE') AS may_ask
FROM unnest(%(tables)s::text[]) AS name CROSS JOIN LATERAL (
    SELECT count(DISTINCT shardid) AS shards,
        array_agg(DISTINCT format('%%s:%%s', nodename, nodeport)) AS nodes
    FROM pg_dist_shard JOIN pg_dist_placement USING (shardid) JOIN pg_dist_node USING (groupid)
    WHERE logicalrelid = {here("name")} AND noderole = 'primary'
) AS placed"""
_FUNCTIONS: Final = """
SELECT coalesce(jsonb_agg(jsonb_build_array(
    proname, pg_get_function_identity_arguments(oid), md5(prosrc))), '[]')
FROM pg_proc WHERE proname = ANY (%L) AND pronamespace = to_regnamespace(%L)"""
_ON_NODES: Final = f"""
SELECT format('%%s:%%s', nodename, nodeport) AS node, success,
    CASE WHEN success THEN result::jsonb END AS functions
FROM run_command_on_all_nodes(format(%(sql)s, %(names)s::text[], {SCHEMA})) AS answer
JOIN pg_dist_node USING (nodeid) ORDER BY 1"""
UNFIT: Final = ("function", "citus-node")  # With such, nodes cannot be asked about threads.


def differs(told: Sequence[str], distributed: Sequence[str]) -> list[Finding]:
    """Tell what of the tables is not distributed as it is to be.

    Args:
        told: That, as `distributing.differences` says it.
        distributed: The tables that are, by whatever.
    """
    if not told:
        return []
    what = "Citus has distributed some of the tables, or otherwise than these savers need it"
    back = "; ".join(f"SELECT undistribute_table('{table}')" for table in distributed)
    mend = f'while no run is at work: {back}. Then "{COMMAND} setup --citus --database URL"'
    return [Finding("citus-tables", what, mend, len(told), [*told])]


def find(*, newer: bool) -> Plan[list[Finding]]:
    """Say how the tables are distributed, which is good to know, and which nodes lack functions.

    Args:
        newer: The functions have a higher number: what a newer version made of them is right.
    """
    rows = yield Fetch(_SHARDS, {"tables": list(TABLES)})
    found = [_how({row["table"]: row for row in rows})]
    if rows[0]["may_ask"]:
        found += yield from _nodes(newer)
    return found


def _how(tables: Mapping[str, Any]) -> Finding:
    parts = [
        f"those of {whose} by {distributing.KEYS[first]} over {tables[first]['shards']} shards"
        for whose, first in (
            ("threads", distributing.THREADS[0]),
            ("users", distributing.USERS[0]),
        )
    ]
    nodes = tables[distributing.THREADS[0]]["nodes"]
    what = f"Citus has distributed the tables: {', '.join(parts)}"
    mend = "nothing; more nodes take their share by citus_rebalance_start()"
    if not tables[distributing.THREADS[0]]["is_coordinator"]:
        mend = "nothing; this is a worker: tables and functions are changed on the coordinator"
    return Finding("citus", what, mend, len(nodes), nodes, is_problem=False)


def _nodes(newer: bool) -> Plan[list[Finding]]:
    """Compare the functions on each node with those of this version."""
    wanted = functions.load()
    names = [function.name for function in wanted]
    rows = yield Fetch(_ON_NODES, {"sql": _FUNCTIONS.strip(), "names": names})
    expected = {(f.name, f.arguments): None if newer else _digest(f.body) for f in wanted}
    return [*_silent(rows), *_wrong(rows, expected)]


def _digest(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def _silent(rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    which = [row["node"] for row in rows if not row["success"]]
    if which:
        what = "nodes do not answer: runs whose thread, or user, is there fail"
        mend = "start them, and look into their logs; pg_dist_node says where they are looked for"
        yield Finding("citus-node", what, mend, len(which), which)


def _wrong(
    rows: Sequence[Mapping[str, Any]], expected: Mapping[tuple[str, str], str | None]
) -> Iterator[Finding]:
    which = []
    for row in (row for row in rows if row["success"]):
        there = {(name, arguments): digest for name, arguments, digest in row["functions"]}
        which += [
            f"{key[0]} on {row['node']}"
            for key, digest in sorted(expected.items())
            if key not in there or digest not in (None, there[key])
        ]
    if which:
        what = "functions are missing on nodes, or are not those of this version"
        mend = f"{COMMAND} ddl --functions --citus | psql URL"
        yield Finding("function", what, mend, len(which), which)
