"""Threads without a session whose checkpoints name a user: theirs, before they are adopted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver

from langgraph_sessions import SessionNotFoundError, SessionSaver
from tests.support import PATIENCE, Chat, config, graph_builder, past_pooler, texts

Connection = psycopg.Connection[Any]
METADATA: Any = {"source": "loop", "step": 0, "parents": {}}


@pytest.fixture(params=["the newest names her", "an older one names her"])
def left(request: pytest.FixtureRequest, url: str) -> str:
    """The thread that a plain saver left, in whose checkpoints is alice."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        plain.setup()
        graph = graph_builder().compile(checkpointer=plain)
        graph.invoke({"messages": ["secret"]}, config(user_id="alice", thread_id="t"))
        if request.param == "an older one names her":
            graph.update_state(config(thread_id="t"), {"messages": ["noted"]})
    return str(request.param)


@pytest.mark.parametrize(
    "use",
    [
        lambda chat, given: chat.call(chat.graph, "invoke", {"messages": ["x"]}, given),
        lambda chat, given: chat.call(chat.graph, "get_state", given),
        lambda chat, given: chat.call(chat.graph, "get_state_history", given),
        lambda chat, given: chat.call(chat.graph, "update_state", given, {"messages": ["x"]}),
        lambda chat, given: chat.call(chat.saver, "get_tuple", given),
        lambda chat, given: chat.call(chat.saver, "list", given),
        lambda chat, given: chat.call(
            chat.saver, "put", in_root(given), empty_checkpoint(), METADATA, {}
        ),
        lambda chat, given: chat.call(
            chat.saver, "put_writes", in_root(given, checkpoint_id="c"), [("a", 1)], "task"
        ),
    ],
    ids=["invoke", "state", "history", "update_state", "get_tuple", "list", "put", "put_writes"],
)
async def test_who_names_the_thread_alone_does_not_get_in(
    chat: Chat, db: Connection, left: str, use: Callable[..., Any]
) -> None:
    """It looks like a thread that is not there; nothing is read, and nothing is written."""
    before = saved(db)
    with pytest.raises(SessionNotFoundError) as caught:
        await use(chat, config(thread_id="t"))
    assert "alice" not in str(caught.value)
    assert saved(db) == before


def saved(db: Connection) -> list[Any]:
    """Return how much is saved."""
    tables = ("checkpoints", "checkpoint_writes", "session_threads")
    return [db.execute(f"SELECT count(*) AS n FROM {each}".encode()).fetchall() for each in tables]


def metadata(db: Connection) -> list[dict[str, Any]]:
    """Return the checkpoints' metadata."""
    return [row["metadata"] for row in db.execute("SELECT metadata FROM checkpoints")]


def in_root(given: Any, **more: Any) -> Any:
    """Return a config for a saver's own methods."""
    return {"configurable": {**given["configurable"], "checkpoint_ns": "", **more}}


async def test_its_user_goes_on(chat: Chat, url: str) -> None:
    """What she said there is hers, and becomes a session with her next message."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        plain.setup()
        graph = graph_builder().compile(checkpointer=plain)
        graph.invoke({"messages": ["secret"]}, config(user_id="alice", thread_id="t"))
    with pytest.raises(SessionNotFoundError):
        await chat.say("hello", thread_id="t")
    with pytest.raises(SessionNotFoundError):
        await chat.say("hello", user_id="bob", thread_id="t")
    said = await chat.say("more", user_id="alice", thread_id="t")
    assert texts(said)[0] == "secret"


async def test_a_thread_of_nobodys_is_used_as_ever(chat: Chat, db: Connection) -> None:
    """No checkpoint of it names a user, whatever a client puts into metadata."""
    given = {**config(thread_id="t"), "metadata": {"user_id": "alice", "tenant": "a"}}
    given["metadata"]["langgraph_auth_user_id"] = "alice"
    for text in ("one", "two"):
        said = await chat.call(chat.graph, "invoke", {"messages": [text]}, given)
    assert texts(said) == ["one", "1 so far", "two", "3 so far"]
    for found in metadata(db):
        assert found["tenant"] == "a"
        assert not found.keys() & {"user_id", "langgraph_auth_user_id"}
    assert (await chat.session("backfill"))["adopted"] == 0


async def test_metadata_give_no_users_thread_to_another(chat: Chat, db: Connection) -> None:
    """Bob's checkpoints name bob, though he says in their metadata that they are alice's."""
    given = config(user_id="bob", thread_id="t")
    given["metadata"] = {"user_id": "alice", "langgraph_auth_user_id": "alice"}
    await chat.call(chat.graph, "invoke", {"messages": ["planted"]}, given)
    for found in metadata(db):
        assert found["user_id"] == "bob"
        assert "alice" not in str(found)


@pytest.mark.parametrize("concurrent_runs", ["reject", "allow"])
def test_no_session_is_made_over_what_others_saved_meanwhile(
    url: str, concurrent_runs: str
) -> None:
    """A thread that was new when her run began, and is nobody's when it saves, is not hers."""

    def theirs() -> None:
        with SessionSaver(url) as other:
            graph = graph_builder().compile(checkpointer=other)
            graph.invoke({"messages": ["theirs"]}, config(thread_id="t"))

    def meanwhile(state: Any) -> dict[str, Any]:
        with ThreadPoolExecutor(1) as pool:  # Out of this run.
            pool.submit(theirs).result(PATIENCE)
        return {"messages": ["hers"]}

    with SessionSaver(url, concurrent_runs=concurrent_runs) as saver:
        graph = graph_builder(meanwhile).compile(checkpointer=saver)
        given = config(user_id="alice", thread_id="t")
        with pytest.raises(SessionNotFoundError):
            graph.invoke({"messages": ["one"]}, given, durability="exit")
        assert list(saver.sessions.list_sessions()) == []
        assert texts(graph.get_state(config(thread_id="t")))[0] == "theirs"
