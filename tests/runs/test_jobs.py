"""Jobs, which run in a user's sessions beside what the user does: `make_current=False`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from psycopg import Connection

from langgraph_sessions.runs.request import INSTRUCTIONS
from tests.support import Chat, config, graph_builder, texts

DURABILITIES = pytest.mark.parametrize("durability", ["sync", "async", "exit"])


async def job(chat: Chat, durability: str = "async", graph: Any = None, **configurable: Any) -> Any:
    """Run a job of alice's."""
    where = config(user_id="alice", make_current=False, **configurable)
    given = {"messages": ["job"]}
    return await chat.call(graph or chat.graph, "invoke", given, where, durability=durability)


@DURABILITIES
async def test_a_jobs_run_does_not_make_its_session_current(chat: Chat, durability: str) -> None:
    """It goes where it was told, which was used last then; the current session stays."""
    await chat.say("one", user_id="alice", thread_id="first")
    await chat.say("two", user_id="alice", thread_id="second")
    assert len(texts(await job(chat, durability, thread_id="first"))) == 4
    assert (await chat.current()).thread_id == "second"
    assert [session.title for session in await chat.sessions()] == ["one", "two"]
    assert len(texts(await chat.say("three", user_id="alice"))) == 4


@DURABILITIES
async def test_a_job_does_not_activate_its_session(chat: Chat, durability: str) -> None:
    """A session that was ended stays so, unless the job says otherwise."""
    await chat.say("one", user_id="alice", thread_id="t")
    await chat.session("deactivate_session", "alice")
    await job(chat, durability, thread_id="t")
    assert not (await chat.sessions())[0].is_active
    await job(chat, durability, thread_id="t", is_active=True)
    assert (await chat.current()).thread_id == "t"


@DURABILITIES
@pytest.mark.parametrize("where", [{"new_session": True}, {"thread_id": "new"}], ids=repr)
async def test_a_new_session_of_a_jobs_is_not_current(
    chat: Chat, durability: str, where: dict[str, Any]
) -> None:
    """It is active, and the last one used; also when the current one is ended, it is not next."""
    await chat.say("zero", user_id="alice", thread_id="older")
    await chat.say("one", user_id="alice", thread_id="current")
    await job(chat, durability, title="Nightly", **where)
    assert (await chat.current()).thread_id == "current"
    assert [session.title for session in await chat.sessions()] == ["Nightly", "one", "zero"]
    assert all(session.is_active for session in await chat.sessions())
    await chat.session("deactivate_session", "alice", thread_id="current")
    assert (await chat.current()).thread_id == "older"


async def test_a_job_of_somebody_without_sessions_begins_one_of_its_own(chat: Chat) -> None:
    """Nothing is current by it: what the user says next begins another."""
    await job(chat)
    assert len(texts(await chat.say("two", user_id="alice"))) == 2
    assert len(await chat.sessions()) == 2


async def test_a_job_in_a_subgraph_and_its_steps_makes_nothing_current(chat: Chat) -> None:
    """Each save of the run is the job's, a subgraph's too, also one that names the session."""
    inner = graph_builder()

    async def node(state: Any) -> dict[str, Any]:
        given = {"messages": ["x"]}
        await chat.compile(inner).ainvoke(given, config(user_id="alice", title="Renamed"))
        return {"messages": ["done"]}

    graph = chat.compile(graph_builder(node))
    await chat.say("one", user_id="alice", thread_id="first")
    await chat.say("two", user_id="alice", thread_id="second")
    where = config(user_id="alice", make_current=False, thread_id="first")
    await graph.ainvoke({"messages": ["job"]}, where)
    assert (await chat.current()).thread_id == "second"
    assert {session.title for session in await chat.sessions()} == {"Renamed", "two"}


async def test_a_job_leaves_no_key_in_metadata(chat: Chat) -> None:
    """`make_current` is an instruction; the next run of the thread is as ever."""
    await job(chat, thread_id="t")
    await chat.say("one", user_id="alice", thread_id="u")
    where = config(user_id="alice", thread_id="t")
    for state in await chat.call(chat.graph, "get_state_history", where):
        assert not set(INSTRUCTIONS) & set(state.metadata)
    await chat.say("two", user_id="alice", thread_id="t")
    assert (await chat.current()).thread_id == "t"


async def test_what_a_job_begins_is_not_idle_since_the_session_before(
    chat: Chat, db: Connection[Any]
) -> None:
    """A purge goes by when it was used, and not by what is current."""
    await chat.say("one", user_id="alice", thread_id="old")
    db.execute(
        "UPDATE user_sessions SET created_at = now() - interval '1 year',"
        " updated_at = now() - interval '1 year'"
    )
    db.execute(
        "UPDATE checkpoints SET checkpoint ="
        " checkpoint || jsonb_build_object('ts', now() - interval '1 year')"
    )
    await job(chat, new_session=True)
    counts = await chat.session("purge_sessions", idle_for=timedelta(days=90))
    assert (counts["purged"], len(await chat.sessions())) == (1, 1)
