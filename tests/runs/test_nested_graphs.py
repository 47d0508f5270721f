"""Graphs called inside a run: they are its user's, and nothing is left that is nobody's."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, interrupt

from langgraph_sessions import SessionNotFoundError, get_session
from tests.graphs import chain
from tests.runs import nesting
from tests.runs.nesting import CALLERS, does, exported, inner
from tests.savers.saved import Connection, namespaces
from tests.support import Chat, config, texts

HI = {"messages": ["hi"]}
OTHERS = """
WITH c AS MATERIALIZED (SELECT thread_id, metadata FROM checkpoints),
s AS MATERIALIZED (SELECT thread_id, user_id FROM user_sessions)
SELECT c.thread_id FROM c LEFT JOIN s USING (thread_id)
WHERE s.user_id IS DISTINCT FROM 'alice' OR c.metadata ->> 'user_id' IS DISTINCT FROM 'alice'"""

# What the inner graph is given, and the thread that it is on.
PLACES: list[tuple[dict[str, Any], str]] = [
    ({}, "outer"),
    ({"user_id": "alice"}, "outer"),
    ({"thread_id": "outer"}, "outer"),
    ({"user_id": "alice", "thread_id": "outer"}, "outer"),
    ({"thread_id": "outer", "checkpoint_ns": ""}, "outer"),
    ({"checkpoint_ns": ""}, "outer"),
    ({"user_id": "alice", "checkpoint_ns": ""}, "outer"),
    ({"thread_id": "inner"}, "inner"),
    ({"user_id": "alice", "thread_id": "inner"}, "inner"),
    ({"thread_id": "inner", "checkpoint_ns": "x"}, "inner"),
]


@pytest.mark.parametrize("caller", CALLERS)
async def test_its_user_is_the_runs(ours: Chat, db: Connection, caller: Any) -> None:
    """Whatever it is given, all that it saves is the user's, exported and deleted with the rest."""
    called = inner(ours)
    for place, thread_id in PLACES:
        where = config(**place) if place else None
        outer = caller(ours, lambda _, where=where: does(ours, "invoke", called, HI, where))
        for text in ("one", "two"):
            await ours.say(text, outer, user_id="alice", thread_id="outer")
        assert db.execute(OTHERS).fetchall() == [], place
        assert set(namespaces(db)) == {"outer", thread_id}, place
        assert await exported(ours, "alice") == {"outer", thread_id}
        if thread_id == "inner":
            within = config(user_id="alice", thread_id="inner")
            said = texts(await ours.call(called, "get_state", within))
            assert said == ["hi", "1 inside", "hi", "3 inside"], place
        await ours.session("delete_user", "alice")
        assert namespaces(db) == {}, place


async def test_a_session_of_its_own_does_not_become_current(ours: Chat) -> None:
    """The user's next message goes to the conversation, not to what a node called."""
    called = inner(ours)
    where = config(thread_id="inner")
    outer = nesting.node(ours, lambda _: does(ours, "invoke", called, HI, where))
    for _ in range(3):
        await ours.say("hello", outer, user_id="alice")
        assert (await ours.current()).thread_id != "inner"
    current = await ours.current()
    assert len(texts(await ours.call(outer, "get_state", current.config))) == 6
    listed = {session.thread_id for session in await ours.sessions()}
    assert listed == {current.thread_id, "inner"}


async def test_a_session_that_was_deactivated_stays_so(ours: Chat) -> None:
    """A node that goes on with an ended session of the user's does not begin it again."""
    called = inner(ours)
    await ours.say("before", called, user_id="alice", thread_id="inner", is_active=False)
    where = config(thread_id="inner")
    outer = nesting.node(ours, lambda _: does(ours, "invoke", called, HI, where))
    await ours.say("hello", outer, user_id="alice", thread_id="outer")
    active = {session.thread_id: session.is_active for session in await ours.sessions()}
    assert active == {"outer": True, "inner": False}


async def test_nodes_inside_see_the_session_they_are_in(ours: Chat) -> None:
    """`get_session` in the inner graph is of its thread, in the outer one of the run's."""
    seen = []

    def look(_: Any, config: RunnableConfig) -> dict[str, Any]:
        session = get_session(config)
        seen.append((session.user_id, session.thread_id))
        return {}

    called = ours.compile(chain(look=look))
    for place in ({"thread_id": "inner"}, {"thread_id": "outer"}, {}):
        where = config(**place) if place else None
        outer = nesting.node(ours, lambda _, where=where: does(ours, "invoke", called, HI, where))
        await ours.say("hello", outer, user_id="alice", thread_id="outer")
    assert seen == [("alice", "inner"), ("alice", "outer"), ("alice", "outer")]


@pytest.mark.parametrize("method", ["invoke", "get_state", "get_state_history", "update_state"])
async def test_anothers_session_is_not_opened_by_a_node(ours: Chat, method: str) -> None:
    """By its thread id alone it is looked for among the run's user's sessions, and is not there."""
    called = inner(ours)
    await ours.say("hers", called, user_id="bob", thread_id="bobs")
    where = config(thread_id="bobs")
    given = {"invoke": (HI, where), "update_state": (where, HI)}.get(method, (where,))

    async def areads() -> Any:
        return [state async for state in called.aget_state_history(where)]

    def reads(_: Any) -> Any:
        if method == "get_state_history":
            return areads() if ours.is_async else list(called.get_state_history(where))
        return does(ours, method, called, *given)

    outer = nesting.node(ours, reads)
    with pytest.raises(SessionNotFoundError):
        await ours.say("one", outer, user_id="alice")
    hers = await ours.call(called, "get_state", config(user_id="bob", thread_id="bobs"))
    assert texts(hers) == ["hers", "1 inside"]


async def test_another_user_is_who_is_named_with_a_thread(ours: Chat) -> None:
    """A node may write to somebody else's session, by naming both; it becomes nobody's current."""
    called = inner(ours)
    await ours.say("hers", called, user_id="bob", thread_id="hers")
    where = config(user_id="bob", thread_id="for bob")
    outer = nesting.node(ours, lambda _: does(ours, "invoke", called, HI, where))
    await ours.say("one", outer, user_id="alice", thread_id="outer")
    owners = {session.thread_id: session.user_id for session in await _all(ours)}
    assert owners == {"outer": "alice", "for bob": "bob", "hers": "bob"}
    assert (await ours.current("bob")).thread_id == "hers"


async def _all(chat: Chat) -> list[Any]:
    return [*(await chat.sessions("alice")), *(await chat.sessions("bob"))]


@pytest.mark.parametrize(
    "place", [{"user_id": "bob"}, {"user_id": "alice", "new_session": True}], ids=repr
)
async def test_what_would_leave_the_run_is_refused(
    ours: Chat, db: Connection, place: dict[str, Any]
) -> None:
    """Another user, or a new session, without a thread id: an error says to give one."""
    called = inner(ours)
    for more in ({}, {"checkpoint_ns": ""}):
        where = config(**place, **more)
        outer = nesting.node(ours, lambda _, where=where: does(ours, "invoke", called, HI, where))
        with pytest.raises(ValueError, match=r"inside a run.* thread_id"):
            await ours.say("one", outer, user_id="alice", thread_id="outer")
    assert namespaces(db).keys() == {"outer"}


async def test_it_asks_and_is_answered_on_its_own_thread(ours: Chat) -> None:
    """A question of a graph with a thread of its own waits there, and a later node answers it."""

    def ask(_: Any) -> dict[str, Any]:
        return {"messages": [f"You said {interrupt('Why?')}"]}

    called = ours.compile(chain(ask=ask))
    given: list[Any] = [HI, Command(resume="because")]
    where = config(thread_id="inner")
    outer = nesting.node(ours, lambda _: does(ours, "invoke", called, given.pop(0), where))
    await ours.say("one", outer, user_id="alice", thread_id="outer")
    (waits,) = await ours.sessions(status="interrupted")
    assert waits.thread_id == "inner"
    await ours.say("two", outer, user_id="alice", thread_id="outer")
    assert texts(await ours.call(called, "get_state", waits.config)) == ["hi", "You said because"]


@pytest.mark.parametrize("method", ["batch", "stream"])
async def test_batches_and_streams_inside_are_the_users(
    ours: Chat, db: Connection, method: str
) -> None:
    """A batch over several threads, and a stream, save to sessions of the run's user."""
    called = inner(ours)
    places = [config(thread_id=f"inner {n}") for n in range(2)]

    async def astream() -> Any:
        return [part async for part in called.astream(HI, places[0])]

    def work(_: Any) -> Any:
        if method == "batch":
            return does(ours, "batch", called, [HI, HI], places)
        return astream() if ours.is_async else list(called.stream(HI, places[0]))

    outer = nesting.node(ours, work)
    await ours.say("one", outer, user_id="alice", thread_id="outer")
    assert db.execute(OTHERS).fetchall() == []
    within = {"inner 0", "inner 1"} if method == "batch" else {"inner 0"}
    assert set(namespaces(db)) == {"outer", *within}
    assert (await ours.current()).thread_id == "outer"


async def test_a_run_around_without_a_saver_gives_its_user(ours: Chat, db: Connection) -> None:
    """The outer graph may keep nothing: whose run it is its configurable says."""
    called = inner(ours)
    where = config(thread_id="inner")
    outer = nesting.node(ours, lambda _: does(ours, "invoke", called, HI, where))
    outer.checkpointer = None
    await ours.say("one", outer, user_id="alice", thread_id="outer")
    assert namespaces(db).keys() == {"inner"}
    assert db.execute(OTHERS).fetchall() == []
