"""Copies of whole conversations: forks for a user, and LangGraph's `copy_thread`."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.types import Command

from langgraph_sessions import AgentSessionManager, AsyncAgentSessionManager, SessionNotFoundError
from tests.counter import Counter
from tests.graphs import DURABILITIES, ask, chain, says
from tests.sessions.contents import HISTORY, Connection, checkpoint_id, said, states, stored
from tests.support import Chat, config, graph_builder, pair, past_pooler, texts

ALICE = config(user_id="alice")


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


async def test_a_fork_says_where_it_was_forked(chat: Chat) -> None:
    """The thread and the checkpoint, in lists, runs and JSON, too; a copy is no fork."""
    for text in ("one", "two"):
        await chat.say(text, user_id="alice", thread_id="t")
    first, *_, last = await states(chat, chat.graph, await chat.current())
    for at, given in ((last, {}), (first, {"checkpoint_id": checkpoint_id(first)})):
        fork = await chat.session("fork_session", "alice", "t", **given)
        assert fork.forked_from == ("t", checkpoint_id(at))
        assert dict(fork)["forked_from"] == ["t", checkpoint_id(at)]
        assert await chat.session("get_session", "alice", fork.thread_id) == fork
        assert (await chat.sessions(limit=1))[0].forked_from == fork.forked_from
        await chat.say("on", user_id="alice")
        assert (await chat.current()).forked_from == fork.forked_from
    (end, *_) = reversed(await states(chat, chat.graph, fork))
    again = await chat.session("fork_session", "alice", fork.thread_id)
    assert again.forked_from == (fork.thread_id, checkpoint_id(end))
    await chat.call(chat.saver, "copy_thread", again.thread_id, "copy")
    assert (await chat.session("get_session", "alice", "copy")).forked_from is None
    await chat.session("delete_session", "alice", "t")
    assert (await chat.session("get_session", "alice", fork.thread_id)).forked_from is not None
    assert (await chat.session("create_user_session", "alice")).forked_from is None


async def test_a_session_without_a_word_forks_to_another(chat: Chat) -> None:
    """A session without checkpoints forks, keeps its default title, and is titled later."""
    source = await chat.session("create_user_session", "alice")
    fork = await chat.session("fork_session", "alice", source.thread_id)
    assert fork.title == source.title == "New Chat"
    assert fork.forked_from is None  # There was nothing to go on from.
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
    pair(db)
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
