"""Thread ids that are set aside, made by the caller, or fought over."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import Connection

from langgraph_sessions import AsyncSessionSaver, SessionSaver, get_session
from tests.support import Chat, config, graph_builder, past_pooler, psycopg_pool_options, texts


def seen_by(saver: SessionSaver, **who: Any) -> list[str]:
    """Run a graph and return the texts that its node saw."""
    seen: list[str] = []

    def node(state: Any) -> dict[str, Any]:
        seen.extend(str(message.content) for message in state["messages"])
        return {"messages": ["ok"]}

    graph_builder(node).compile(checkpointer=saver).invoke({"messages": ["hi"]}, config(**who))
    return seen


def test_a_factory_that_gives_two_users_one_id_lets_neither_see_the_other(url: str) -> None:
    """The second gets the default id: by a run or a read, and from the manager."""
    with SessionSaver(url, thread_id_factory=str.lower) as saver:
        assert seen_by(saver, user_id="alice") == ["hi"]
        assert saver.get_tuple(config(user_id="ALICE")) is None
        assert seen_by(saver, user_id="ALICE") == ["hi"]
        assert seen_by(saver, user_id="ALICE") == ["hi", "ok", "hi"]
        assert seen_by(saver, user_id="ALICE", new_session=True) == ["hi"]
        saver.sessions.get_or_create_user_session("Alice")
        saver.sessions.create_user_session("aLICE")
        threads = {each.user_id: each.thread_id for each in saver.sessions.list_sessions()}
        assert threads.pop("alice") == "alice"
        assert {user: thread.startswith(f"{user}_") for user, thread in threads.items()} == {
            "ALICE": True,
            "Alice": True,
            "aLICE": True,
        }


@pytest.mark.parametrize("owner", [{}, {"user_id": "dave"}], ids=["nobody", "another"])
def test_a_factory_does_not_take_over_plain_threads(url: str, owner: dict[str, str]) -> None:
    """A thread that a plain saver left is not a new session because a factory says its id."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        graph = graph_builder().compile(checkpointer=plain)
        graph.invoke({"messages": ["secret"]}, config(thread_id="carol", **owner))
    with SessionSaver(url, thread_id_factory=str.lower) as saver:
        assert seen_by(saver, user_id="CAROL") == ["hi"]
        (session,) = saver.sessions.list_sessions()
        assert session.thread_id.startswith("CAROL_")


async def test_a_reserved_id_that_another_user_took_is_given_up(chat: Chat, db: Any) -> None:
    """Whose id was taken before their first save gets another, and sees nobody's messages."""
    await chat.call(chat.saver, "get_tuple", config(user_id="alice"))
    (row,) = db.execute("SELECT thread_id FROM session_reservations").fetchall()
    await chat.say("bob's", user_id="bob", thread_id=row["thread_id"])
    await chat.say("alice's", user_id="alice")
    assert await chat.history(await chat.current("alice")) == ["alice's", "1 so far"]
    assert await chat.history(await chat.current("bob")) == ["bob's", "1 so far"]


def test_a_fixed_id_is_not_gone_back_to(url: str) -> None:
    """After its session was deactivated, another one stands for an id that is given again."""
    with SessionSaver(url, thread_id_factory=lambda user: f"{user}-main") as saver:
        seen_by(saver, user_id="alice")
        saver.sessions.deactivate_session("alice")
        seen_by(saver, user_id="alice")
        assert saver.sessions.get_current_user_session("alice").thread_id.startswith("alice_")


@pytest.mark.parametrize("taken_by", ["bob", "nobody", "alice"])
def test_nobody_is_locked_out_by_a_taken_id(url: str, taken_by: str) -> None:
    """Who knows what the factory makes of a user, and is there first, changes nothing for them."""
    given = config(
        thread_id="alice-main", **({"user_id": taken_by} if taken_by != "nobody" else {})
    )
    with SessionSaver(url, thread_id_factory=lambda user: f"{user}-main") as saver:
        theirs = graph_builder().compile(checkpointer=saver)
        theirs.invoke({"messages": ["taken"]}, given)
        if taken_by == "alice":
            saver.sessions.deactivate_session("alice")
        hers = config(user_id="alice")
        for text in ("one", "two"):
            said = theirs.invoke({"messages": [text]}, hers)
        assert texts(said)[0] == "one"
        assert len(texts(said)) == 4
        new = saver.sessions.create_user_session("alice")
        fork = saver.sessions.fork_session("alice", new.thread_id)
        run = theirs.invoke({"messages": ["x"]}, config(user_id="alice", new_session=True))
        assert (len(texts(run)), new.thread_id != fork.thread_id) == (2, True)
        assert texts(theirs.get_state(given))[0] == "taken"


def test_a_factory_may_use_the_manager(url: str) -> None:
    """The factory is called while no connection is held, even where there is only one."""
    with Connection.connect(url, **psycopg_pool_options()) as conn:

        def numbered(user_id: str) -> str:
            return f"{user_id}-{saver.sessions.count_sessions(user_id) + 1}"

        saver = SessionSaver(conn, thread_id_factory=numbered)
        seen_by(saver, user_id="alice")
        seen_by(saver, user_id="alice", new_session=True)
        saver.sessions.create_user_session("alice")
        ids = [session.thread_id for session in saver.sessions.list_sessions("alice")]
        assert ids == ["alice-3", "alice-2", "alice-1"]


async def test_an_async_savers_factory_is_called_outside_too(url: str) -> None:
    """The async saver asks the same factory, and takes what it says."""
    async with AsyncSessionSaver(url, thread_id_factory=lambda user: f"{user}-1") as saver:
        graph = graph_builder().compile(checkpointer=saver)
        await graph.ainvoke({"messages": ["hi"]}, config(user_id="alice"))
        assert (await saver.sessions.get_current_user_session("alice")).thread_id == "alice-1"


@pytest.mark.parametrize("given", [5, 0, UUID(int=5)], ids=["int", "zero", "uuid"])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_thread_id_is_taken_as_its_str(chat: Chat, given: Any, durability: str) -> None:
    """An int or UUID is the thread of its text: to runs, nodes, subgraphs, reads, the manager."""
    seen: list[Any] = []

    def below(state: Any, config: RunnableConfig) -> dict[str, Any]:
        seen.append(get_session(config))
        return {"messages": ["below"]}

    graph = chat.compile(graph_builder(graph_builder(below).compile()))  # type: ignore[arg-type]
    where = config(user_id=7, thread_id=given)
    for _ in range(2):
        await chat.call(graph, "invoke", {"messages": ["hi"]}, where, durability=durability)
    assert [(each.user_id, each.thread_id) for each in seen] == [("7", str(given))] * 2
    state = await chat.call(graph, "get_state", where, subgraphs=True)
    assert state.config["configurable"]["thread_id"] == str(given)
    assert len(await chat.call(graph, "get_state_history", where)) > 1
    await chat.call(graph, "update_state", where, {"messages": ["more"]})
    session = await chat.session("get_session", 7, given)
    assert (session.thread_id, await chat.sessions("7")) == (str(given), [session])
    assert await chat.session("get_session", 7, given) is session
    await chat.session("update_session", 7, {"title": "T"}, thread_id=given)
    await chat.session("switch_session", 7, given)
    assert (await chat.session("fork_session", 7, given)).title == "T"
    assert await chat.session("deactivate_session", 7, thread_id=given) == 1
    await chat.session("delete_session", 7, given)
    made = await chat.session("create_user_session", 7, thread_id=given)
    assert made.thread_id == str(given)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_job_on_a_numbered_thread_is_one_in_its_subgraphs_too(
    chat: Chat, durability: str
) -> None:
    """What a subgraph saves is its run's, although LangGraph copies the configurable for it."""
    graph = chat.compile(graph_builder(graph_builder().compile()))  # type: ignore[arg-type]
    await chat.say("one", graph, user_id="alice", thread_id=1)
    await chat.say("two", graph, user_id="alice", thread_id=2)
    where = config(user_id="alice", thread_id=1, make_current=False)
    for place in (where, config(user_id="alice", thread_id=3, make_current=False)):
        await chat.call(graph, "invoke", {"messages": ["job"]}, place, durability=durability)
    assert (await chat.current()).thread_id == "2"
