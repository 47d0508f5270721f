"""Copies of conversations: forks for a user, and LangGraph's `copy_thread`."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    Session,
    SessionNotFoundError,
)
from tests.savers.test_langgraph import DURABILITIES, ask, chain, delta_graph, says
from tests.savers.test_round_trips import Counter
from tests.support import Chat, config, graph_builder, past_pooler, texts

Connection = psycopg.Connection[Any]

ALICE = config(user_id="alice")
HISTORY = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")


def stored(db: Connection, thread_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row of LangGraph's that a thread has, but for the thread id."""
    found = {}
    for table in HISTORY:
        sql: Any = f"SELECT to_jsonb(t) - 'thread_id' AS row FROM {table} AS t WHERE thread_id = %s"
        found[table] = sorted((row["row"] for row in db.execute(sql, [thread_id])), key=repr)
    return found


async def said(chat: Chat, graph: Any, session: Session) -> list[str]:
    """Return what *graph* finds said in a session."""
    return texts(await chat.call(graph, "get_state", session.config))


async def states(chat: Chat, graph: Any, session: Session) -> list[Any]:
    """Return the states of a session, oldest first."""
    return list(reversed(await chat.call(graph, "get_state_history", session.config)))


def checkpoint_id(state: Any) -> str:
    """Return the id of a state's checkpoint."""
    return str(state.config["configurable"]["checkpoint_id"])


# --- Forks of the whole conversation ----------------------------------------------------------


async def test_a_fork_is_a_new_current_session_that_goes_on(chat: Chat, db: Connection) -> None:
    """A fork has all that was said, becomes current, and both go on each by itself."""
    for text in ("one", "two"):
        await chat.say(text, user_id="alice")
    source = await chat.current()
    before = stored(db, source.thread_id)
    fork = await chat.session("fork_session", "alice", source.thread_id)
    assert fork.thread_id.startswith("alice_")
    assert (fork.thread_id != source.thread_id, fork.title) == (True, source.title)
    assert await chat.current() == fork
    assert stored(db, fork.thread_id) == before == stored(db, source.thread_id)
    await chat.say("three", user_id="alice")
    assert await chat.history(fork) == ["one", "1 so far", "two", "3 so far", "three", "5 so far"]
    assert stored(db, source.thread_id) == before
    await chat.say("other", **source.config["configurable"])
    assert (await chat.history(source))[4:] == ["other", "5 so far"]
    assert (await chat.history(fork))[4:] == ["three", "5 so far"]


async def test_a_fork_keeps_the_sessions_metadata_and_may_be_named(chat: Chat) -> None:
    """Metadata go with the copy; a title given to it stays, and the source's row is untouched."""
    source = await chat.session("create_user_session", "alice", "CV", metadata={"a": [1]})
    await chat.say("one", user_id="alice")
    source = await chat.current()
    fork = await chat.session("fork_session", "alice", source.thread_id, title="CV, bolder")
    assert (fork.title, fork.metadata, fork.is_active) == ("CV, bolder", {"a": [1]}, True)
    await chat.say("two", user_id="alice")
    assert (await chat.current()).title == "CV, bolder"
    assert await chat.session("get_session", "alice", source.thread_id) == source


async def test_a_session_without_a_word_forks_to_another(chat: Chat) -> None:
    """A session without checkpoints forks, keeps its default title, and is titled later."""
    source = await chat.session("create_user_session", "alice")
    fork = await chat.session("fork_session", "alice", source.thread_id)
    assert fork.title == source.title == "New Chat"
    await chat.say("Plan a trip", user_id="alice")
    assert (await chat.current()).title == "Plan a trip"
    assert (await chat.session("get_session", "alice", source.thread_id)).title == "New Chat"


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_interrupt_waits_in_the_fork_too(
    chat: Chat, db: Connection, durability: str
) -> None:
    """A pending interrupt is resumed in the fork, and the source still waits, byte for byte."""
    graph = chat.compile(chain(first=says("Well?"), ask=ask))
    await chat.call(graph, "invoke", {"messages": ["one"]}, ALICE, durability=durability)
    source = await chat.current()
    before = stored(db, source.thread_id)
    fork = await chat.session("fork_session", "alice", source.thread_id)
    statuses = {session.thread_id: session.status for session in await chat.sessions()}
    assert statuses == {source.thread_id: "interrupted", fork.thread_id: "interrupted"}
    resumed = await chat.call(graph, "invoke", Command(resume="so"), ALICE, durability=durability)
    assert texts(resumed) == ["one", "Well?", "You said so"]
    assert await said(chat, graph, fork) == ["one", "Well?", "You said so"]
    assert stored(db, source.thread_id) == before
    await chat.call(graph, "invoke", Command(resume="no"), source.config)
    assert await said(chat, graph, source) == ["one", "Well?", "You said no"]


async def test_an_interrupt_in_a_subgraph_waits_in_the_fork_too(chat: Chat, db: Connection) -> None:
    """A run that waits inside a subgraph goes on there in the fork, without its first node."""
    ran: list[str] = []

    def once(state: Any) -> dict[str, Any]:
        ran.append("once")
        return says("Well?")(state)

    inner = chain(once=once, ask=ask).compile()
    graph = chat.compile(chain(inner=inner, outer=says("ok")))
    await chat.say("one", graph, user_id="alice")
    source = await chat.current()
    before = stored(db, source.thread_id)
    fork = await chat.session("fork_session", "alice", source.thread_id)
    await chat.call(graph, "invoke", Command(resume="so"), fork.config)
    assert await said(chat, graph, fork) == ["one", "Well?", "You said so", "ok"]
    assert ran == ["once"]
    assert stored(db, source.thread_id) == before


# --- Forks of what led to a checkpoint --------------------------------------------------------


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


# --- What cannot be forked ----------------------------------------------------------------------


async def test_what_cannot_be_forked_is_refused(chat: Chat, db: Connection) -> None:
    """Another user's session is not found; a checkpoint of another thread is named; nothing new."""
    await chat.say("hers", user_id="alice")
    hers = await chat.current()
    await chat.say("his", user_id="bob")
    his = await chat.current("bob")
    await chat.say("plain", thread_id="plain")
    (other,) = (await states(chat, chat.graph, his))[-1:]
    for user, thread_id in (("bob", hers.thread_id), ("alice", "nothing"), ("alice", "plain")):
        with pytest.raises(SessionNotFoundError):
            await chat.session("fork_session", user, thread_id)
    for wrong in (checkpoint_id(other), "1ef00000-0000-6000-8000-000000000000", "'; --"):
        with pytest.raises(ValueError, match="checkpoint_id") as raised:
            await chat.session("fork_session", "alice", hers.thread_id, checkpoint_id=wrong)
        assert wrong in str(raised.value)
    assert len(await chat.sessions(None)) == 2
    (count,) = db.execute("SELECT count(DISTINCT thread_id) FROM checkpoints").fetchall()
    assert count["count"] == 3


async def test_a_subgraphs_checkpoint_is_none_of_the_conversations(
    chat: Chat, db: Connection
) -> None:
    """The id of a checkpoint in a subgraph's namespace is not one to fork at."""
    graph = chat.compile(chain(inner=chain(shallow=says("inside")).compile()))
    await chat.say("one", graph, user_id="alice")
    session = await chat.current()
    row = db.execute("SELECT checkpoint_id FROM checkpoints WHERE checkpoint_ns <> ''").fetchone()
    assert row is not None
    given = {"checkpoint_id": row["checkpoint_id"]}
    with pytest.raises(ValueError, match="checkpoint_id"):
        await chat.session("fork_session", "alice", session.thread_id, **given)


# --- Large threads ------------------------------------------------------------------------------


class Bytes(Counter):
    """A proxy before the server that counts the bytes that the server sends."""

    sent = 0

    async def _answer(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await server.read(65536):
            self.sent += len(data)
            client.write(data)
            await client.drain()
        client.close()
        await client.wait_closed()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_thread_of_2000_checkpoints_forks_inside_the_database(
    url: str, db: Connection, kind: str
) -> None:
    """Twenty megabytes of blobs are copied, and not a hundredth of them reaches this process."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        graph = graph_builder().compile(checkpointer=plain)
        graph.invoke({"messages": ["one"]}, config(thread_id="t", user_id="alice"))
    db.execute("INSERT INTO user_sessions (user_id, thread_id, title) VALUES ('alice', 't', 'T')")
    db.execute("""
        INSERT INTO checkpoints
        SELECT thread_id, '', 'f' || lpad(i::text, 6, '0'),
            CASE WHEN i = 1 THEN checkpoint_id ELSE 'f' || lpad((i - 1)::text, 6, '0') END, type,
            jsonb_set(checkpoint, '{channel_versions,messages}', to_jsonb(i::text)), metadata
        FROM (SELECT * FROM checkpoints ORDER BY checkpoint_id DESC LIMIT 1) AS head,
            generate_series(1, 2000) AS i""")
    db.execute("""
        INSERT INTO checkpoint_blobs
        SELECT 't', '', 'messages', i::text, 'bytes', convert_to(repeat(md5(i::text), 320), 'UTF8')
        FROM generate_series(1, 2000) AS i""")
    folder = Path(tempfile.mkdtemp(prefix="lgs-"))  # A socket's path must be short.
    proxy = Bytes(url, folder)
    async with proxy.listening():
        given: dict[str, Any] = {"checkpoint_id": "f001500"}
        if kind == "sync":
            manager = AgentSessionManager(proxy.conninfo)
            fork = manager.fork_session
            whole = await asyncio.to_thread(fork, "alice", "t")
            part = await asyncio.to_thread(fork, "alice", "t", **given)
            await asyncio.to_thread(manager.close)
        else:
            amanager = AsyncAgentSessionManager(proxy.conninfo)
            whole = await amanager.fork_session("alice", "t")
            part = await amanager.fork_session("alice", "t", **given)
            await amanager.close()
    shutil.rmtree(folder)
    assert proxy.sent < 200_000
    assert stored(db, whole.thread_id) == stored(db, "t")
    counted = "SELECT count(*) FROM checkpoint_blobs WHERE thread_id = %s AND type = 'bytes'"
    rows = [db.execute(counted, [s.thread_id]).fetchone() for s in (whole, part)]
    assert [row["count"] for row in rows if row] == [2000, 1500]


# --- copy_thread --------------------------------------------------------------------------------


async def test_a_copied_thread_belongs_to_the_same_user(chat: Chat, db: Connection) -> None:
    """`copy_thread` copies everything byte for byte, and makes a session of the same user."""
    graph = chat.compile(chain(inner=chain(shallow=says("Well?"), ask=ask).compile()))
    await chat.say("one", graph, user_id="alice")
    source = await chat.current()
    await chat.call(chat.saver, "copy_thread", source.thread_id, "copy")
    assert stored(db, "copy") == stored(db, source.thread_id)
    copied = await chat.session("get_session", "alice", "copy")
    assert (copied.title, copied.user_id) == (source.title, "alice")
    with pytest.raises(SessionNotFoundError):
        await chat.session("get_session", "bob", "copy")
    with pytest.raises(SessionNotFoundError):
        await chat.say("two", thread_id="copy")
    await chat.call(graph, "invoke", Command(resume="so"), copied.config)
    assert (await said(chat, graph, copied))[-1] == "You said so"


async def test_nobodys_thread_copies_to_one_of_nobody(chat: Chat, db: Connection) -> None:
    """A thread without a session copies without one; a thread that is not there, to nothing."""
    await chat.say("one", thread_id="plain")
    await chat.call(chat.saver, "copy_thread", "plain", "copy")
    assert stored(db, "copy") == stored(db, "plain")
    assert await chat.sessions(None) == []
    assert (await chat.say("two", thread_id="copy"))["messages"][-1].content == "3 so far"
    await chat.call(chat.saver, "copy_thread", "nothing", "copy of nothing")
    assert stored(db, "copy of nothing") == {key: [] for key in HISTORY}


async def test_no_thread_is_copied_over(chat: Chat, db: Connection) -> None:
    """A target that has checkpoints, or a session, is refused by name and left as it is."""
    await chat.say("one", user_id="alice", thread_id="source")
    await chat.say("other", thread_id="plain")
    await chat.session("create_user_session", "bob", thread_id="empty")
    before = {name: stored(db, name) for name in ("source", "plain", "empty")}
    for target in before:
        with pytest.raises(ValueError, match=target):
            await chat.call(chat.saver, "copy_thread", "source", target)
    assert {name: stored(db, name) for name in before} == before
    assert len(await chat.sessions(None)) == 2
