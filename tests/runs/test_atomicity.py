"""The session row and the checkpoint: both or neither, and a run keeps to its thread."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import psycopg
import pytest

from langgraph_sessions import (
    SessionNotFoundError,
    SessionSaver,
    SessionsUnavailableError,
)
from tests.support import PATIENCE, TABLES, Chat, graph_builder

Connection = psycopg.Connection[Any]


def break_inserts(db: Connection, table: str) -> None:
    """Make every insert into *table* fail."""
    db.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'broken on purpose'; END $$"
    )
    db.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON {table} EXECUTE FUNCTION refuse()")


def rows(db: Connection, *tables: str) -> list[int]:
    """Count the rows of *tables*."""
    return [len(db.execute(f"SELECT 1 FROM {table}").fetchall()) for table in tables]


@pytest.mark.parametrize("table", ["user_sessions", "checkpoints", "checkpoint_blobs"])
@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_when_either_half_fails_neither_is_there(
    chat: Chat, db: Connection, table: str, durability: str
) -> None:
    """A failing insert of the row, the checkpoint or its blob leaves none of the three."""
    break_inserts(db, table)
    given, who = {"messages": ["one"]}, {"configurable": {"user_id": "alice"}}
    with pytest.raises(psycopg.errors.RaiseException, match="broken on purpose"):
        await chat.call(chat.graph, "invoke", given, who, durability=durability)
    saved = ("user_sessions", "checkpoints", "checkpoint_blobs")
    assert rows(db, *saved) == [0, 0, 0]


@pytest.mark.parametrize("table", ["user_sessions", "checkpoints"])
async def test_a_connection_killed_between_leaves_neither(
    chat: Chat, db: Connection, table: str
) -> None:
    """A backend that dies in the middle of a save has saved nothing."""
    db.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
    )
    db.execute(f"CREATE TRIGGER die AFTER INSERT ON {table} EXECUTE FUNCTION die()")
    gone = (psycopg.OperationalError, SessionsUnavailableError)  # Here, or on another node.
    with pytest.raises(gone):
        await chat.say("one", user_id="alice")
    assert rows(db, "user_sessions", "checkpoints", "checkpoint_blobs") == [0, 0, 0]


MEDDLE = """
import sys
from langgraph_sessions import AgentSessionManager
url, thread_id = sys.argv[1:]
manager = AgentSessionManager(url)
manager.deactivate_session("alice")
manager.switch_session("alice", "other")
manager.update_session("alice", {"title": "Renamed meanwhile"}, thread_id=thread_id)
manager.close()
"""


async def test_a_run_keeps_to_its_thread_whatever_happens_meanwhile(
    chat: Chat, url: str, db: Connection
) -> None:
    """Meddled with by another process during a node and a subgraph, a run keeps to its session.

    Deactivating, switching and renaming all stand when the run is over.
    """
    await chat.session("create_user_session", "alice", thread_id="other")
    threads: list[str] = []

    def meddle(state: Any) -> dict[str, Any]:
        (thread_id,) = (
            row["thread_id"]
            for row in db.execute("SELECT thread_id FROM user_sessions WHERE thread_id <> 'other'")
        )
        threads.append(thread_id)
        command = [sys.executable, "-c", MEDDLE, url, thread_id]
        subprocess.run(command, check=True, timeout=PATIENCE)
        return {"messages": ["from the node"]}

    inner = graph_builder(lambda state: {**meddle(state), "messages": ["from the subgraph"]})
    builder = graph_builder(meddle)
    builder.add_node("inner", inner.compile())
    builder.add_edge("node", "inner")
    graph = chat.compile(builder)
    who = {"configurable": {"user_id": "alice", "new_session": True}}
    await chat.call(graph, "invoke", {"messages": ["one"]}, who, durability="sync")

    assert threads[0] == threads[1]
    seen = {row["thread_id"] for row in db.execute("SELECT DISTINCT thread_id FROM checkpoints")}
    assert seen == {threads[0]}
    await chat.session("clear_memory_cache")  # It may have what the run's first save returned.
    session = await chat.session("get_session", "alice", threads[0])
    assert (session.is_active, session.title) == (False, "Renamed meanwhile")
    assert (await chat.current()).thread_id == "other"
    assert await chat.history(session) == ["one", "from the node", "from the subgraph"]


async def test_a_session_deleted_during_a_run_stays_deleted(
    chat: Chat, db: Connection, url: str
) -> None:
    """The rest of the run is refused and leaves not one row behind."""
    await chat.say("one", user_id="alice", thread_id="mine")

    def node(state: Any) -> dict[str, Any]:
        with SessionSaver(url) as other:
            other.sessions.delete_session("alice", "mine")
        return {"messages": ["too late"]}

    graph = chat.compile(graph_builder(node))
    with pytest.raises(SessionNotFoundError):
        await chat.call(
            graph,
            "invoke",
            {"messages": ["two"]},
            {"configurable": {"user_id": "alice"}},
            durability="sync",
        )
    kept = [table for table in TABLES if table != "session_reservations"]
    assert rows(db, *kept) == [0] * len(kept)


async def test_nul_in_the_state_fails_whole(chat: Chat, db: Connection) -> None:
    """A NUL in a top-level string, which JSONB cannot hold, fails with an error that says so."""
    from typing import TypedDict

    from langgraph.graph import START, StateGraph

    class State(TypedDict):
        text: str

    builder = StateGraph(State)
    builder.add_node("node", lambda state: {"text": "a\0b"})
    builder.add_edge(START, "node")
    graph = chat.compile(builder)
    who = {"configurable": {"user_id": "alice"}}
    with pytest.raises(psycopg.errors.UntranslatableCharacter, match=r"\\u0000"):
        await chat.call(graph, "invoke", {"text": "ok"}, who, durability="exit")
    assert rows(db, "user_sessions", "checkpoints", "checkpoint_blobs") == [0, 0, 0]


def test_refusals_are_quiet(saver: Any, capfd: pytest.CaptureFixture[str], caplog: Any) -> None:
    """Being refused another's thread is part of normal life: it leaves no noise in the logs."""
    graph = graph_builder().compile(checkpointer=saver)
    graph.invoke({"messages": ["one"]}, {"configurable": {"user_id": "a", "thread_id": "t"}})
    checkpoint = saver.get_tuple({"configurable": {"user_id": "a", "thread_id": "t"}}).checkpoint
    stranger = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    for _ in range(10):
        with pytest.raises(SessionNotFoundError):
            saver.put(stranger, checkpoint, {}, {})
    assert caplog.records == []
    assert capfd.readouterr().err == ""


def test_threads_of_one_process_share_a_saver(saver: Any) -> None:
    """32 threads with a user each, over one saver, keep their conversations apart."""
    graph = graph_builder().compile(checkpointer=saver)
    failures: list[BaseException] = []

    def talk(user: str) -> None:
        try:
            for turn in range(3):
                graph.invoke({"messages": [f"{user} {turn}"]}, {"configurable": {"user_id": user}})
        except BaseException as error:
            failures.append(error)

    users = [f"user-{number}" for number in range(32)]
    threads = [threading.Thread(target=talk, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for user in users:
        session = saver.sessions.get_current_user_session(user)
        messages = graph.get_state(session.config).values["messages"]
        assert [m.content for m in messages if m.type == "human"] == [
            f"{user} {turn}" for turn in range(3)
        ]
