"""What the doctor finds of tables that Citus has distributed."""

from __future__ import annotations

import re
import uuid
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH
from psycopg.conninfo import make_conninfo

from langgraph_sessions import SessionSaver
from langgraph_sessions.doctor import visit
from langgraph_sessions.doctor.findings import Finding
from langgraph_sessions.sql.citus import distributing, functions
from tests import clusters
from tests.operating import Operate, leave_behind, psql, talk

CHECKPOINT = (
    "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata) "
    "VALUES ('t', '1', '{}', '{}')"
)
SESSION = "INSERT INTO user_sessions (user_id, thread_id, title, created_at) VALUES"
LEFT = [
    ("thread-without-session", [CHECKPOINT.replace("'{}')", """'{"user_id": "carol"}')""")]),
    (
        "stray-rows",
        [
            "INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, blob)"
            " VALUES ('t', '1', 'x', 0, 'c', '')"
        ],
    ),
    (
        "stray-rows",
        [
            "INSERT INTO checkpoint_blobs (thread_id, channel, version, type)"
            " VALUES ('t', 'c', '1', 'empty')"
        ],
    ),
    ("session-unpaired", [f"{SESSION} ('alice', 't', 'By hand', now())"]),
    ("thread-unpaired", ["INSERT INTO session_threads (thread_id, user_id) VALUES ('t', 'alice')"]),
    ("thread-of-nobody", [CHECKPOINT]),
    (
        "session-without-thread",
        [
            f"{SESSION} ('alice', 't', 'Unused', now() - interval '2 hours')",
            "INSERT INTO session_threads (thread_id, user_id) VALUES ('t', 'alice')",
        ],
    ),
]


def diagnose(url: str) -> list[Finding]:
    """Return what the doctor finds, and see that it changes nothing on any node."""
    before = clusters.whole(url)
    found = visit.visit(url, LANGGRAPH)
    assert clusters.whole(url) == before
    return found


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def alone(url: str, *statements: str) -> None:
    """Do on one node what is not to reach the others."""
    execute(url, "SET citus.enable_ddl_propagation = off", *statements)


@pytest.mark.parametrize("node", [0, 1])
def test_distribution_is_no_fault(distributed_url: str, node: int) -> None:
    """Through the coordinator and through a worker: how many shards and nodes is told, no more."""
    with SessionSaver(distributed_url) as saver:
        talk(saver, "alice", "Hi")
        saver.sessions.create_user_session("bob")
    (note,) = diagnose(clusters.addresses(distributed_url)[node])
    assert (note.check, note.is_problem) == ("citus", False)
    assert note.what == (
        "Citus has distributed the tables: those of threads by thread_id over 4 shards, "
        "those of users by user_id over 4 shards"
    )
    assert len(note.which) == 2
    assert ("worker" in note.mend) is (node == 1)


@pytest.mark.parametrize(("check", "statements"), LEFT)
def test_leftovers_are_found_and_mended(
    check: str, statements: list[str], distributed_url: str, operate: Operate
) -> None:
    """What is left on shards of either kind is found, and the SQL given mends it."""
    execute(distributed_url, *statements)
    finding, *rest = sorted(diagnose(distributed_url), key=lambda each: each.check == "citus")
    assert (finding.check, finding.which, finding.count) == (check, ["t"], 1)
    assert [each.check for each in rest] == ["citus"]
    if not finding.is_problem:
        return
    if finding.mend.endswith("backfill"):
        assert operate("backfill", database=distributed_url).status == 0
    else:
        execute(distributed_url, finding.mend.removeprefix("while no run is at work: "))
    assert [each.check for each in diagnose(distributed_url)] == ["citus"]


def test_the_rights_that_it_prints_are_enough(distributed_url: str) -> None:
    """A role with these, and no others, talks, and has a session for itself."""
    role = f"r{uuid.uuid4().hex}"
    execute(distributed_url, f"CREATE ROLE {role} LOGIN")
    url = make_conninfo(distributed_url, user=role)
    try:
        (rights,) = (finding for finding in diagnose(url) if finding.check == "rights")
        execute(distributed_url, rights.mend)
        with SessionSaver(url) as saver:
            session = talk(saver, "alice", "Hi")
            with saver.sessions.exclusive("alice", session.thread_id):
                talk(saver, "alice", "Again")
            assert saver.sessions.delete_user("alice")["sessions"] == 1
    finally:
        execute(distributed_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def undistribute(*tables: str) -> list[str]:
    return [f"SELECT undistribute_table('{table}')" for table in tables]


PARTLY = [
    (
        ["session_users is not distributed"],
        undistribute("session_users"),
    ),
    (
        ["checkpoint_migrations is not distributed"],
        undistribute("checkpoint_migrations"),
    ),
    (
        ["session_users is distributed as a reference table, not by user_id"],
        [*undistribute("session_users"), "SELECT create_reference_table('session_users')"],
    ),
    (
        ["session_reservations is distributed by agent, not by user_id"],
        [
            *undistribute("session_reservations"),
            "SELECT create_distributed_table('session_reservations', 'agent')",
        ],
    ),
    (
        ["user_sessions, session_users, session_reservations are not co-located"],
        [
            *undistribute("session_users"),
            "SELECT create_distributed_table('session_users', 'user_id', colocate_with => 'none')",
        ],
    ),
]


@pytest.mark.parametrize(("which", "statements"), PARTLY)
def test_tables_that_are_partly_distributed(
    which: list[str], statements: list[str], distributed_url: str, operate: Operate
) -> None:
    """Tables not distributed, by another key or apart are a problem, mended as it says."""
    with SessionSaver(distributed_url) as saver:
        talk(saver, "alice", "Hi")
    execute(distributed_url, *statements)
    (finding,) = diagnose(distributed_url)
    assert (finding.check, finding.is_problem, finding.which) == ("citus-tables", True, which)
    tables, _, command = finding.mend.partition(". Then ")
    assert "sessions setup --citus" in command
    execute(distributed_url, *tables.removeprefix("while no run is at work: ").split("; "))
    assert operate("setup", "--citus", database=distributed_url).status == 0
    assert [each.check for each in diagnose(distributed_url)] == ["citus"]
    with SessionSaver(distributed_url) as saver:
        assert talk(saver, "alice", "Again").title == "Hi"


def test_langgraphs_tables_alone(citus_url: str, operate: Operate) -> None:
    """Distributed by somebody before ours were made, they are a problem, mended as it says."""
    leave_behind(citus_url, "old", user_id="carol")
    execute(
        citus_url,
        *(
            f"SELECT create_distributed_table('{table}', 'thread_id')"
            for table in distributing.THREADS[:3]
        ),
    )
    (finding,) = diagnose(citus_url)
    assert finding.check == "citus-tables"
    tables, _, _ = finding.mend.partition(". Then ")
    execute(citus_url, *tables.removeprefix("while no run is at work: ").split("; "))
    assert operate("setup", "--citus", database=citus_url).status == 0
    assert operate("backfill", database=citus_url).status == 0
    assert [each.check for each in diagnose(citus_url)] == ["citus"]


BREAKAGES: list[tuple[int, str, str]] = [
    (0, "user_sessions_refuse", "DROP FUNCTION user_sessions_refuse"),
    (0, "user_sessions_settle", "DROP FUNCTION user_sessions_settle"),
    (1, "user_sessions_owner on .*", "DROP FUNCTION user_sessions_owner"),
    (
        2,
        "user_sessions_moment on .*",
        "CREATE OR REPLACE FUNCTION user_sessions_moment(p text) RETURNS timestamptz"
        " LANGUAGE plpgsql STABLE AS 'BEGIN RETURN NULL; END'",
    ),
]


@pytest.mark.parametrize(("node", "which", "statement"), BREAKAGES)
def test_functions_that_a_node_lacks(
    node: int, which: str, statement: str, distributed_url: str, operate: Operate
) -> None:
    """Missing or changed on any node, they are found, and made by the command that it says."""
    alone(clusters.addresses(distributed_url)[node], statement)
    finding = diagnose(distributed_url)[0]
    assert (finding.check, finding.is_problem, finding.count) == ("function", True, 1)
    assert re.fullmatch(which, finding.which[0])
    assert "ddl --functions --citus | psql" in finding.mend
    psql(distributed_url, operate("ddl", "--functions", "--citus").out)
    assert [each.check for each in diagnose(distributed_url)] == ["citus"]


def test_functions_of_one_postgresql(distributed_url: str, operate: Operate) -> None:
    """Where `ddl --functions` was run without --citus, that is found."""
    psql(distributed_url, operate("ddl", "--functions").out)
    finding = diagnose(distributed_url)[0]
    assert (finding.check, finding.which) == (
        "function",
        [f"user_sessions_{name}" for name in sorted(functions.OTHERS)],
    )
    psql(distributed_url, operate("ddl", "--functions", "--citus").out)
    assert [each.check for each in diagnose(distributed_url)] == ["citus"]


INDEXES: list[tuple[str, str]] = [
    ("user_sessions_user_idx", "DROP INDEX user_sessions_user_idx"),
    (
        "user_sessions_user_id_thread_id_key",
        "ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_user_id_thread_id_key",
    ),
    ("checkpoints_thread_id_idx", "DROP INDEX checkpoints_thread_id_idx"),
]


@pytest.mark.parametrize(("name", "statement"), INDEXES)
def test_indexes_that_are_missing(name: str, statement: str, distributed_url: str) -> None:
    """An index that distributed tables are to have is found, and built by the SQL given."""
    execute(distributed_url, statement)
    finding = diagnose(distributed_url)[0]
    assert (finding.check, finding.which) == ("index-missing", [name])
    execute(distributed_url, finding.mend)
    assert [each.check for each in diagnose(distributed_url)] == ["citus"]


def test_columns(distributed_url: str) -> None:
    """What a column of distributed tables lacks is found, and mended by the SQL given."""
    execute(distributed_url, "ALTER TABLE user_sessions DROP COLUMN titler_tries")
    (finding,) = diagnose(distributed_url)
    assert (finding.check, finding.which) == ("column", ["user_sessions.titler_tries"])
    execute(distributed_url, finding.mend)
    assert [each.check for each in diagnose(distributed_url)] == ["citus"]


def test_a_node_that_does_not_answer(distributed_url: str) -> None:
    """It is named; what would want it is not asked."""
    host, port = "127.0.0.1", 1
    by_itself = "SET citus.enable_metadata_sync = off"
    away = "UPDATE pg_dist_node SET nodeport = 1, noderack = nodeport WHERE groupid = 1"
    back = "UPDATE pg_dist_node SET nodeport = noderack::int WHERE groupid = 1"
    execute(distributed_url, by_itself, away)
    finding, *notes = visit.visit(distributed_url, LANGGRAPH)
    assert (finding.check, finding.which) == ("citus-node", [f"{host}:{port}"])
    assert [note.check for note in notes] == ["citus"]
    execute(distributed_url, by_itself, back)


def test_missing_rights(distributed_url: str) -> None:
    """What a role may not do is found, and granted on all nodes by the SQL that it gives."""
    role = f"reader_{psycopg.conninfo.conninfo_to_dict(distributed_url)['dbname']}"
    execute(distributed_url, f"CREATE ROLE {role} LOGIN")
    theirs: Any = psycopg.conninfo.make_conninfo(distributed_url, user=role)
    try:
        (finding,) = visit.visit(theirs, LANGGRAPH)
        assert finding.check == "rights"
        execute(distributed_url, *finding.mend.split("; "))
        assert [each.check for each in visit.visit(theirs, LANGGRAPH)] == ["citus"]
        with SessionSaver(theirs) as saver:
            talk(saver, "alice", "Hi")
            saver.sessions.delete_user("alice")
    finally:
        execute(distributed_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
