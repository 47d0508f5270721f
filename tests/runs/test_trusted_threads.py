"""Savers that trust a thread id, and savers that want a user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.types import Command
from psycopg import Connection

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.support import Chat, asking, config, graph_builder, past_pooler, texts


@pytest.fixture(params=["sync", "async"])
async def trusting(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Chat]:
    """A conversation with either saver, which trusts thread ids."""
    if request.param == "sync":
        with SessionSaver(url, trust_thread_id=True) as saver:
            yield Chat(saver)
    else:
        async with AsyncSessionSaver(url, trust_thread_id=True) as saver:
            yield Chat(saver)


async def test_a_run_by_thread_id_alone_is_its_owners(trusting: Chat) -> None:
    """It goes on in the session, which becomes current; nodes know the user and the session."""
    seen: list[Any] = []
    graph = trusting.compile(graph_builder(lambda state, config: seen.append(config)))
    await trusting.say("one", user_id="alice", thread_id="t")
    await trusting.say("two", user_id="alice", thread_id="u")
    state = await trusting.say("three", thread_id="t")
    assert texts(state) == ["one", "1 so far", "three", "3 so far"]
    assert (await trusting.current()).thread_id == "t"
    await trusting.say("four", graph, thread_id="t")
    assert seen[0]["configurable"]["user_id"] == "alice"


async def test_reads_and_updates_by_thread_id_alone_are_its_owners(
    trusting: Chat, db: Connection[Any]
) -> None:
    """State, subgraphs' too, history, lists and saves all work, and name the owner."""
    graph = trusting.compile(asking(below=True))
    await trusting.say("Hello", graph, user_id="alice", thread_id="t")
    alone = config(thread_id="t")
    state = await trusting.call(graph, "get_state", alone, subgraphs=True)
    assert state.config["configurable"]["user_id"] == "alice"
    assert texts(state.tasks[0].state) == ["Hello"]
    assert len(await trusting.call(graph, "get_state_history", alone)) == 2
    assert len(await trusting.call(trusting.saver, "list", alone)) > 1
    answered = await trusting.call(graph, "invoke", Command(resume="yes"), alone)
    assert texts(answered) == ["Hello", "You said yes"]
    await trusting.call(graph, "update_state", alone, {"messages": ["more"]})
    found = await trusting.call(trusting.saver, "get_tuple", alone)
    place = config(thread_id="t", checkpoint_ns="")
    checkpoint = {**found.checkpoint, "id": f"{found.checkpoint['id']}+"}
    saved = await trusting.call(trusting.saver, "put", place, checkpoint, {"step": 9}, {})
    await trusting.call(trusting.saver, "put_writes", saved, [("a", 1)], "task")
    history = await trusting.call(
        trusting.saver, "get_delta_channel_history", config=saved, channels=["messages"]
    )
    assert list(history) == ["messages"]
    assert saved["configurable"]["user_id"] == "alice"
    owners = db.execute("SELECT DISTINCT metadata ->> 'user_id' AS owner FROM checkpoints")
    assert [row["owner"] for row in owners] == ["alice"]


async def test_a_thread_that_names_a_user_is_theirs(trusting: Chat, url: str) -> None:
    """One that a plain saver left is adopted by its owner's run, whoever updated it last."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        graph = graph_builder().compile(checkpointer=plain)
        graph.invoke({"messages": ["before"]}, config(thread_id="old", user_id="alice"))
        graph.update_state(config(thread_id="old"), {"messages": ["aside"]})
    await trusting.say("after", thread_id="old")
    assert (await trusting.current()).thread_id == "old"


async def test_a_thread_of_nobodys_stays_so(trusting: Chat) -> None:
    """Trust makes no session: without an owner it is what the plain saver does."""
    for _ in range(2):
        state = await trusting.say("one", thread_id="plain")
    assert len(texts(state)) == 4
    await trusting.call(trusting.graph, "update_state", config(thread_id="plain"), {"messages": []})
    assert await trusting.sessions(None) == []


async def test_a_number_is_trusted_as_its_text(trusting: Chat) -> None:
    """A thread id that is no `str` finds the session of its text."""
    await trusting.say("one", user_id=7, thread_id=5)
    assert len(texts(await trusting.say("two", thread_id=5))) == 4
    assert (await trusting.current("7")).thread_id == "5"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"thread_id": "plain"}, "thread_id"),
    ({"thread_id": "new", "userid": "alice"}, "userid"),
    ({"userid": "alice"}, "userid"),
]


@pytest.mark.parametrize(("asks", "found"), REFUSED, ids=repr)
@pytest.mark.parametrize("trusts", [False, True], ids=["strict", "trusting"])
async def test_a_run_without_a_user_is_refused_where_one_is_required(
    url: str, db: Connection[Any], asks: dict[str, Any], found: str, trusts: bool
) -> None:
    """It says which keys it found; no node ran and nothing was written."""
    ran: list[str] = []
    graph = graph_builder(lambda state: ran.append("node"))
    with SessionSaver(url) as lenient:
        await Chat(lenient).say("x", thread_id="plain")
    (before,) = db.execute("SELECT count(*) FROM checkpoints").fetchall()
    with SessionSaver(url, require_user=True, trust_thread_id=trusts) as saver:
        chat = Chat(saver)
        with pytest.raises(ValueError, match=rf"user_id.*'{found}'"):
            await chat.say("hi", chat.compile(graph), **asks)
        if "thread_id" in asks:
            with pytest.raises(ValueError, match="user_id"):
                await chat.call(chat.graph, "update_state", config(**asks), {"messages": ["x"]})
        await chat.say("one", user_id="alice", thread_id="t")
        assert len(await chat.history(await chat.current())) == 2
    assert ran == []
    (after,) = db.execute("SELECT count(*) FROM checkpoints WHERE thread_id <> 't'").fetchall()
    assert after == before


async def test_a_trusted_thread_has_the_user_that_is_required(url: str) -> None:
    """Both options together: an owned thread is its owner's, any other is refused."""
    async with AsyncSessionSaver(url, require_user=True, trust_thread_id=True) as saver:
        chat = Chat(saver)
        await chat.say("one", user_id="alice", thread_id="t")
        assert len(texts(await chat.say("two", thread_id="t"))) == 4


@pytest.mark.parametrize("option", ["trust_thread_id", "require_user"])
def test_the_options_are_truth_values(option: str) -> None:
    """Anything else is refused by name."""
    with pytest.raises(TypeError, match=option):
        SessionSaver("postgresql://nowhere/x", **{option: "yes"})


async def test_the_session_guides_example_runs_as_printed(url: str) -> None:
    """A session from the manager, and a run that is given its thread id and nothing else."""
    with SessionSaver(url, trust_thread_id=True) as saver:
        manager = saver.sessions
        session = manager.get_or_create_user_session(user_id="123", title="My First Chat")
        graph = graph_builder().compile(checkpointer=saver)
        where = {"configurable": {"thread_id": session["thread_id"]}}
        await asyncio.to_thread(graph.invoke, {"messages": ["Hello"]}, where)
        manager.update_session(user_id="123", updates={"title": "Updated Chat Session"})
        current = manager.get_current_user_session("123")
        assert (current["thread_id"], current["title"]) == (
            session["thread_id"],
            "Updated Chat Session",
        )
        assert len(texts(graph.get_state(where))) == 2
