"""Tenants on Citus: tables distributed in schemas of their own."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH
from psycopg.conninfo import make_conninfo

from langgraph_sessions import SessionSaver
from langgraph_sessions.doctor import visit
from tests import clusters
from tests.operating import Operate, ask, psql, talk
from tests.support import config, graph_builder

SCHEMAS = ("acme", "The other")


@pytest.fixture
def tenants(citus_url: str) -> list[str]:
    """The addresses of two tenants, each with a schema of its own, which alone is in its path."""
    with psycopg.connect(citus_url, autocommit=True) as conn:
        for schema in SCHEMAS:
            conn.execute(f'CREATE SCHEMA "{schema}"'.encode())
    return [at(citus_url, schema) for schema in SCHEMAS]


def at(url: str, schema: str) -> str:
    quoted = f'"{schema}"'.replace(" ", "\\ ")
    return make_conninfo(url, options=f"-c search_path={quoted}")


def leave_behind(url: str, *threads: str) -> None:
    """Leave threads of carol's; a plain saver would, but reads nothing where Citus is."""
    sql = """
INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata)
VALUES (%s, '1', '{}', '{"user_id": "carol"}')"""
    with psycopg.connect(url, autocommit=True) as conn:
        for thread in threads:
            conn.execute(sql, [thread])


def live(url: str) -> None:
    """Do with sessions what there is to do: on each, and from its users' shards to its threads'."""
    with SessionSaver(url) as saver:
        manager = saver.sessions
        first = talk(saver, "alice", "Hi")
        talk(saver, "alice", "Again")
        fork = manager.fork_session("alice", first.thread_id)
        graph_builder(ask).compile(checkpointer=saver).invoke(
            {"messages": ["Hm"]}, config(user_id="bob")
        )
        assert manager.get_current_user_session("bob").thread_id
        assert [s.status for s in manager.list_sessions("bob", status="interrupted")] == [
            "interrupted"
        ]
        talk(saver, "guest", "Hello", new_session=True)
        manager.create_user_session("guest", "Unused")
        assert manager.transfer_sessions("guest", "alice") == 2
        assert manager.purge_sessions(unused=True, idle_for=timedelta(0))["purged"] == 1
        assert manager.purge_sessions(idle_for=timedelta(0), dry_run=True)["purged"] == 3
        assert manager.count_sessions("alice") == 3
        assert len(list(manager.export_user("alice"))) > 3
        manager.delete_session("alice", fork.thread_id)
        leave_behind(url, "old", "older")
        manager.adopt_session("carol", "old")
        assert manager.backfill()["adopted"] == 1
        saver.copy_thread(first.thread_id, "a copy")
        saver.prune([first.thread_id])
        assert manager.delete_user("alice")["sessions"] == 3
        assert manager.purge_sessions(idle_for=timedelta(0))["purged"] == 2


def test_all_of_it_in_a_schema(tenants: list[str], operate: Operate) -> None:
    """Set up by a saver or by the script, through any node, each tenant has its own sessions."""
    with SessionSaver(tenants[0]) as saver:
        saver.setup(citus=True)
    psql(tenants[1], operate("ddl", "--citus").out)
    for tenant in tenants:
        live(tenant)
        assert [finding.check for finding in visit.visit(tenant, LANGGRAPH)] == ["citus"]
        with SessionSaver(tenant) as saver:
            assert {s.user_id for s in saver.sessions.iter_sessions()} == {"bob"}
    with SessionSaver(tenants[0]) as saver:
        saver.sessions.delete_user("bob")
    for node in clusters.addresses(tenants[1]):
        with SessionSaver(at(node, SCHEMAS[1]), auto_setup=False) as saver:
            assert saver.sessions.count_sessions() == 1
