"""An Agent Server with authentication and two users: threads are sessions of who is signed in."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.agent_server.conftest import AgentServer, said
from tests.support import PATIENCE

HERS = {"user_id": "alice", "is_active": True}


def contents(values: Any) -> list[str]:
    """Return the texts of a state's messages."""
    return [message["content"] for message in values["messages"]]


async def begun(server: AgentServer, text: str = "Plan a trip") -> tuple[Any, str]:
    """Return alice's client, and her thread with one turn."""
    client = server.client("alice")
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "chat", input=said(text))
    return client, thread_id


async def at_work(client: Any, thread_id: str) -> str:
    """Start a run that is stopped before it ends; return its id when its node has begun."""
    run = await client.runs.create(thread_id, "chat", input=said("slow"))
    async with asyncio.timeout(PATIENCE):
        # There is nothing to wait for in another program but its state.
        while not (await client.threads.get_state(thread_id))["next"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return str(run["run_id"])


async def test_a_run_makes_the_users_session(signing_in: AgentServer) -> None:
    """It is titled, goes on, and its node knows whose it is."""
    client, thread_id = await begun(signing_in)
    values = await client.runs.wait(thread_id, "chat", input=said("In May"))
    assert contents(values) == ["Plan a trip", "1 of alice", "In May", "3 of alice"]
    (session,) = signing_in.sessions(thread_id)
    assert session == {**HERS, "title": "Plan a trip", "status": "idle"}


async def test_a_stream_and_a_joined_run(signing_in: AgentServer) -> None:
    """Runs that are streamed, in all modes, and that are created and joined, work."""
    client, thread_id = await begun(signing_in)
    modes = ["values", "messages", "updates", "events"]
    stream = client.runs.stream(thread_id, "chat", input=said("two"), stream_mode=modes)
    events = {part.event async for part in stream}
    assert "error" not in events
    run = await client.runs.create(thread_id, "chat", input=said("three"))
    values = await client.runs.join(thread_id, run["run_id"])
    assert contents(values)[-1] == "5 of alice"


async def test_state_and_history_are_the_users(signing_in: AgentServer) -> None:
    """Who is signed in reads their thread's state, now and then, and its history."""
    client, thread_id = await begun(signing_in)
    state = await client.threads.get_state(thread_id)
    assert contents(state["values"]) == ["Plan a trip", "1 of alice"]
    history = await client.threads.get_history(thread_id, limit=50)
    assert len(history) == 3
    older = history[1]["checkpoint"]["checkpoint_id"]
    then = await client.threads.get_state(thread_id, checkpoint_id=older)
    assert contents(then["values"]) == ["Plan a trip"]


async def test_a_state_is_updated(signing_in: AgentServer) -> None:
    """An update, sent with the user's display name as `user_id`, is the user's; the run goes on."""
    client, thread_id = await begun(signing_in)
    await client.threads.update_state(thread_id, said("Also to Naples"), as_node="node")
    values = await client.runs.wait(thread_id, "chat", input=said("In May"))
    assert contents(values)[2:] == ["Also to Naples", "In May", "4 of alice"]
    named = signing_in.db.execute(
        "SELECT DISTINCT user_sessions_owner(metadata) AS owner FROM checkpoints"
        " WHERE thread_id = %s",
        [thread_id],
    ).fetchall()
    assert {row["owner"] for row in named} <= {"alice", None}


async def test_time_travel(signing_in: AgentServer) -> None:
    """A run from an older checkpoint goes on from there."""
    client, thread_id = await begun(signing_in)
    (_, older, *_) = await client.threads.get_history(thread_id, limit=50)
    checkpoint_id = older["checkpoint"]["checkpoint_id"]
    values = await client.runs.wait(
        thread_id, "chat", input=said("instead"), checkpoint_id=checkpoint_id
    )
    assert contents(values) == ["Plan a trip", "instead", "2 of alice"]


async def test_a_copy_is_the_users_too(signing_in: AgentServer) -> None:
    """A copied thread has a session of the same user, and can be gone on with."""
    client, thread_id = await begun(signing_in)
    copy = (await client.threads.copy(thread_id))["thread_id"]
    assert [row["user_id"] for row in signing_in.sessions(copy)] == ["alice"]
    values = await client.runs.wait(copy, "chat", input=said("on the copy"))
    assert contents(values)[-1] == "3 of alice"


async def test_an_interrupt_is_answered(signing_in: AgentServer) -> None:
    """The session waits until it is, and is idle after that."""
    client = signing_in.client("alice")
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "asking", input=said("Delete it"))
    assert [row["status"] for row in signing_in.sessions(thread_id)] == ["interrupted"]
    values = await client.runs.wait(thread_id, "asking", command={"resume": "yes"})
    assert contents(values)[-1] == "You said yes"
    assert [row["status"] for row in signing_in.sessions(thread_id)] == ["idle"]


async def test_a_failed_run_is_an_error(signing_in: AgentServer) -> None:
    """Its session's status says so."""
    client = signing_in.client("alice")
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "failing", input=said("Go"), raise_error=False)
    assert [row["status"] for row in signing_in.sessions(thread_id)] == ["error"]


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_cancelled_run_is_over(signing_in: AgentServer, action: str) -> None:
    """The session is idle, and the next message is answered; a rollback leaves no word of it."""
    client, thread_id = await begun(signing_in)
    run_id = await at_work(client, thread_id)
    await client.runs.cancel(thread_id, run_id, wait=True, action=action)
    values = await client.runs.wait(thread_id, "chat", input=said("after"))
    slow = [] if action == "rollback" else ["slow"]
    assert contents(values)[2:-1] == [*slow, "after"]
    assert [row["status"] for row in signing_in.sessions(thread_id)] == ["idle"]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_second_message_takes_over(signing_in: AgentServer, strategy: str) -> None:
    """A run that a second message stops, or rolls back, does not have that one refused."""
    client, thread_id = await begun(signing_in)
    await at_work(client, thread_id)
    run = await client.runs.create(
        thread_id, "chat", input=said("second"), multitask_strategy=strategy
    )
    values = await client.runs.join(thread_id, run["run_id"])
    assert contents(values)[-2] == "second"


async def test_a_deleted_thread_is_gone_with_its_session(signing_in: AgentServer) -> None:
    """Nothing of it is left in any table."""
    client, thread_id = await begun(signing_in)
    await client.threads.delete(thread_id)
    for table in ("user_sessions", "session_threads", "checkpoints", "checkpoint_writes"):
        sql: Any = f"SELECT FROM {table} WHERE thread_id = %s"
        assert signing_in.db.execute(sql, [thread_id]).fetchall() == [], table


async def test_users_search_their_own(signing_in: AgentServer) -> None:
    """A search finds the user's own threads alone."""
    _, thread_id = await begun(signing_in)
    for user_id, found in (("alice", True), ("bob", False)):
        threads = await signing_in.client(user_id).threads.search(limit=1000)
        assert (thread_id in [thread["thread_id"] for thread in threads]) is found


@pytest.mark.parametrize("call", ["state", "history", "run", "update", "copy", "delete"])
async def test_another_users_thread_is_not_there(signing_in: AgentServer, call: str) -> None:
    """Whatever somebody else tries with it is refused, and changes nothing."""
    _, thread_id = await begun(signing_in)
    bob = signing_in.client("bob")
    calls = {
        "state": lambda: bob.threads.get_state(thread_id),
        "history": lambda: bob.threads.get_history(thread_id),
        "run": lambda: bob.runs.wait(thread_id, "chat", input=said("show me")),
        "update": lambda: bob.threads.update_state(thread_id, said("mine")),
        "copy": lambda: bob.threads.copy(thread_id),
        "delete": lambda: bob.threads.delete(thread_id),
    }
    before = stored(signing_in, thread_id)
    with pytest.raises(httpx.HTTPStatusError, match=r"40[349]|not found|Conflict"):
        await calls[call]()
    assert stored(signing_in, thread_id) == before


@pytest.mark.parametrize("key", ["user_id", "thread_id", "langgraph_auth_user_id"])
async def test_a_client_cannot_choose_who_it_is(signing_in: AgentServer, key: str) -> None:
    """What a client puts into the configurable opens nothing of another user's."""
    _, thread_id = await begun(signing_in, "secret")
    bob = signing_in.client("bob")
    own = (await bob.threads.create())["thread_id"]
    chosen = {"user_id": "alice", "thread_id": thread_id, "langgraph_auth_user_id": "alice"}[key]
    before = stored(signing_in, thread_id)
    result = await bob.runs.wait(
        own, "chat", input=said("Hi"), config={"configurable": {key: chosen}}, raise_error=False
    )
    assert "secret" not in str(result)
    assert stored(signing_in, thread_id) == before
    assert {row["user_id"] for row in signing_in.sessions(own)} <= {"bob"}


def stored(server: AgentServer, thread_id: str) -> list[Any]:
    """Return the rows of a thread's session and checkpoints."""
    checkpoints = server.db.execute(
        "SELECT checkpoint_id FROM checkpoints WHERE thread_id = %s", [thread_id]
    )
    return [*server.sessions(thread_id), *checkpoints.fetchall()]
