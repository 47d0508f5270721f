"""LangGraph's tables in partitions: made so, converted in use, and refused where it cannot be."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.base import MIGRATIONS
from psycopg.rows import scalar_row

from langgraph_sessions import SessionSaver
from langgraph_sessions.sql import partitions
from tests.support import PATIENCE, config, graph_builder, texts

pytestmark = pytest.mark.one_server("partitions are one server's")

Db = psycopg.Connection[Any]
COUNT = 4
KINDS = """
SELECT relname || ' ' || relkind::text FROM pg_class
WHERE relname = ANY (%s) ORDER BY relname"""
CONTENT = "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {} AS t"


def convert(db: Db, count: int = COUNT) -> None:
    db.execute(partitions.script(MIGRATIONS, count).encode())


def values(db: Db, query: str, *parameters: Any) -> list[Any]:
    with db.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()


def kinds(db: Db) -> list[Any]:
    return values(db, KINDS, list(partitions.TABLES))


def talk(saver: SessionSaver, *users: str) -> None:
    graph = graph_builder().compile(checkpointer=saver)
    for user in users:
        graph.invoke({"messages": ["Hi"]}, config(user_id=user))


def said(saver: SessionSaver, user: str) -> list[str]:
    graph = graph_builder().compile(checkpointer=saver)
    return texts(graph.get_state(saver.sessions.get_current_user_session(user).config))


@pytest.fixture
def role(db: Db) -> Iterator[str]:
    """A role that owns nothing yet."""
    name = f"r{uuid.uuid4().hex}"
    db.execute(f"CREATE ROLE {name}".encode())
    yield name
    db.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())


PARTED = [f"{table} p" for table in sorted(partitions.TABLES)]


def test_what_is_there_is_kept_and_gone_on_with(saver: SessionSaver, db: Db) -> None:
    """A saver in use finds all that it saved, in as many partitions as were asked for."""
    talk(saver, *"abcdefgh")
    before = [values(db, CONTENT.format(table)) for table in partitions.TABLES]
    convert(db)
    assert kinds(db) == PARTED
    assert [values(db, CONTENT.format(table)) for table in partitions.TABLES] == before
    talk(saver, *"abcdefgh")
    assert said(saver, "c") == ["Hi", "1 so far", "Hi", "3 so far"]
    spread = values(db, "SELECT DISTINCT tableoid::regclass::text FROM checkpoints")
    assert 1 < len(spread) <= COUNT


def test_an_empty_database_gets_partitions_and_then_the_rest(empty_url: str) -> None:
    """The script makes LangGraph's tables where there are none; a saver makes its own beside."""
    with psycopg.connect(empty_url, autocommit=True) as db:
        convert(db)
        with SessionSaver(empty_url) as saver:
            talk(saver, "alice", "alice")
            assert said(saver, "alice") == ["Hi", "1 so far", "Hi", "3 so far"]
        assert kinds(db) == PARTED
        with PostgresSaver.from_conn_string(empty_url) as plain:
            plain.setup()  # LangGraph's own finds nothing left to do.


def test_rights_owner_and_indexes_are_taken_along(url: str, db: Db, role: str) -> None:
    """Who might read and write, whose the tables are, and further indexes are as before."""
    db.execute(f"GRANT SELECT, INSERT ON checkpoints TO {role} WITH GRANT OPTION".encode())
    db.execute(b"GRANT SELECT ON checkpoints TO PUBLIC")
    db.execute(f"ALTER TABLE checkpoint_blobs OWNER TO {role}".encode())
    db.execute(b"CREATE INDEX of_theirs ON checkpoints ((metadata ->> 'source'), thread_id)")
    rights = (
        "SELECT concat_ws(' ', relname, relowner, acl) FROM pg_class"
        " LEFT JOIN unnest(relacl) AS acl ON acl IS NOT NULL"
        " WHERE relname = ANY (%s) ORDER BY relname, acl::text"
    )
    owners = (
        "SELECT DISTINCT relowner FROM pg_class"
        " WHERE relname ~ '^checkpoint_blobs(_p.)?$' AND relkind IN ('r', 'p')"
    )
    indexes = (
        "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = oid"
        " WHERE indrelid = ANY (%s::regclass[]) ORDER BY relname"
    )
    looks = [
        lambda: values(db, rights, list(partitions.TABLES)),
        lambda: values(db, indexes, list(partitions.TABLES)),
        lambda: values(db, owners),
    ]
    before = [look() for look in looks]
    convert(db)
    assert [look() for look in looks] == before


def test_what_is_partitioned_already_is_left(saver: SessionSaver, db: Db) -> None:
    """Converting again, into another number, changes nothing."""
    convert(db)
    talk(saver, "alice")
    convert(db, 8)
    parts = values(db, "SELECT count(*) FROM pg_partition_tree('checkpoints') WHERE level > 0")
    assert parts == [COUNT]
    assert said(saver, "alice") == ["Hi", "1 so far"]


@pytest.mark.parametrize("table", partitions.TABLES)
def test_triggers_and_policies_are_refused_before_anything_is_done(table: str, db: Db) -> None:
    """What the script cannot take along is an error that names the table; all is as it was."""
    before = kinds(db)
    db.execute(f"CREATE POLICY own ON {table} USING (TRUE)".encode())
    with pytest.raises(psycopg.errors.RaiseException, match=f"^{table} has triggers or policies"):
        convert(db)
    db.execute(b"ROLLBACK")
    assert kinds(db) == before


@pytest.mark.parametrize("count", [0, 1, 1025, -3])
def test_a_number_that_makes_no_sense_is_named(count: int) -> None:
    """From 2 to 1,024 partitions are possible."""
    with pytest.raises(ValueError, match="count must be from 2 to 1024"):
        partitions.script(MIGRATIONS, count)


def test_turns_at_the_same_time_wait_and_lose_nothing(url: str, db: Db) -> None:
    """Users who go on talking while tables are converted find all they said."""
    users = [f"user-{n}" for n in range(4)]
    turns, done = 12, threading.Barrier(len(users) + 1, timeout=PATIENCE)

    def go_on(saver: SessionSaver, user: str) -> None:
        for turn in range(turns):
            if turn == 2:
                done.wait()
            talk(saver, user)

    with SessionSaver(url, pool_size=4) as saver:
        talking = [threading.Thread(target=go_on, args=(saver, user)) for user in users]
        for thread in talking:
            thread.start()
        done.wait()
        convert(db)
        for thread in talking:
            thread.join()
        for user in users:
            assert said(saver, user)[::2] == ["Hi"] * turns
    assert kinds(db) == PARTED
