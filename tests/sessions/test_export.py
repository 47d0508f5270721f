"""Everything of a user as JSON: complete, streamed, whatever was said."""

from __future__ import annotations

import asyncio
import json
import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.types import Command

from tests.graphs import DURABILITIES, ask, chain, delta_graph, says
from tests.sessions.contents import Connection, exported
from tests.support import Chat, config, graph_builder, pair, texts

ALICE = config(user_id="alice")


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
    pair(db)
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
    pair(db)
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


class Trip(TypedDict):
    """A state with more than messages."""

    messages: Annotated[list[Any], operator.add]
    plan: dict[str, Any]
    heard: list[Any]


async def test_an_export_has_the_state_beside_messages(chat: Chat) -> None:
    """What else a thread holds comes after its messages, questions that wait included."""
    plan = {"to": "Rome", "days": 3}

    def node(state: Any) -> dict[str, Any]:
        return {"plan": plan, "heard": [HumanMessage("one")]}

    builder = StateGraph(Trip).add_node("node", node).add_node("ask", lambda s: ask(s))
    graph = chat.compile(builder.add_edge(START, "node").add_edge("node", "ask"))
    await chat.call(graph, "invoke", {"messages": [HumanMessage("one")]}, ALICE)
    records = json.loads(json.dumps(await exported(chat, "alice"), allow_nan=False))
    assert [record["record"] for record in records][-1] == "state"
    state = records[-1]
    assert (state["thread_id"], state["values"]) == (records[0]["thread_id"], {"plan": plan})
    assert [each["value"] for each in state["pending"]["__interrupt__"][0]] == ["Why?"]


async def test_a_thread_that_cannot_be_read_ends_no_export(chat: Chat, db: Connection) -> None:
    """It is a record that names it and says why, and all others are there."""
    for thread_id in ("whole", "broken", "whole too"):
        await chat.say(thread_id, user_id="alice", thread_id=thread_id)
    db.execute("UPDATE checkpoint_blobs SET blob = substr(blob, 1, 5) WHERE thread_id = 'broken'")
    records = await exported(chat, "alice")
    said = [r["thread_id"] for r in records if r["record"] == "message"]
    assert said == ["whole too"] * 2 + ["whole"] * 2
    (unreadable,) = [r for r in records if r["record"] == "unreadable"]
    assert unreadable["thread_id"] == "broken"
    assert unreadable["error"]
    assert len([r for r in records if r["record"] == "session"]) == 3
