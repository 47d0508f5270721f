"""Forks of what led to a checkpoint: what they know, and what they can be answered."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langgraph_sessions import Session
from tests.graphs import ask, chain, delta_graph, says
from tests.sessions.contents import Connection, checkpoint_id, said, states, stored
from tests.support import Chat, config, texts

ALICE = config(user_id="alice")


async def test_a_fork_of_an_older_checkpoint_knows_nothing_later(
    chat: Chat, db: Connection
) -> None:
    """At each checkpoint, the fork has that state and the ones before it, and goes on."""
    for text in ("one", "two"):
        await chat.say(text, user_id="alice")
    source = await chat.current()
    before = stored(db, source.thread_id)
    path = await states(chat, chat.graph, source)
    assert len(path) == 6
    for length, state in enumerate(path, 1):
        fork = await chat.session(
            "fork_session", "alice", source.thread_id, checkpoint_id=checkpoint_id(state)
        )
        copied = await states(chat, chat.graph, fork)
        assert [s.values for s in copied] == [s.values for s in path[:length]]
        assert copied[-1].next == state.next
        (count,) = db.execute(
            "SELECT count(*) FROM checkpoints WHERE thread_id = %s", [fork.thread_id]
        ).fetchall()
        assert count["count"] == length
        await chat.say("three", **fork.config["configurable"])
        assert texts(await chat.call(chat.graph, "get_state", fork.config))[-2] == "three"
    assert stored(db, source.thread_id) == before


async def test_a_fork_holds_no_blob_of_what_came_later(chat: Chat, db: Connection) -> None:
    """No blob or write of a later checkpoint is in the fork: what was said later is not there."""
    await chat.say("one", user_id="alice")
    await chat.say("a secret", user_id="alice")
    source = await chat.current()
    first = (await states(chat, chat.graph, source))[2]
    fork = await chat.session(
        "fork_session", "alice", source.thread_id, checkpoint_id=checkpoint_id(first)
    )
    assert b"a secret".hex() in repr(stored(db, source.thread_id))
    assert "a secret" not in repr(stored(db, fork.thread_id))
    assert b"a secret".hex() not in repr(stored(db, fork.thread_id))


async def test_a_fork_of_where_a_run_waited_can_be_answered_otherwise(chat: Chat) -> None:
    """An interrupt that was answered since waits again in a fork of its checkpoint."""
    graph = chat.compile(chain(first=says("Well?"), ask=ask))
    await chat.say("one", graph, user_id="alice")
    source = await chat.current()
    waiting = (await states(chat, graph, source))[-1]
    await chat.call(graph, "invoke", Command(resume="so"), source.config)
    fork = await chat.session(
        "fork_session", "alice", source.thread_id, checkpoint_id=checkpoint_id(waiting)
    )
    assert {s.thread_id: s.status for s in await chat.sessions()} == {
        source.thread_id: "idle",
        fork.thread_id: "interrupted",
    }
    await chat.call(graph, "invoke", Command(resume="no"), ALICE)
    assert await said(chat, graph, fork) == ["one", "Well?", "You said no"]
    assert await said(chat, graph, source) == ["one", "Well?", "You said so"]


async def test_a_fork_of_where_a_subgraph_waited_can_be_answered_otherwise(chat: Chat) -> None:
    """So does one inside a subgraph; only what the subgraph did before it may be done again."""
    inner = chain(once=says("Well?"), ask=ask).compile()
    graph = chat.compile(chain(inner=inner, outer=says("ok")))
    await chat.say("one", graph, user_id="alice")
    source = await chat.current()
    waiting = (await states(chat, graph, source))[-1]
    await chat.call(graph, "invoke", Command(resume="so"), source.config)
    fork = await chat.session(
        "fork_session", "alice", source.thread_id, checkpoint_id=checkpoint_id(waiting)
    )
    await chat.call(graph, "invoke", Command(resume="no"), fork.config)
    assert await said(chat, graph, fork) == ["one", "Well?", "You said no", "ok"]


class Inner(TypedDict):
    """What a subgraph keeps to itself."""

    count: int


async def test_a_subgraphs_memory_forks_as_of_the_checkpoint(chat: Chat) -> None:
    """A subgraph with `checkpointer=True` remembers in the fork what it knew by then."""
    seen: list[int] = []

    def count(state: Inner) -> Inner:
        seen.append(state.get("count", 0) + 1)
        return {"count": seen[-1]}

    builder = StateGraph(Inner)
    builder.add_node("count", count)
    builder.add_edge(START, "count")
    graph = chat.compile(chain(inner=builder.compile(checkpointer=True), outer=says("ok")))
    for text in ("one", "two", "three"):
        await chat.say(text, graph, user_id="alice")
    source = await chat.current()
    path = await states(chat, graph, source)
    (after_one,) = (s for s in path if not s.next and texts(s) == ["one", "ok"])
    whole = await chat.session("fork_session", "alice", source.thread_id)
    part = await chat.session(
        "fork_session", "alice", source.thread_id, checkpoint_id=checkpoint_id(after_one)
    )
    seen.clear()
    for session in (whole, part, source):
        await chat.say("more", graph, **session.config["configurable"])
    assert seen == [4, 2, 4]


@pytest.mark.parametrize("snapshot_frequency", [2, 100])
async def test_delta_channels_fork(chat: Chat, snapshot_frequency: int) -> None:
    """A conversation kept as deltas forks at each of its checkpoints, and goes on."""
    graph = delta_graph(chat, snapshot_frequency, node=says("ok"))
    for text in ("one", "two"):
        await chat.call(graph, "invoke", {"messages": [HumanMessage(text)]}, ALICE)
    source = await chat.current()
    for state in [*await states(chat, graph, source), None]:
        fork = await chat.session(
            "fork_session",
            "alice",
            source.thread_id,
            checkpoint_id=checkpoint_id(state) if state else None,
        )
        expected = texts(state) if state else ["one", "ok", "two", "ok"]
        assert await said(chat, graph, fork) == expected
        if state is None or not state.next:
            await chat.call(graph, "invoke", {"messages": [HumanMessage("more")]}, fork.config)
            assert await said(chat, graph, fork) == [*expected, "more", "ok"]


async def test_a_fork_can_be_forked(chat: Chat) -> None:
    """A fork of a fork has the conversation, and deleting the ones before leaves it whole."""
    await chat.say("one", user_id="alice")
    sessions = [await chat.current()]
    for _ in range(2):
        sessions.append(await chat.session("fork_session", "alice", sessions[-1].thread_id))
    for session in sessions[:2]:
        await chat.session("delete_session", "alice", session.thread_id)
    assert await chat.history(sessions[2]) == ["one", "1 so far"]


async def answered_since(chat: Chat, graph: Any, *answers: str) -> tuple[Session, Session]:
    """Return a session and a fork of where it waited for the last of *answers*, given since."""
    await chat.say("one", graph, user_id="alice")
    source = await chat.current()
    for answer in answers:
        waiting = await chat.call(graph, "get_state", source.config)
        await chat.call(graph, "invoke", Command(resume=answer), source.config)
    given = {"checkpoint_id": checkpoint_id(waiting)}
    return source, await chat.session("fork_session", "alice", source.thread_id, **given)


def ask_twice(state: MessagesState) -> dict[str, Any]:
    """Ask two questions, one after the other."""
    return {"messages": [AIMessage(f"{interrupt('Name?')}, {interrupt('Age?')}")]}


async def test_a_fork_keeps_the_answers_to_earlier_questions(chat: Chat, db: Connection) -> None:
    """Where a node asked a second time, the fork has the first answer and waits for another."""
    graph = chat.compile(chain(ask=ask_twice, after=says("ok")))
    # A word that no random id holds.
    source, fork = await answered_since(chat, graph, "Bob", "forty-four")
    assert await said(chat, graph, source) == ["one", "Bob, forty-four", "ok"]
    assert b"forty-four".hex() not in repr(stored(db, fork.thread_id)["checkpoint_writes"])
    await chat.call(graph, "invoke", Command(resume="55"), fork.config)
    assert await said(chat, graph, fork) == ["one", "Bob, 55", "ok"]


async def test_a_fork_of_where_a_subgraph_waited_goes_on_in_it(chat: Chat) -> None:
    """A subgraph that asked goes on after what it had done, at any depth; so does a fork of it."""
    ran: list[str] = []

    def once(state: Any) -> dict[str, Any]:
        ran.append("once")
        return says("Well?")(state)

    deep = chain(once=once, ask=ask_twice, then=says("so")).compile()
    graph = chat.compile(chain(inner=chain(deep=deep).compile(), outer=says("ok")))
    source, fork = await answered_since(chat, graph, "Bob", "44")
    assert await said(chat, graph, source) == ["one", "Well?", "Bob, 44", "so", "ok"]
    again = await chat.session("fork_session", "alice", fork.thread_id)
    for answer, session in (("55", fork), ("66", again)):
        await chat.call(graph, "invoke", Command(resume=answer), session.config)
        assert await said(chat, graph, session) == ["one", "Well?", f"Bob, {answer}", "so", "ok"]
    assert ran == ["once"]


async def test_what_was_done_beside_a_question_is_not_done_again(chat: Chat) -> None:
    """A node that had run beside the one that asked has run in the fork, too."""
    ran: list[str] = []

    def beside(state: Any) -> dict[str, Any]:
        ran.append("beside")
        return says("beside")(state)

    builder = StateGraph(MessagesState).add_node("ask", ask).add_node("beside", beside)
    graph = chat.compile(builder.add_edge(START, "ask").add_edge(START, "beside"))
    _, fork = await answered_since(chat, graph, "so")
    await chat.call(graph, "invoke", Command(resume="no"), fork.config)
    assert sorted(await said(chat, graph, fork)) == ["You said no", "beside", "one"]
    assert ran == ["beside"]


async def test_a_task_of_what_asked_runs_again_in_a_fork(chat: Chat) -> None:
    """Nothing tells whether it ran before the question or after: no result of after is taken."""
    ran: list[str] = []

    @task
    def note(text: str) -> str:
        ran.append(text)
        return text

    @entrypoint(checkpointer=chat.saver)
    def flow(given: Any) -> str:
        before = note("before").result()
        return str(note(f"{before} {interrupt('Well?')}").result())

    @task
    async def anote(text: str) -> str:
        ran.append(text)
        return text

    @entrypoint(checkpointer=chat.saver)
    async def aflow(given: Any) -> str:
        before = await anote("before")
        return str(await anote(f"{before} {interrupt('Well?')}"))

    _, fork = await answered_since(chat, aflow if chat.is_async else flow, "so")
    graph = aflow if chat.is_async else flow
    assert await chat.call(graph, "invoke", Command(resume="no"), fork.config) == "before no"
    assert ran == ["before", "before so", "before", "before no"]
