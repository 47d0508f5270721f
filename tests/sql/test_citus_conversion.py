"""A database in use, distributed in place: nothing is lost, and who is at work goes on."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState
from psycopg.conninfo import make_conninfo
from psycopg.rows import scalar_row

from langgraph_sessions import SessionSaver
from langgraph_sessions.database.deeds import do
from langgraph_sessions.sql.citus import distributing
from langgraph_sessions.sql.opening import OpenCurrent
from tests import clusters
from tests.operating import talk
from tests.support import PATIENCE, Chat, config, graph_builder, texts

TABLES = (*distributing.THREADS, *distributing.USERS)


def said(saver: SessionSaver, user: str) -> list[str]:
    session = saver.sessions.get_current_user_session(user)
    return texts(graph_builder().compile(checkpointer=saver).get_state(session.config))


def distribute(url: str) -> None:
    with SessionSaver(url) as other:
        other.setup(citus=True)


def contents(url: str) -> dict[str, list[Any]]:
    """Return every row of every table, as text."""
    with psycopg.connect(url, row_factory=scalar_row) as conn:
        return {
            table: sorted(conn.execute(f"SELECT t::text FROM {table} AS t".encode()).fetchall())
            for table in TABLES
        }


def test_nothing_is_lost_and_nothing_is_left_behind(citus_url: str) -> None:
    """All rows are on the nodes; on the coordinator there are none, not even unseen ones."""
    with SessionSaver(citus_url) as saver:
        for user in "abcdef":
            talk(saver, user, "Hi")
            talk(saver, user, "Another", new_session=True)
        saver.sessions.update_preferences("a", {"tone": "dry"})
        before = contents(citus_url)
        distribute(citus_url)
        assert contents(citus_url) == before
    with psycopg.connect(citus_url, row_factory=scalar_row) as conn:
        sizes = [
            conn.execute("SELECT pg_relation_size(%s::regclass)", [table]).fetchone()
            for table in TABLES
        ]
    assert sizes == [0] * len(TABLES)


def test_the_rights_that_a_role_had_are_enough(citus_url: str) -> None:
    """A role with rights on the tables that it knew goes on, and locks sessions, on each node."""
    name = f"r{uuid.uuid4().hex}"
    tables = ", ".join(distributing.KEYS)
    with SessionSaver(citus_url) as saver, psycopg.connect(citus_url, autocommit=True) as conn:
        saver.setup()
        conn.execute(f"CREATE ROLE {name} LOGIN".encode())
        conn.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {name}".encode())
        conn.execute(f"GRANT USAGE ON SEQUENCE user_sessions_id_seq TO {name}".encode())
        saver.setup(citus=True)
        for node in clusters.addresses(citus_url):
            with SessionSaver(make_conninfo(node, user=name), auto_setup=False) as restricted:
                talk(restricted, "alice", "Hi")
                with restricted.sessions.exclusive("alice", timeout=PATIENCE):
                    talk(restricted, "alice", "Again")
        conn.execute(f"DROP OWNED BY {name}".encode())
        conn.execute(f"DROP ROLE {name}".encode())


async def test_a_saver_at_work_goes_on(citus_url: str) -> None:
    """A saver that was opened before finds by itself that the tables are distributed."""
    with SessionSaver(citus_url) as saver:
        chat = Chat(saver)
        await chat.say("Hi", user_id="alice")
        distribute(citus_url)
        await chat.say("Again", user_id="alice")
        await chat.say("Hello", user_id="bob")
        assert said(saver, "alice") == ["Hi", "1 so far", "Again", "3 so far"]
        assert saver.sessions.delete_user("bob")["sessions"] == 1


@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_a_run_under_way_ends(durability: Any, citus_url: str) -> None:
    """A run that began before, and saves after, is saved whole; also if that is its first save."""

    def wait(state: MessagesState) -> dict[str, Any]:
        distribute(citus_url)
        return {"messages": [AIMessage("Done")]}

    with SessionSaver(citus_url) as saver:
        graph = graph_builder(wait).compile(checkpointer=saver)
        graph.invoke({"messages": ["Hi"]}, config(user_id="alice"), durability=durability)
        assert said(saver, "alice") == ["Hi", "Done"]


def test_turns_at_the_same_time_wait_and_lose_nothing(citus_url: str) -> None:
    """Users who go on talking while tables are distributed find all they said."""
    users = [f"user-{n}" for n in range(4)]
    turns, met = 8, threading.Barrier(len(users) + 1, timeout=PATIENCE)
    failed: list[BaseException] = []

    def go_on(saver: SessionSaver, user: str) -> None:
        try:
            for turn in range(turns):
                if turn == 2:
                    met.wait()
                talk(saver, user, f"{turn}")
        except BaseException as error:
            failed.append(error)

    with SessionSaver(citus_url, pool_size=4) as saver:
        talking = [threading.Thread(target=go_on, args=(saver, user)) for user in users]
        for thread in talking:
            thread.start()
        met.wait()
        distribute(citus_url)
        for thread in talking:
            thread.join()
        assert failed == []
        for user in users:
            assert said(saver, user)[::2] == [str(turn) for turn in range(turns)]


def test_who_learns_of_it_second_asks_again_too(
    citus_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two questions that fail by it at once, the second finds it noted already."""
    with SessionSaver(citus_url) as saver:
        talk(saver, "alice", "one")
        distribute(citus_url)
        database = saver._database
        execute, failed = database._execute, []

        def meanwhile(conn: Any, statement: Any) -> Any:
            try:
                return execute(conn, statement)
            except psycopg.errors.FeatureNotSupported as error:
                failed.append(error)
                database.place.are_distributed = True  # By another thread.
                raise

        monkeypatch.setattr(database, "_execute", meanwhile)
        opened = do(database.answer_deed(OpenCurrent(user_id="alice", select=saver.SELECT_SQL)))
        assert len(failed) == 1
        assert [row["session_user_id"] for row in opened] == ["alice"]
