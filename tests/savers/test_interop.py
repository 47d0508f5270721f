"""Beside LangGraph's own savers: the same results, the same rows, and the same rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import create_checkpoint, empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import TASKS
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langgraph_sessions import SessionNotFoundError
from tests.savers.numbered import Numbered
from tests.savers.saved import ALICE, CHECKPOINT_TABLES, Connection, counts
from tests.support import Chat, config, graph_builder, past_pooler, psycopg_pool_options, texts

# --- Without a user, the same as PostgresSaver --------------------------------------------------


@pytest.fixture
async def plain(chat: Chat, empty_url: str) -> AsyncIterator[Chat]:
    """The same conversations with LangGraph's own saver, on a database of its own."""
    if chat.is_async:
        async with AsyncPostgresSaver.from_conn_string(past_pooler(empty_url)) as saver:
            await saver.setup()
            theirs = Chat(saver)  # type: ignore[arg-type]
            theirs.is_async = True
            yield theirs
    else:
        with PostgresSaver.from_conn_string(past_pooler(empty_url)) as sync_saver:
            sync_saver.setup()
            yield Chat(sync_saver)  # type: ignore[arg-type]


def busy_graph(chat: Chat) -> Any:
    """Return a graph with a subgraph, an interrupt and ids that do not change."""

    def say(text: str) -> Callable[[MessagesState], dict[str, Any]]:
        def node(state: MessagesState) -> dict[str, Any]:
            return {"messages": [AIMessage(text, id=f"{text} {len(state['messages'])}")]}

        return node

    def ask(state: MessagesState) -> dict[str, Any]:
        return say(interrupt("Why?"))(state)

    inner = StateGraph(MessagesState)
    inner.add_sequence([("shallow", say("inside")), ("ask", ask)])
    inner.add_edge(START, "shallow")
    outer = StateGraph(MessagesState)
    outer.add_sequence([("inner", inner.compile()), ("last", say("last"))])
    outer.add_node("beside", say("beside"))
    outer.add_edge(START, "inner")
    outer.add_edge(START, "beside")
    return chat.compile(outer)


async def everything(chat: Chat) -> list[Any]:
    """Do a bit of everything without a user, and return all that was seen."""
    graph = busy_graph(chat)
    thread = {**config(thread_id="one", tenant="acme"), "metadata": {"tag": "x"}}
    seen: list[Any] = []

    async def do(method: str, *args: Any, target: Any = graph, **options: Any) -> Any:
        seen.append(await chat.call(target, method, *args, **options))
        return seen[-1]

    def said(text: str) -> dict[str, Any]:
        return {"messages": [HumanMessage(text, id=text)]}

    await do("invoke", said("one"), thread, durability="sync")
    await do("get_state", thread, subgraphs=True)
    await do("invoke", Command(resume="so"), thread, durability="sync")
    await do("stream", said("two"), thread, stream_mode="values", durability="sync")
    await do("invoke", Command(resume="no"), thread, durability="exit")
    history = await do("get_state_history", thread)
    await do("update_state", history[-2].config, said("fork"), as_node=START)
    await do("get_state", thread)
    await do("invoke", said("gone"), config(thread_id="gone"), durability="sync")
    await do("delete_thread", "gone", target=chat.saver)
    await do("list", thread, filter={"source": "loop"}, limit=3, target=chat.saver)
    await do("list", thread, before=history[2].config, target=chat.saver)
    await do("invoke", said("pruned"), config(thread_id="pruned"), durability="sync")
    await do("prune", ["pruned"], strategy="keep_latest", target=chat.saver)
    await do("get_state_history", config(thread_id="pruned"))
    return seen


ORDER = "thread_id, regexp_replace(checkpoint_ns, ':[0-9a-f-]+', '', 'g')"
ROWS = {
    "checkpoints": f"SELECT * FROM checkpoints ORDER BY {ORDER}, checkpoint_id",
    "checkpoint_writes": f"SELECT * FROM checkpoint_writes ORDER BY {ORDER}, checkpoint_id, "
    "task_path, idx",
    "checkpoint_blobs": f"SELECT * FROM checkpoint_blobs ORDER BY {ORDER}, channel, version",
}


def rows(url: str, numbered: Numbered) -> dict[str, list[str]]:
    """Return what the three tables hold, blobs decoded, each sorted once it is numbered."""
    load = JsonPlusSerializer().loads_typed
    found: dict[str, list[str]] = {}
    with psycopg.connect(url, **psycopg_pool_options()) as db:
        for table, query in ROWS.items():
            for row in db.execute(query):  # type: ignore[arg-type]
                if row.get("blob") is not None:
                    row["blob"] = load((row["type"], row["blob"]))
                found.setdefault(table, []).append(numbered(row))
    return {table: sorted(contents) for table, contents in found.items()}


async def test_without_a_user_results_are_the_parents(chat: Chat, plain: Chat) -> None:
    """Without a user, every call returns what it returns with LangGraph's saver."""
    ours, theirs = Numbered(), Numbered()
    expected = [theirs(result) for result in await everything(plain)]
    assert [ours(result) for result in await everything(chat)] == expected


async def test_without_a_user_rows_are_the_parents(
    chat: Chat, plain: Chat, url: str, empty_url: str, db: Connection
) -> None:
    """Without a user, the three tables hold what LangGraph's saver puts there, ours nothing."""
    await everything(plain)
    await everything(chat)
    expected = rows(empty_url, Numbered())
    assert {table for table, found in expected.items() if len(found) > 5} == set(CHECKPOINT_TABLES)
    assert rows(url, Numbered()) == expected
    for table in ("user_sessions", "session_threads", "session_users", "session_reservations"):
        assert db.execute(f"SELECT FROM {table}".encode()).rowcount == 0


@pytest.mark.parametrize("who", [{"user_id": "alice"}, {}], ids=["user", "nobody"])
async def test_a_plain_saver_reads_what_ours_wrote(
    chat: Chat, url: str, who: dict[str, Any]
) -> None:
    """`PostgresSaver` reads a thread of ours, user or not, and may go on with it."""
    await chat.say("one", **who, thread_id="t")
    thread = config(**who, thread_id="t")
    ours = await chat.call(chat.graph, "get_state_history", thread)
    with PostgresSaver.from_conn_string(past_pooler(url)) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        theirs = [*graph.get_state_history(config(thread_id="t"))]
        assert [(s.values, s.metadata, s.next) for s in theirs] == [
            (s.values, s.metadata, s.next) for s in ours
        ]
        graph.invoke({"messages": ["two"]}, config(thread_id="t"))
    state = await chat.say("three", **who, thread_id="t")
    assert texts(state) == ["one", "1 so far", "two", "3 so far", "three", "5 so far"]


# --- Deleting and pruning -----------------------------------------------------------------------

DELETIONS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "delete_thread": ("delete_thread", ("hers",), {}),
    "prune delete": ("prune", (["hers"],), {"strategy": "delete"}),
    "prune delete_all": ("prune", (["hers"],), {"strategy": "delete_all"}),
}


@pytest.mark.parametrize("way", DELETIONS)
async def test_deleting_a_thread_deletes_its_session(chat: Chat, db: Connection, way: str) -> None:
    """With its thread a session is gone, from the cache too; the others stay as they were."""
    for user, thread_id in (("alice", "kept"), ("bob", "his"), ("alice", "hers")):
        await chat.say("one", user_id=user, thread_id=thread_id)
    before = [counts(db, thread_id) for thread_id in ("kept", "his")]
    cached = await chat.session("get_current_user_session", "alice")
    assert cached.thread_id == "hers"
    assert all(counts(db, "hers").values())
    method, args, options = DELETIONS[way]
    await chat.call(chat.saver, method, *args, **options)
    assert not any(counts(db, "hers").values())
    assert [counts(db, thread_id) for thread_id in ("kept", "his")] == before
    current = await chat.session("get_current_user_session", "alice")
    assert current.thread_id == "kept"
    with pytest.raises(SessionNotFoundError):
        await chat.session("get_session", "alice", "hers")


async def test_after_its_only_thread_is_deleted_a_user_starts_afresh(chat: Chat) -> None:
    """The run after a deletion starts an empty conversation with another thread id."""
    await chat.say("one", user_id="alice")
    first = await chat.current()
    await chat.call(chat.saver, "delete_thread", first.thread_id)
    await chat.say("two", user_id="alice")
    (session,) = await chat.sessions()
    assert session.thread_id != first.thread_id
    assert await chat.history(session) == ["two", "1 so far"]


async def test_pruning_to_the_latest_keeps_the_session(chat: Chat, db: Connection) -> None:
    """`prune` by default leaves a session with its newest checkpoint, to go on from."""
    await chat.say("one", user_id="alice", thread_id="t")
    before = await chat.current()
    await chat.call(chat.saver, "prune", ["t"])
    assert counts(db, "t")["checkpoints"] == 1
    assert await chat.current() == before
    await chat.say("two", user_id="alice")
    assert await chat.history(before) == ["one", "1 so far", "two", "3 so far"]


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        (("hers",), {}, TypeError),
        (("hers",), {"strategy": "delete"}, TypeError),
        ((["hers"],), {"strategy": "oldest"}, ValueError),
    ],
    ids=["a string", "a string to delete", "unknown strategy"],
)
async def test_a_wrong_prune_changes_nothing(
    chat: Chat, db: Connection, args: Any, options: Any, error: type[Exception]
) -> None:
    """Single strings and unknown strategies are refused, as the parent does."""
    await chat.say("one", user_id="alice", thread_id="hers")
    before = counts(db, "hers")
    with pytest.raises(error):
        await chat.call(chat.saver, "prune", *args, **options)
    assert counts(db, "hers") == before


# --- Checkpoints of older versions ----------------------------------------------------------------


async def put_old_sends(saver: Chat, **who: Any) -> dict[str, Any]:
    """Save two checkpoints as LangGraph did before version 4, and return the second's config.

    The sends were then writes of the checkpoint before.
    """
    first = empty_checkpoint()
    assert first["v"] < 4
    at = config(**who, thread_id="t", checkpoint_ns="")
    saved = await saver.call(saver.saver, "put", at, first, {}, {})
    writes = [(TASKS, "send-1"), (TASKS, "send-2")]
    await saver.call(saver.saver, "put_writes", saved, writes, "task-1")
    await saver.call(saver.saver, "put_writes", saved, [(TASKS, "send-3")], "task-2")
    second = create_checkpoint(first, {}, 1)
    result = await saver.call(saver.saver, "put", saved, second, {}, {})
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize("who", [{"user_id": "alice"}, {}], ids=["user", "nobody"])
async def test_pending_sends_of_old_checkpoints_are_read(chat: Chat, who: dict[str, Any]) -> None:
    """A checkpoint from before version 4 comes with the sends that its parent keeps."""
    saved = await put_old_sends(chat, **who)
    expected = {TASKS: ["send-1", "send-2", "send-3"]}
    newest = config(**who, thread_id="t", checkpoint_ns="")
    for asked in (saved, newest, *([ALICE] if who else [])):
        found = await chat.call(chat.saver, "get_tuple", asked)
        assert found.checkpoint["channel_values"] == expected
        assert TASKS in found.checkpoint["channel_versions"]
        assert found.config == saved
    second, first = await chat.call(chat.saver, "list", newest)
    assert (second.checkpoint["channel_values"], first.checkpoint["channel_values"]) == (
        expected,
        {},
    )


async def test_another_users_old_checkpoint_stays_theirs(chat: Chat) -> None:
    """The detour for old checkpoints lets nobody read another user's sends."""
    saved = await put_old_sends(chat, user_id="alice")
    stolen = {**saved["configurable"], "user_id": "bob"}
    with pytest.raises(SessionNotFoundError):
        await chat.call(chat.saver, "get_tuple", config(**stolen))
    del stolen["user_id"]
    with pytest.raises(SessionNotFoundError):
        await chat.call(chat.saver, "get_tuple", config(**stolen))
