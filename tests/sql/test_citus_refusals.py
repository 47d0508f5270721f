"""What cannot be distributed, or is so by halves: an error that says why, and nothing changed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from langgraph_sessions import AsyncSessionSaver, SessionError, SessionSaver
from langgraph_sessions.sql.citus import distributing
from tests import clusters
from tests.operating import Operate, leave_behind, talk

LANGGRAPHS = distributing.THREADS[:3]
NO_CITUS = r"setup\(citus=True\) wants the extension citus"


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def refused(url: str, why: str, *, distributing: bool = True) -> None:
    """See that a set-up is refused, and that nothing is changed by it."""
    before = clusters.whole(url)
    with SessionSaver(url) as saver, pytest.raises(SessionError, match=why):
        saver.setup(citus=distributing)
    assert clusters.whole(url) == before


def by_thread(*tables: str) -> list[str]:
    return [f"SELECT create_distributed_table('{table}', 'thread_id')" for table in tables]


# --- Where there is no Citus, or no node ---------------------------------------------------------


def test_an_empty_database_without_the_extension(empty_url: str) -> None:
    """On a PostgreSQL without Citus, the extension is what is missing; no table is made."""
    refused(empty_url, NO_CITUS)


@pytest.mark.one_server("its tables are distributed")
def test_tables_without_the_extension(url: str) -> None:
    """Tables on a PostgreSQL without Citus stay as they are."""
    refused(url, NO_CITUS)


async def test_the_async_saver_says_the_same(empty_url: str) -> None:
    """`await setup(citus=True)` without the extension is the same error."""
    async with AsyncSessionSaver(empty_url) as saver:
        with pytest.raises(SessionError, match=NO_CITUS):
            await saver.setup(citus=True)


def test_the_command_without_the_extension(operate: Operate, empty_url: str) -> None:
    """The command says it in a line."""
    done = operate("setup", "--citus", database=empty_url)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("Error: setup(citus=True) wants the extension citus")


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_what_is_no_boolean(wrong: Any, empty_url: str) -> None:
    """`citus` is `True` or `False`."""
    with SessionSaver(empty_url) as saver, pytest.raises(TypeError, match="citus must be"):
        saver.setup(citus=wrong)


def test_without_nodes_for_shards(cluster: str, empty_url: str) -> None:
    """A coordinator without workers has nowhere to put shards, but on itself if that is wanted."""
    node = psycopg.conninfo.conninfo_to_dict(cluster)
    host, port = node["host"], node["port"]
    execute(
        empty_url, "CREATE EXTENSION citus", f"SELECT citus_set_coordinator_host('{host}', {port})"
    )
    refused(empty_url, r"finds no node for shards: call citus_add_node\(\) for each worker")
    execute(
        empty_url,
        f"SELECT citus_set_node_property('{host}', {port}, 'shouldhaveshards', TRUE)",
    )
    with SessionSaver(empty_url) as saver:
        saver.setup(citus=True)
        talk(saver, "alice", "Hi")


def test_through_a_worker(citus_url: str, distributed_url: str) -> None:
    """Tables are made, and distributed, through the coordinator alone; the error says so."""
    worker = clusters.addresses(citus_url)[1]
    refused(worker, "this is a worker of Citus")
    worker = clusters.addresses(distributed_url)[1]
    refused(worker, "this is a worker of Citus")
    refused(worker, "this is a worker of Citus", distributing=False)
    with SessionSaver(worker) as saver:
        talk(saver, "alice", "Hi")


# --- Who may not ---------------------------------------------------------------------------------


@pytest.fixture
def role(citus_url: str) -> Iterator[str]:
    """A role that may use the schema of the database, and create there."""
    name = f"r{uuid.uuid4().hex}"
    execute(citus_url, f"CREATE ROLE {name} LOGIN", f"GRANT ALL ON SCHEMA public TO {name}")
    yield name
    execute(citus_url, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def test_by_who_owns_the_tables(citus_url: str, role: str) -> None:
    """No superuser is needed."""
    with SessionSaver(make_conninfo(citus_url, user=role)) as saver:
        saver.setup(citus=True)
        talk(saver, "alice", "Hi")
        saver.sessions.delete_user("alice")


def test_by_who_does_not_own_the_tables(citus_url: str, role: str) -> None:
    """Only the owner of a table may distribute it: those of others are named."""
    with SessionSaver(citus_url) as saver:
        saver.setup()
    execute(citus_url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    refused(
        make_conninfo(citus_url, user=role),
        "may not distribute checkpoint_blobs, .*user_sessions_migrations: only their owner",
    )


@pytest.mark.parametrize(
    "function",
    [
        "create_distributed_table",
        "create_reference_table",
        "truncate_local_data_after_distributing_table",
    ],
)
def test_by_who_may_not_call_citus(citus_url: str, role: str, function: str) -> None:
    """Where the right to distribute was taken from PUBLIC, it is what is missing."""
    execute(citus_url, f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    refused(make_conninfo(citus_url, user=role), "may not distribute tables: GRANT EXECUTE")


# --- What is distributed already -----------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False])
def test_langgraphs_tables_alone(told: bool, citus_url: str) -> None:
    """Somebody distributed them before ours were made: an error, with or without `citus`."""
    leave_behind(citus_url, "old", user_id="carol")
    execute(citus_url, *by_thread(*LANGGRAPHS))
    why = "partly distributed: session_threads is not there, or not distributed"
    refused(citus_url, why, distributing=told)
    with SessionSaver(citus_url) as saver, pytest.raises(SessionError, match=why):
        talk(saver, "alice", "Hi")


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("why", "statements"),
    [
        ("session_threads is not distributed", by_thread(*LANGGRAPHS)),
        (
            "checkpoints is distributed by checkpoint_id, not by thread_id",
            ["SELECT create_distributed_table('checkpoints', 'checkpoint_id')"],
        ),
        (
            "checkpoints is distributed as a reference table, not by thread_id",
            ["SELECT create_reference_table('checkpoints')"],
        ),
    ],
)
def test_some_tables_or_by_another_key(
    why: str, statements: list[str], told: bool, citus_url: str
) -> None:
    """What differs is said, whether a set-up is to distribute or not, and by first use."""
    with SessionSaver(citus_url) as saver:
        saver.setup()
    execute(citus_url, *statements)
    refused(citus_url, f"partly distributed: .*{why}", distributing=told)
    with SessionSaver(citus_url) as saver, pytest.raises(SessionError, match=why):
        talk(saver, "alice", "Hi")


def test_what_is_distributed_is_found_by_itself(distributed_url: str) -> None:
    """A saver needs nobody to say that tables are distributed; a set-up changes nothing there."""
    before = clusters.whole(distributed_url)
    for node in clusters.addresses(distributed_url):
        with SessionSaver(node) as saver:
            talk(saver, "alice", "Hi")
    for told in (True, False):
        with SessionSaver(distributed_url) as saver:
            saver.setup(citus=told)
            assert talk(saver, "alice", "Again").title == "Hi"
    assert clusters.whole(distributed_url) == before


def test_two_set_ups_at_once(citus_url: str) -> None:
    """Of several at one moment, one distributes, and the others find that done."""

    def set_up(told: bool) -> None:
        with SessionSaver(citus_url) as saver:
            saver.setup(citus=told)

    with ThreadPoolExecutor(4) as at_once:
        list(at_once.map(set_up, [True, True, True, True]))
    with SessionSaver(citus_url) as saver:
        talk(saver, "alice", "Hi")
