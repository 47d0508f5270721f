"""`delete_for_runs`: what runs saved goes, with all that hangs on it, and nothing else."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Command

from langgraph_sessions import AsyncSessionSaver
from tests.graphs import ask, chain, delta_graph, says
from tests.sessions.contents import HISTORY, Connection, count, everything, mentioning, said, stored
from tests.slow import slow_commits
from tests.support import Chat, config, psycopg_pool_options, texts

ALICE = config(user_id="alice")


async def test_a_runs_checkpoints_go_with_all_that_hangs_on_them(
    chat: Chat, db: Connection
) -> None:
    """The last run goes, subgraphs included, and the one before is the head again."""
    graph = chat.compile(chain(inner=chain(deep=says("from below")).compile(), outer=says("ok")))
    await chat.say("one", graph, user_id="alice", run_id="first")
    session = await chat.current()
    before = stored(db, session.thread_id)
    await chat.say("a secret", graph, user_id="alice", run_id="second")
    await chat.say("his", user_id="bob")
    his = stored(db, (await chat.current("bob")).thread_id)
    await chat.call(chat.saver, "delete_for_runs", ["second"])
    assert stored(db, session.thread_id) == before
    assert mentioning(db, b"a secret".hex()) == {}
    assert stored(db, (await chat.current("bob")).thread_id) == his
    assert await said(chat, graph, session) == ["one", "from below", "ok"]
    await chat.say("two", graph, user_id="alice")
    assert (await said(chat, graph, session))[3:] == ["two", "from below", "ok"]


async def test_an_early_run_goes_and_no_parent_dangles(chat: Chat, db: Connection) -> None:
    """A run in the middle goes; what came later is whole, and points to nothing that is gone."""
    for text in ("one", "two", "three"):
        await chat.say(text, user_id="alice", run_id=f"run {text}")
    session = await chat.current()
    await chat.call(chat.saver, "delete_for_runs", ["run two"])
    said_then = ["one", "1 so far", "two", "3 so far", "three", "5 so far"]
    assert await chat.history(session) == said_then
    dangling = db.execute("""
        SELECT FROM checkpoints AS c WHERE parent_checkpoint_id IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM checkpoints AS p WHERE p.thread_id = c.thread_id
            AND p.checkpoint_ns = c.checkpoint_ns AND p.checkpoint_id = c.parent_checkpoint_id)""")
    assert dangling.fetchall() == []
    for state in await chat.call(chat.graph, "get_state_history", session.config):
        assert texts(state) == said_then[: len(texts(state))]


async def test_an_answer_goes_with_the_run_that_gave_it(chat: Chat, db: Connection) -> None:
    """When the run that answered goes, its answer does, in a subgraph, too: the thread waits."""
    inner = chain(deep=says("from below"), ask=ask).compile()
    for number, builder in enumerate((chain(ask=ask), chain(inner=inner, outer=says("ok")))):
        graph = chat.compile(builder)
        user = f"user {number}"
        await chat.say("one", graph, user_id=user, run_id="asks")
        session = await chat.current(user)
        before = stored(db, session.thread_id)
        answered = config(user_id=user, run_id="answers")
        await chat.call(graph, "invoke", Command(resume="a secret"), answered)
        await chat.call(chat.saver, "delete_for_runs", ["answers"])
        assert stored(db, session.thread_id) == before
        assert mentioning(db, b"a secret".hex()) == {}
        (waiting,) = await chat.sessions(user)
        assert waiting.status == "interrupted"
        await chat.call(graph, "invoke", Command(resume="so"), session.config)
        assert "You said so" in await said(chat, graph, session)


async def test_what_led_to_a_run_that_stays_stays(chat: Chat, db: Connection) -> None:
    """Of two runs from one checkpoint, one goes: what was written there led to the other, too."""
    graph = chat.compile(chain(ask=ask))
    await chat.say("one", graph, user_id="alice", run_id="asks")
    session = await chat.current()
    waiting = (await chat.call(graph, "get_state", session.config)).config
    await chat.call(graph, "invoke", Command(resume="so"), config(user_id="alice", run_id="first"))
    again = {"configurable": {**waiting["configurable"], "user_id": "alice", "run_id": "second"}}
    await chat.call(graph, "invoke", Command(resume="no"), again)
    asked = waiting["configurable"]["checkpoint_id"]
    written = "SELECT * FROM checkpoint_writes WHERE checkpoint_id = %s ORDER BY task_id, idx"
    before = db.execute(written, [asked]).fetchall()
    await chat.call(chat.saver, "delete_for_runs", ["second"])
    assert db.execute(written, [asked]).fetchall() == before


async def test_a_session_dies_with_its_last_run(chat: Chat, db: Connection) -> None:
    """When nothing is left of a thread, its session goes; runs of nobody's threads go alike."""
    await chat.say("one", user_id="alice", run_id="hers")
    session = await chat.current()
    await chat.say("plain", thread_id="plain", run_id="nobody's")
    await chat.say("his", user_id="bob", run_id="his")
    await chat.call(chat.saver, "delete_for_runs", ["hers", "nobody's", "no such run"])
    assert [s.user_id for s in await chat.sessions(None)] == ["bob"]
    for table in HISTORY:
        assert count(db, table, session.thread_id) == count(db, table, "plain") == 0
    await chat.say("two", user_id="alice")
    assert (await chat.current()).thread_id != session.thread_id


async def test_deleting_no_runs_deletes_nothing(chat: Chat, db: Connection) -> None:
    """No ids, or unknown ones, change nothing; a single string is refused by name."""
    await chat.say("one", user_id="alice")
    before = everything(db)
    await chat.call(chat.saver, "delete_for_runs", [])
    await chat.call(chat.saver, "delete_for_runs", ["unknown", "'; --"])
    with pytest.raises(TypeError, match="run_ids"):
        await chat.call(chat.saver, "delete_for_runs", "abc")
    assert everything(db) == before


async def test_what_a_delta_channel_is_rebuilt_from_is_not_deleted(
    chat: Chat, db: Connection
) -> None:
    """A run that later ones need to rebuild a `DeltaChannel` is refused, and nothing changes."""
    graph = delta_graph(chat, 100, node=says("ok"))
    for text in ("one", "two", "three"):
        who = config(user_id="alice", run_id=text)
        await chat.call(graph, "invoke", {"messages": [HumanMessage(text)]}, who)
    await chat.say("his", user_id="bob", run_id="his")
    session = await chat.current()
    before = everything(db)
    for ids in (["one"], ["two"], ["one", "three"], ["two", "his"]):
        with pytest.raises(NotImplementedError, match=session.thread_id):
            await chat.call(chat.saver, "delete_for_runs", ids)
        assert everything(db) == before
    await chat.call(chat.saver, "delete_for_runs", ["three"])
    assert await said(chat, graph, session) == ["one", "ok", "two", "ok"]
    await chat.call(chat.saver, "delete_for_runs", ["one", "two"])
    assert await chat.sessions() == []


@pytest.mark.parametrize("tries", [20, pytest.param(300, marks=pytest.mark.long)])
async def test_deletions_beside_a_run_that_starts_do_not_lock_each_other_out(
    url: str, tries: int
) -> None:
    """Of two at once, as of a server that takes back a run which it stops, both succeed."""
    slow_commits(url, 0.01)
    chance = random.Random(tries)
    async with AsyncSessionSaver(url) as saver:
        graph = saver_graph(saver)
        for number in range(tries):
            who = config(user_id=f"user-{number}")
            await graph.ainvoke({"messages": ["one"]}, who)
            run_id = uuid.uuid4()
            named = {**who, "run_id": run_id, "metadata": {"run_id": str(run_id)}}
            run = asyncio.create_task(graph.ainvoke({"messages": ["two"]}, named))
            await asyncio.sleep(chance.random() * 0.04)  # As a server's client may be slow.
            run.cancel()
            deletions = [saver.adelete_for_runs([str(run_id)]) for _ in range(2)]
            await asyncio.gather(asyncio.wait([run]), *deletions)
    assert deadlocks(url) == 0


def saver_graph(saver: AsyncSessionSaver) -> Any:
    """Return a graph whose answer takes a moment."""

    async def answer(state: Any) -> Any:
        await asyncio.sleep(0.02)
        return says("ok")(state)

    return chain(answer=answer).compile(checkpointer=saver)


def deadlocks(url: str) -> int:
    """Return how many there were; a connection's are counted when it is closed."""
    counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    with psycopg.connect(url, **psycopg_pool_options()) as db:
        (row,) = db.execute(counted).fetchall()
    return int(row["deadlocks"])
