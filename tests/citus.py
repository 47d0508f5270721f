"""Databases on Citus, where LANGGRAPH_SESSIONS_CITUS_URL names its coordinator.

All nodes have a database of each name; a clone of each node's template carries Citus' metadata.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.postgres.base import SELECT_SQL
from psycopg.conninfo import make_conninfo
from psycopg.rows import tuple_row

from langgraph_sessions import SessionSaver
from langgraph_sessions.runs.parent import Parent

VARIABLE = "LANGGRAPH_SESSIONS_CITUS_URL"
WANTED = (
    f"needs Citus: set {VARIABLE} to the address of a coordinator, as a superuser, whose workers "
    "are added (https://docs.citusdata.com/en/stable/installation)"
)
_NODES = """
SELECT nodename AS host, nodeport AS port FROM pg_dist_node WHERE groupid > 0 ORDER BY nodeid"""
_PREPARING = 5433  # The key of a lock.


def url() -> str | None:
    """Return the coordinator's address, if there is one."""
    return os.environ.get(VARIABLE)


@contextmanager
def everywhere(server: str) -> Iterator[list[psycopg.Connection[Any]]]:
    """Lend connections to all nodes, the coordinator first; without Citus, to the server."""
    with ExitStack() as stack:
        first = stack.enter_context(psycopg.connect(server, autocommit=True))
        nodes = first.execute(_NODES).fetchall() if url() is not None else []
        others = [
            stack.enter_context(
                psycopg.connect(make_conninfo(server, host=host, port=port), autocommit=True)
            )
            for host, port in nodes
        ]
        yield [first, *others]


def on_each_node(server: str, statement: str) -> list[Any]:
    """Execute a statement on each node by itself; return the rows of those that give some."""
    rows: list[Any] = []
    with everywhere(server) as nodes:
        for node in nodes:
            node.execute("SET citus.enable_ddl_propagation = off")
            cursor = node.execute(statement.encode())
            rows += cursor.fetchall() if cursor.description else []
    return rows


def create(server: str, name: str, template: str = "template0") -> str:
    """Make a database on all nodes, and return its address."""
    with everywhere(server) as nodes:
        for node in nodes:
            node.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
            # What tests let go wrong, they do by triggers.
            node.execute(f"ALTER DATABASE {name} SET citus.enable_unsafe_triggers = on".encode())
    return make_conninfo(server, dbname=name)


@contextmanager
def cloned(server: str, name: str, template: str) -> Iterator[str]:
    """Make a database of a template, on all nodes if there are several; yield its address."""
    if url() is not None:
        try:
            yield create(server, name, template)
        finally:
            drop(server, name)
        return
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            yield make_conninfo(server, dbname=name)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def prepare(server: str, name: str, shards: int = 4) -> None:
    """Make Citus of the databases called *name*, and let its tables have few shards."""
    with everywhere(server) as nodes:
        ports = [(node.info.host, node.info.port) for node in nodes]
        # Two at once would change the roles of a node, which are there for all its databases.
        nodes[0].execute("SELECT pg_advisory_lock(%s)", [_PREPARING])
        _prepare(server, name, ports, shards)


def _prepare(server: str, name: str, ports: list[tuple[str, int]], shards: int) -> None:
    for host, port in ports:
        where = make_conninfo(server, dbname=name, host=host, port=port)
        with psycopg.connect(where, autocommit=True) as node:
            node.execute("CREATE EXTENSION citus")
            node.execute(f"ALTER DATABASE {name} SET citus.shard_count = {shards}".encode())
    with psycopg.connect(make_conninfo(server, dbname=name), autocommit=True) as first:
        first.execute("SELECT citus_set_coordinator_host(%s, %s)", ports[0])
        for host, port in ports[1:]:
            first.execute("SELECT citus_add_node(%s, %s)", (host, port))
        first.execute("SELECT citus_set_node_property(%s, %s, 'shouldhaveshards', FALSE)", ports[0])


def drop(server: str, name: str) -> None:
    """Drop a database from all nodes, the coordinator's first: it is connected to the others."""
    with everywhere(server) as nodes:
        for node in nodes:
            _drop(node, name)


def _drop(node: psycopg.Connection[Any], name: str, tries: int = 5) -> None:
    """Drop it, also where Citus itself comes back to it between its end and the drop."""
    try:
        node.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
    except psycopg.errors.ObjectInUse:
        if tries == 1:
            raise
        _drop(node, name, tries - 1)


def set_up(server: str, name: str) -> None:
    """Make a template with distributed tables."""
    prepare(server, name)
    with SessionSaver(make_conninfo(server, dbname=name)) as saver:
        saver.setup(citus=True)
    freeze(server, name)


def freeze(server: str, name: str) -> None:
    """Make a template of the databases called *name*.

    Citus itself stays connected, and nobody may be while a template is cloned.
    """
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with everywhere(server) as nodes:
        for node in nodes:
            node.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS FALSE".encode())
            node.execute(end, [name])


def waits(db: psycopg.Connection[Any], which: str = "TRUE") -> int:
    """Return how many wait for locks, *which* of `pg_locks`, on all nodes if there are several."""
    counted = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND {which}"
    if url() is not None:
        counted = f"SELECT sum(result::int) FROM run_command_on_all_nodes($${counted}$$)"
    (count,) = db.cursor(row_factory=tuple_row).execute(counted.encode()).fetchall()[0]
    return int(count)


def let_parents_read() -> None:
    """Let LangGraph's own savers read distributed tables, if from all shards: ours goes by one.

    Where a test compares with them, or has them leave something behind.
    """
    function = "from jsonb_each_text(checkpoint -> 'channel_versions')"
    assert function in SELECT_SQL
    sub_select = f"from (select * {function}) as jsonb_each_text"
    for saver in (PostgresSaver, AsyncPostgresSaver):
        saver.SELECT_SQL = SELECT_SQL.replace(function, sub_select)
    Parent.SELECT_SQL = SELECT_SQL
