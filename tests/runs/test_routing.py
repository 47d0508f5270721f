"""Where a run goes: each row of the contract's two tables, with both savers."""

from __future__ import annotations

from enum import Enum
from typing import Any
from uuid import UUID

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver

from langgraph_sessions import AgentSessionManager, SessionNotFoundError
from langgraph_sessions.runs.request import INSTRUCTIONS
from tests.support import TABLES, Chat, config, graph_builder, past_pooler, texts

Connection = psycopg.Connection[Any]


def rows(db: Connection) -> int:
    """Count what any table holds."""
    return sum(db.execute(f"SELECT count(*) FROM {t}").fetchone()["count"] for t in TABLES)  # type: ignore[index]


async def test_a_first_run_creates_a_session(chat: Chat) -> None:
    """A user without a session gets one, which the second run continues."""
    await chat.say("one", user_id="alice")
    await chat.say("two", user_id="alice")
    (session,) = await chat.sessions()
    assert session.thread_id.startswith("alice_")
    assert await chat.history(session) == ["one", "1 so far", "two", "3 so far"]


async def test_a_session_is_used_no_earlier_than_it_is_created(chat: Chat) -> None:
    """Of a session of one run, as of any, `created_at` is never after `updated_at`."""
    await chat.say("one", user_id="alice")
    (session,) = await chat.sessions()
    assert session.created_at <= session.updated_at


async def test_new_session_starts_another_which_becomes_current(chat: Chat) -> None:
    """`new_session=True` starts an empty session, and later runs go there."""
    await chat.say("one", user_id="alice")
    first = await chat.current()
    await chat.say("two", user_id="alice", new_session=True)
    await chat.say("three", user_id="alice")
    assert (await chat.current()).thread_id != first.thread_id
    assert await chat.history(await chat.current()) == ["two", "1 so far", "three", "3 so far"]
    assert await chat.history(first) == ["one", "1 so far"]


async def test_a_thread_of_the_users_own_becomes_current_and_active(chat: Chat) -> None:
    """A run on an old, inactive session makes it the current one again."""
    await chat.say("one", user_id="alice")
    old = await chat.current()
    await chat.say("two", user_id="alice", new_session=True)
    await chat.session("deactivate_session", "alice", thread_id=old.thread_id)
    await chat.say("three", user_id="alice", thread_id=old.thread_id)
    current = await chat.current()
    assert (current.thread_id, current.is_active) == (old.thread_id, True)


async def test_a_thread_that_nothing_has_is_a_new_session(chat: Chat) -> None:
    """The caller may choose a new session's thread id."""
    await chat.say("one", user_id="alice", thread_id="mine")
    assert (await chat.current()).thread_id == "mine"


@pytest.mark.parametrize("asks", [{"user_id": "bob"}, {}], ids=["another user", "nobody"])
async def test_another_users_thread_looks_like_none(
    chat: Chat, db: Connection, asks: dict[str, Any]
) -> None:
    """Another user's thread, with or without a user id, is not found before any node runs."""
    ran: list[str] = []
    graph = chat.compile(graph_builder(lambda state: ran.append("node")))
    await chat.say("one", user_id="alice", thread_id="hers")
    before = rows(db)
    with pytest.raises(SessionNotFoundError) as caught:
        await chat.say("two", graph, thread_id="hers", **asks)
    assert (caught.value.user_id, caught.value.thread_id) == (asks.get("user_id"), "hers")
    assert ran == []
    assert rows(db) == before


async def plain_thread(chat: Chat, url: str, **configurable: Any) -> None:
    """Leave a thread behind as a plain `PostgresSaver` does."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as saver:
        graph_builder().compile(checkpointer=saver).invoke(
            {"messages": ["before"]}, config(**configurable)
        )


async def test_a_plain_thread_of_the_user_is_adopted(chat: Chat, url: str) -> None:
    """A thread without a session whose newest checkpoint names the user becomes theirs."""
    await plain_thread(chat, url, thread_id="old", user_id="alice")
    await chat.say("after", user_id="alice", thread_id="old")
    (session,) = await chat.sessions()
    assert (session.thread_id, session.title) == ("old", "before")
    assert await chat.history(session) == ["before", "1 so far", "after", "3 so far"]


@pytest.mark.parametrize("owner", [{"user_id": "bob"}, {}], ids=["another user", "nobody"])
async def test_a_plain_thread_of_others_is_not_adopted(
    chat: Chat, url: str, owner: dict[str, Any]
) -> None:
    """A thread without a session is nobody's to take unless its newest checkpoint says so."""
    await plain_thread(chat, url, thread_id="old", **owner)
    with pytest.raises(SessionNotFoundError):
        await chat.say("after", user_id="alice", thread_id="old")
    assert await chat.sessions(None) == []


async def test_a_thread_of_nobody_stays_a_plain_thread(chat: Chat) -> None:
    """Without a user id there is no session row, and everything else is as before."""
    await chat.say("one", thread_id="plain")
    state = await chat.say("two", thread_id="plain")
    assert texts(state) == ["one", "1 so far", "two", "3 so far"]
    assert await chat.sessions(None) == []


LONG = "x" * 256
WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"user_id": "u", "new_session": True, "thread_id": "t"}, ValueError, "new_session"),
    ({"thread_id": "t", "title": "T"}, ValueError, "title"),
    ({"thread_id": "t", "new_session": True}, ValueError, "new_session"),
    ({"thread_id": "t", "is_active": False}, ValueError, "is_active"),
    ({"user_id": None}, TypeError, "user_id"),
    ({"user_id": None, "thread_id": "t"}, TypeError, "user_id"),
    ({"user_id": True}, TypeError, "user_id"),
    ({"user_id": ["u"]}, TypeError, "user_id"),
    ({"user_id": {"u": 1}}, TypeError, "user_id"),
    ({"user_id": 1.5}, TypeError, "user_id"),
    ({"user_id": ""}, ValueError, "user_id"),
    ({"user_id": " \t\n"}, ValueError, "user_id"),
    ({"user_id": "u\0"}, ValueError, "user_id"),
    ({"user_id": "\ud800"}, ValueError, "user_id"),
    ({"user_id": LONG}, ValueError, "user_id"),
    ({"user_id": "u", "thread_id": ""}, ValueError, "thread_id"),
    ({"user_id": "u", "thread_id": "  "}, ValueError, "thread_id"),
    ({"user_id": "u", "thread_id": "t\0"}, ValueError, "thread_id"),
    ({"user_id": "u", "thread_id": LONG}, ValueError, "thread_id"),
    ({"user_id": "u", "thread_id": True}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": False}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": ["t"]}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": {"t": 1}}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": 1.5}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": 0.0}, TypeError, "thread_id"),
    ({"user_id": "u", "make_current": 0}, TypeError, "make_current"),
    ({"thread_id": "t", "make_current": False}, ValueError, "make_current"),
    ({"user_id": "u", "thread_id": b"t"}, TypeError, "thread_id"),
    ({"user_id": "u", "thread_id": "t", "checkpoint_id": 5}, TypeError, "checkpoint_id"),
    ({"user_id": 10**4200}, ValueError, "user_id"),
    ({"other": 1}, KeyError, "thread_id"),
    ({"user_id": "u", "new_session": "yes"}, TypeError, "new_session"),
    ({"user_id": "u", "new_session": 1}, TypeError, "new_session"),
    ({"user_id": "u", "is_active": 0}, TypeError, "is_active"),
    ({"user_id": "u", "title": 5}, TypeError, "title"),
    ({"user_id": "u", "title": ""}, ValueError, "title"),
    ({"user_id": "u", "title": "a\0b"}, ValueError, "title"),
    ({"user_id": "u", "title": LONG}, ValueError, "title"),
]


@pytest.mark.parametrize(("asks", "error", "named"), WRONG, ids=repr)
async def test_a_wrong_key_is_named_before_any_node_runs(
    chat: Chat, db: Connection, asks: dict[str, Any], error: type[Exception], named: str
) -> None:
    """What a configurable may not hold is refused by name; no node ran, nothing was written."""
    ran: list[str] = []
    graph = chat.compile(graph_builder(lambda state: ran.append("node")))
    with pytest.raises(error, match=named):
        await chat.say("hello", graph, **asks)
    assert ran == []
    assert rows(db) == 0


@pytest.mark.parametrize(
    ("given", "stored"),
    [(7, "7"), (UUID(int=7), str(UUID(int=7))), ("x" * 255, "x" * 255)],
    ids=["int", "uuid", "255 characters"],
)
async def test_a_user_id_is_taken_as_its_str(chat: Chat, given: Any, stored: str) -> None:
    """An int or UUID is the same user as its text."""
    await chat.say("one", user_id=given)
    await chat.say("two", user_id=stored)
    (session,) = await chat.sessions(stored)
    assert session.user_id == stored
    assert len(session.thread_id) <= 255


ODD = ["🧑‍🚀", "o'hara\"--", "100%s %(x)s", "two\nlines", "مستخدم", "a/b?c#d", "{x}", "é" * 255]


@pytest.mark.parametrize("odd", ODD)
async def test_odd_but_legal_ids_work_everywhere(chat: Chat, odd: str) -> None:
    """An id of any characters finds, lists, renames, resumes and deletes its session."""
    await chat.say("one", user_id=odd, thread_id=odd, title=odd)
    session = await chat.current(odd)
    assert (session.user_id, session.thread_id, session.title) == (odd, odd, odd)
    assert await chat.sessions(odd, title=odd) == [session]
    await chat.session("update_session", odd, {"title": f"{odd[:250]}!", "metadata": {odd: odd}})
    await chat.say("two", user_id=odd)
    assert await chat.history(session) == ["one", "1 so far", "two", "3 so far"]
    await chat.session("delete_session", odd, odd)
    assert await chat.sessions(odd) == []


class Kind(str, Enum):  # noqa: UP042 - whose str() is its name
    """An id as an enumeration's member."""

    A = "aaa"


async def test_a_member_of_an_enumeration_is_its_value(chat: Chat) -> None:
    """A `str` enumeration's member is the text that it is, not its name."""
    await chat.say("one", user_id=Kind.A, thread_id=Kind.A, title=Kind.A)
    session = await chat.current("aaa")
    assert (session.user_id, session.thread_id, session.title) == ("aaa", "aaa", "aaa")


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_is_active_does_not_undo_a_deactivation_of_an_active_session(
    chat: Chat, url: str, durability: str
) -> None:
    """`is_active=True` on a session that is active asks for nothing, so its end stands."""
    await chat.say("one", user_id="alice")

    def node(state: Any) -> dict[str, Any]:
        manager = AgentSessionManager(url)
        assert manager.deactivate_session("alice") == 1
        manager.close()
        return {"messages": ["bye"]}

    graph = chat.compile(graph_builder(node))
    who = config(user_id="alice", is_active=True)
    await chat.call(graph, "invoke", {"messages": ["two"]}, who, durability=durability)
    assert not await chat.session("has_session", "alice")


async def test_an_inner_graph_cannot_leave_its_run(chat: Chat) -> None:
    """A graph that a node calls for another session without a thread of its own is refused."""
    inner = chat.compile(graph_builder())
    errors: list[str] = []

    async def node(state: Any) -> dict[str, Any]:
        asks: list[dict[str, Any]] = [
            {"user_id": "alice", "new_session": True},
            {"user_id": "alice", "thread_id": None, "new_session": True},
            {"user_id": "helper"},
        ]
        for configurable in asks:
            with pytest.raises(ValueError, match="inside a run") as caught:
                await inner.ainvoke({"messages": ["x"]}, config(**configurable))
            errors.append(str(caught.value))
        other = await chat.session("create_user_session", "helper")
        await inner.ainvoke({"messages": ["x"]}, other.config)
        return {"messages": ["ok"]}

    graph = chat.compile(graph_builder(node))
    await graph.ainvoke({"messages": ["one"]}, config(user_id="alice"))
    assert len(await chat.sessions("alice")) == 1
    assert len(errors) == 3
    assert "alice" not in errors[2]
    assert await chat.history(await chat.current("helper")) == ["x", "1 so far"]


async def test_optional_keys_given_as_none_count_as_not_given(chat: Chat) -> None:
    """`None` for a thread id or an instruction is the same as leaving it out."""
    nothing = dict.fromkeys(["thread_id", *INSTRUCTIONS])
    await chat.say("one", user_id="alice", **nothing)
    await chat.say("two", user_id="alice", **nothing)
    assert len(await chat.sessions()) == 1


async def test_the_signed_in_user_stands_for_user_id(chat: Chat) -> None:
    """`langgraph_auth_user_id` is whose run it is; a user_id beside it must agree."""
    await chat.say("one", langgraph_auth_user_id="alice")
    await chat.say("two", langgraph_auth_user_id="alice", user_id="alice")
    (session,) = await chat.sessions()
    assert len(await chat.history(session)) == 4
    with pytest.raises(SessionNotFoundError):
        await chat.say("three", langgraph_auth_user_id="alice", user_id="bob")


async def test_title_names_a_new_session_and_renames_an_old_one(chat: Chat) -> None:
    """`title` creates the session with it, later renames it, and stays out of metadata."""
    await chat.say("one", user_id="alice", title="First")
    assert (await chat.current()).title == "First"
    await chat.say("two", user_id="alice", title="Second", make_current=True)
    session = await chat.current()
    assert session.title == "Second"
    for state in await chat.call(chat.graph, "get_state_history", session.config):
        assert not set(INSTRUCTIONS) & set(state.metadata)


async def test_is_active_deactivates_and_reactivates(chat: Chat) -> None:
    """`is_active=False` deactivates the session with the run; the next run starts another."""
    await chat.say("one", user_id="alice", is_active=False)
    (first,) = await chat.sessions()
    assert not first.is_active
    await chat.say("two", user_id="alice")
    assert (await chat.current()).thread_id != first.thread_id
    await chat.say("three", user_id="alice", thread_id=first.thread_id, is_active=True)
    assert (await chat.current()).thread_id == first.thread_id


async def test_nodes_read_the_thread_and_the_callers_config_is_left_alone(chat: Chat) -> None:
    """A node finds the run's thread in its config; the caller's dict is never changed."""
    seen: list[Any] = []

    def node(state: Any, config: RunnableConfig) -> dict[str, Any]:
        seen.append(config["configurable"])
        return {"messages": ["ok"]}

    graph = chat.compile(graph_builder(node))
    given = config(user_id="alice", title="T")
    await chat.call(graph, "invoke", {"messages": ["one"]}, given)
    assert given == config(user_id="alice", title="T")
    session = await chat.current()
    assert seen[0]["thread_id"] == session.thread_id
    assert type(seen[0]["thread_id"]) is str
    assert "title" not in seen[0]
    reading = config(user_id="alice", thread_id=session.thread_id, title="T")
    await chat.call(graph, "get_state", reading)
    assert reading == config(user_id="alice", thread_id=session.thread_id, title="T")


async def test_reading_changes_nothing(chat: Chat, db: Connection) -> None:
    """State and history of an inactive session neither activate it nor make it current."""
    await chat.say("one", user_id="alice", title="A")
    session = await chat.current()
    await chat.session("deactivate_session", "alice")
    before = db.execute("SELECT * FROM user_sessions").fetchall()
    await chat.call(chat.graph, "get_state", session.config, subgraphs=True)
    await chat.call(chat.graph, "get_state_history", session.config)
    await chat.call(chat.saver, "list", session.config)
    assert db.execute("SELECT * FROM user_sessions").fetchall() == before


async def test_reading_another_users_thread_is_refused(chat: Chat) -> None:
    """No way of reading or writing lets a thread's id stand for its owner."""
    await chat.say("one", user_id="alice", thread_id="hers")
    for asks in (config(thread_id="hers"), config(user_id="bob", thread_id="hers")):
        with pytest.raises(SessionNotFoundError):
            await chat.call(chat.graph, "get_state", asks)
        with pytest.raises(SessionNotFoundError):
            await chat.call(chat.graph, "get_state_history", asks)
        with pytest.raises(SessionNotFoundError):
            await chat.call(chat.graph, "update_state", asks, {"messages": ["x"]})
        with pytest.raises(SessionNotFoundError):
            await chat.call(chat.saver, "list", asks)
        inner = {**asks["configurable"], "checkpoint_ns": "", "checkpoint_id": "1"}
        with pytest.raises(SessionNotFoundError):
            await chat.call(chat.saver, "put_writes", config(**inner), [("a", 1)], "task")
        with pytest.raises(SessionNotFoundError):
            await chat.call(
                chat.saver,
                "get_delta_channel_history",
                config=config(**{**asks["configurable"], "checkpoint_ns": ""}),
                channels=["messages"],
            )
    seen = await chat.call(chat.graph, "get_state", config(user_id="alice", thread_id="hers"))
    stolen = seen.config["configurable"]["thread_id"]
    with pytest.raises(SessionNotFoundError):
        await chat.call(chat.graph, "get_state", config(thread_id=stolen))
