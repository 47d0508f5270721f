"""Taking away: what runs saved, whole threads, and everything of a user; and its export."""

from __future__ import annotations

import asyncio
import json
import operator
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langgraph_sessions import SessionNotFoundError
from tests.savers.test_langgraph import DURABILITIES, ask, chain, delta_graph, says
from tests.sessions.test_forks import HISTORY, said, stored
from tests.support import TABLES, Chat, config, graph_builder, texts

Connection = psycopg.Connection[Any]

ALICE = config(user_id="alice")


def everything(db: Connection) -> dict[str, list[Any]]:
    """Return all rows of all tables."""
    tables: dict[str, Any] = {table: f"SELECT t::text FROM {table} AS t" for table in TABLES}
    return {table: sorted(row["t"] for row in db.execute(sql)) for table, sql in tables.items()}


def mentioning(db: Connection, text: str) -> dict[str, int]:
    """Return how many rows of each table have *text* in a column, if any do."""
    found = {table: sum(text in row for row in rows) for table, rows in everything(db).items()}
    return {table: count for table, count in found.items() if count}


def count(db: Connection, table: str, thread_id: str) -> int:
    """Count the rows of a thread."""
    sql: Any = f"SELECT count(*) FROM {table} WHERE thread_id = %s"
    row = db.execute(sql, [thread_id]).fetchone()
    assert row is not None
    return int(row["count"])


async def exported(chat: Chat, user_id: Any) -> list[dict[str, Any]]:
    """Return all records of an export."""
    records = chat.saver.sessions.export_user(user_id)
    if hasattr(records, "__aiter__"):
        return [record async for record in records]
    return await asyncio.to_thread(list, records)


class Blocking:
    """A node that waits until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def __call__(self, state: MessagesState) -> dict[str, Any]:
        self.entered.set()
        assert self.go_on.wait(60)
        return {"messages": [AIMessage("done")]}


@asynccontextmanager
async def under_way(chat: Chat, given: Any = None, **who: Any) -> AsyncIterator[Any]:
    """A run that waits in a node during the block, after which it goes on.

    What is yielded is the run, to be awaited after the block.
    """
    node = Blocking()
    graph = chat.compile(graph_builder(node))
    given = given or {"messages": ["at work"]}
    run = asyncio.create_task(chat.call(graph, "invoke", given, config(**who), durability="sync"))
    try:
        assert await asyncio.to_thread(node.entered.wait, 60)
        yield run
    finally:
        node.go_on.set()
        await asyncio.gather(run, return_exceptions=True)


# --- delete_for_runs --------------------------------------------------------------------------


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
            SELECT FROM checkpoints AS p WHERE p.thread_id = c.thread_id
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


# --- prune and delete_thread --------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["delete", "delete_all"])
async def test_prune_deletes_threads_with_their_sessions(
    chat: Chat, db: Connection, strategy: str
) -> None:
    """Both words delete whole threads and their sessions, and leave the others alone."""
    for thread_id in ("a", "b", "c"):
        await chat.say("one", user_id="alice", thread_id=thread_id)
    for thread_id in ("plain", "other"):
        await chat.say("one", thread_id=thread_id)
    kept = {name: stored(db, name) for name in ("c", "other")}
    await chat.call(chat.saver, "prune", ["a", "b", "plain", "nothing"], strategy=strategy)
    assert [s.thread_id for s in await chat.sessions(None)] == ["c"]
    assert {name: stored(db, name) for name in kept} == kept
    assert all(count(db, table, name) == 0 for table in HISTORY for name in ("a", "b", "plain"))


async def test_prune_to_the_latest_keeps_the_session(chat: Chat, db: Connection) -> None:
    """Keeping the newest checkpoint alone leaves the session and the whole conversation."""
    for text in ("one", "two"):
        await chat.say(text, user_id="alice")
    session = await chat.current()
    await chat.call(chat.saver, "prune", [session.thread_id], strategy="keep_latest")
    assert count(db, "checkpoints", session.thread_id) == 1
    assert await chat.current() == session
    assert await chat.history(session) == ["one", "1 so far", "two", "3 so far"]
    await chat.say("three", user_id="alice")
    assert (await chat.history(session))[4:] == ["three", "5 so far"]


async def test_an_unknown_strategy_is_refused(chat: Chat, db: Connection) -> None:
    """A word that is none, and threads in a single string, are refused; nothing is deleted."""
    await chat.say("one", user_id="alice", thread_id="a")
    before = everything(db)
    with pytest.raises(ValueError, match="strategy"):
        await chat.call(chat.saver, "prune", ["a"], strategy="all")
    with pytest.raises(TypeError, match="thread_ids"):
        await chat.call(chat.saver, "prune", "a", strategy="delete")
    assert everything(db) == before


# --- delete_user --------------------------------------------------------------------------------


async def test_nothing_of_a_deleted_user_is_left(chat: Chat, db: Connection) -> None:
    """Not one row in any table names the user: subgraphs, preferences, plain threads included."""
    graph = chat.compile(chain(inner=chain(ask=ask).compile(), outer=says("ok")))
    for user in ("alice", "bob"):
        await chat.say("one", graph, user_id=user)
        await chat.say("two", user_id=user, new_session=True)
        await chat.session("create_user_session", user, "empty")
        await chat.session("update_preferences", user, {"language": "it"})
    await chat.say("one", thread_id="nobody's")
    # As a plain saver leaves it behind: a thread that names the user, without a session.
    await chat.say("three", user_id="alice", thread_id="left")
    db.execute("DELETE FROM user_sessions WHERE thread_id = 'left'")
    expected = {
        "sessions": 3,
        **{
            key: sum("alice" in row or "left" in row for row in everything(db)[table])
            for key, table in zip(("checkpoints", "blobs", "writes"), HISTORY, strict=True)
        },
        "users": 1,
    }
    kept = {t: [row for row in rows if "bob" in row] for t, rows in everything(db).items()}
    assert await chat.session("delete_user", "alice") == expected
    assert mentioning(db, "alice") == mentioning(db, "left") == {}
    assert {t: [row for row in rows if "bob" in row] for t, rows in everything(db).items()} == kept
    assert count(db, "checkpoints", "nobody's") == 3
    assert await chat.session("get_preferences", "alice") == {}
    assert await chat.session("delete_user", "alice") == dict.fromkeys(expected, 0)
    with pytest.raises(SessionNotFoundError):
        await chat.session("get_current_user_session", "alice")


async def test_only_that_very_user_is_deleted(chat: Chat, db: Connection) -> None:
    """A user whose id is like a pattern, or a part of another's, takes nobody along."""
    for user in ("a", "ab", "%", "A", "a_b"):
        await chat.say("one", user_id=user)
    for user in ("%", "a"):
        counts = await chat.session("delete_user", user)
        assert counts["sessions"] == 1
    assert {s.user_id for s in await chat.sessions(None)} == {"ab", "A", "a_b"}


async def test_a_run_under_way_brings_nothing_back(chat: Chat, db: Connection) -> None:
    """A user is deleted while a run of theirs waits in a node: the run fails, and saves nothing."""
    await chat.say("one", user_id="alice")
    async with under_way(chat, user_id="alice") as run:
        counts = await chat.session("delete_user", "alice")
        assert counts["sessions"] == 1
    with pytest.raises(SessionNotFoundError):
        await run
    assert everything(db) == {table: [] for table in TABLES}


async def test_a_users_first_run_under_way_brings_nothing_back(chat: Chat, db: Connection) -> None:
    """So it is with a run that has just made its session."""
    async with under_way(chat, user_id="alice") as run:
        await chat.session("delete_user", "alice")
    with pytest.raises(SessionNotFoundError):
        await run
    assert everything(db) == {table: [] for table in TABLES}


async def test_an_erasure_is_all_or_nothing(chat: Chat, db: Connection) -> None:
    """When the last of its deletions fails, the first is undone, too."""
    await chat.say("one", user_id="alice")
    await chat.session("update_preferences", "alice", {"a": 1})
    db.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'not today'; END $$""")
    db.execute("CREATE TRIGGER no BEFORE DELETE ON session_users EXECUTE FUNCTION refuse()")
    before = everything(db)
    with pytest.raises(psycopg.Error, match="not today"):
        await chat.session("delete_user", "alice")
    assert everything(db) == before


# --- export_user --------------------------------------------------------------------------------


async def test_an_export_is_complete_json(chat: Chat) -> None:
    """Preferences, each session and each message come as JSON, in the order they were said."""
    await chat.session("update_preferences", "alice", {"language": "it"})
    await chat.say("one", user_id="alice", title="First")
    await chat.say("two", user_id="alice")
    await chat.say("three", user_id="alice", new_session=True)
    await chat.session("deactivate_session", "alice")
    await chat.say("his", user_id="bob")
    records = json.loads(json.dumps(await exported(chat, "alice")))
    assert records[0] == {
        "record": "preferences",
        "user_id": "alice",
        "preferences": {"language": "it"},
    }
    sessions = [record for record in records if record["record"] == "session"]
    assert [record["title"] for record in sessions] == ["three", "First"]
    for record, session in zip(sessions, await chat.sessions(), strict=True):
        assert {key: record[key] for key in session} == dict(session)
    said = [(r["thread_id"], r["role"], r["content"]) for r in records if r["record"] == "message"]
    newer, older = (record["thread_id"] for record in sessions)
    assert said == [
        (newer, "human", "three"),
        (newer, "ai", "1 so far"),
        (older, "human", "one"),
        (older, "ai", "1 so far"),
        (older, "human", "two"),
        (older, "ai", "3 so far"),
    ]
    assert [r["record"] for r in records].index("message") == 2  # After its session.


async def test_an_export_of_nobody_is_nothing(chat: Chat) -> None:
    """Of a user who has nothing, there is nothing."""
    assert await exported(chat, "nobody") == []


async def test_an_export_has_every_session(chat: Chat, db: Connection) -> None:
    """More sessions than a page are all there, once."""
    db.execute("""
        INSERT INTO user_sessions (user_id, thread_id, title)
        SELECT 'alice', 't' || i, 'Chat ' || i FROM generate_series(1, 250) AS i""")
    records = await exported(chat, "alice")
    titles = [record["title"] for record in records if record["record"] == "session"]
    assert len(titles) == len(set(titles)) == 250


async def test_an_export_is_streamed(chat: Chat) -> None:
    """A session is read when its turn comes, not before."""
    await chat.session("update_preferences", "alice", {"a": 1})
    await chat.say("one", user_id="alice", thread_id="older")
    await chat.say("two", user_id="alice", thread_id="newer")
    records = chat.saver.sessions.export_user("alice")
    if hasattr(records, "__aiter__"):
        head = [await anext(records) for _ in range(3)]
    else:
        head = await asyncio.to_thread(lambda: [next(records) for _ in range(3)])
    assert [record["record"] for record in head] == ["preferences", "session", "message"]
    await chat.say("late", user_id="alice", thread_id="older")
    if hasattr(records, "__aiter__"):
        rest = [record async for record in records]
    else:
        rest = await asyncio.to_thread(list, records)
    said = [r["content"] for r in rest if r["record"] == "message" and r["thread_id"] == "older"]
    assert said == ["one", "1 so far", "late", "3 so far"]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_export_has_what_a_waiting_run_said(chat: Chat, durability: str) -> None:
    """Messages of a run that waits at an interrupt are there, in a subgraph's, too."""
    graph = chat.compile(chain(first=says("Well?"), ask=ask))
    await chat.call(graph, "invoke", {"messages": ["one"]}, ALICE, durability=durability)
    said = [r["content"] for r in await exported(chat, "alice") if r["record"] == "message"]
    assert said == ["one", "Well?"]


@pytest.mark.parametrize("snapshot_frequency", [1, 3, 100])
async def test_an_export_has_delta_channels(chat: Chat, snapshot_frequency: int) -> None:
    """A conversation kept as deltas is exported whole, also while it waits."""
    graph = delta_graph(chat, snapshot_frequency, first=says("Well?"), ask=lambda s: ask(s))
    for given in ({"messages": [HumanMessage("one")]}, Command(resume="so")):
        await chat.call(graph, "invoke", given, ALICE)
    await chat.call(graph, "invoke", {"messages": [HumanMessage("two")]}, ALICE)
    said = [r["content"] for r in await exported(chat, "alice") if r["record"] == "message"]
    assert said == ["one", "Well?", "You said so", "two", "Well?"]


@pytest.mark.parametrize("kind", ["plain", "delta"])
async def test_a_removed_message_is_not_exported(chat: Chat, kind: str) -> None:
    """What a graph removed from its conversation is not in the export, nor is the removal."""

    def forget(state: Any) -> dict[str, Any]:
        return {"messages": [RemoveMessage(id=state["messages"][0].id), AIMessage("Forgotten")]}

    graph = (
        chat.compile(graph_builder(forget))
        if kind == "plain"
        else delta_graph(chat, 100, node=forget)
    )
    await chat.call(graph, "invoke", {"messages": [HumanMessage("a secret", id="1")]}, ALICE)
    session = await chat.current()
    assert texts(await chat.call(graph, "get_state", session.config)) == ["Forgotten"]
    said = [
        (r["role"], r["content"]) for r in await exported(chat, "alice") if r["record"] == "message"
    ]
    assert said == [("ai", "Forgotten")]


async def test_an_export_writes_whatever_messages_hold(chat: Chat) -> None:
    """Images, tool calls and results are exported as JSON, what JSON has no word for included."""
    call = {"name": "look", "args": {"at": "rome"}, "id": "1", "type": "tool_call"}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        HumanMessage([{"type": "text", "text": "See"}, image]),
        AIMessage("", tool_calls=[call]),
        ToolMessage("seen", tool_call_id="1", artifact={"pixels": b"\xff\xd8", "at": {1, 2}}),
    ]
    await chat.call(chat.graph, "invoke", {"messages": messages}, ALICE)
    records = json.loads(json.dumps(await exported(chat, "alice")))
    said = [record for record in records if record["record"] == "message"]
    assert [record["role"] for record in said] == ["human", "ai", "tool", "ai"]
    assert said[0]["content"][1] == image
    assert said[1]["message"]["tool_calls"][0]["args"] == {"at": "rome"}


async def test_a_thread_without_a_session_is_exported_as_it_is_deleted(
    chat: Chat, db: Connection
) -> None:
    """What `delete_user` would delete, a thread that only names the user, is in the export."""
    await chat.say("left behind", user_id="alice", thread_id="left")
    db.execute("DELETE FROM user_sessions")
    said = [r.get("content") for r in await exported(chat, "alice")]
    assert "left behind" in said


class Dicts(TypedDict):
    """A state whose messages are whatever was given."""

    messages: Annotated[list[Any], operator.add]


async def test_whatever_counts_as_a_message_is_read(chat: Chat) -> None:
    """Dicts, pairs, and what an entrypoint saved, are exported, and give a title to a backfill."""
    answer = {"messages": [{"role": "assistant", "content": "an answer"}]}
    builder = StateGraph(Dicts).add_node("node", lambda state: answer).add_edge(START, "node")
    graph = chat.compile(builder)

    @entrypoint(checkpointer=chat.saver)
    def flow(given: Any) -> Any:
        return {"messages": [*given["messages"], ("ai", "an answer")]}

    @entrypoint(checkpointer=chat.saver)
    async def aflow(given: Any) -> Any:
        return {"messages": [*given["messages"], ("ai", "an answer")]}

    said, asked = [{"role": "user", "content": "a question"}], list[Any]()
    for number, runs in enumerate((graph, aflow if chat.is_async else flow)):
        user = f"user {number}"
        for given in (said, [("user", "more")]) if runs is graph else (said,):
            await chat.call(runs, "invoke", {"messages": given}, config(user_id=user))
        records = [r for r in await exported(chat, user) if r["record"] == "message"]
        expected = [("human", "a question"), ("ai", "an answer")]
        if runs is graph:
            expected += [("human", "more"), ("ai", "an answer")]
        assert [(r["role"], r["content"]) for r in records] == expected
        (session,) = await chat.sessions(user)
        assert session.title == "a question"
        asked.clear()
        await chat.session("call_titler", lambda m: asked.append(m) or "T", session.thread_id)
        assert [message.text for message in asked[0]] == [text for _, text in expected]
