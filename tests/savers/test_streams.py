"""Batches, streams and events: each user's run is their own, and nothing of ours shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.graph import MessagesState

from tests.graphs import Model, chain
from tests.savers.saved import ALICE, Connection, conversation, namespaces, only_session
from tests.support import Chat, config, texts


async def test_a_batch_of_users(chat: Chat, db: Connection) -> None:
    """`batch` takes each input to its own user's session."""
    users = [f"user-{number}" for number in range(8)]
    for turn in ("one", "two"):
        given = [{"messages": [f"{turn} of {user}"]} for user in users]
        await chat.call(chat.graph, "batch", given, [config(user_id=user) for user in users])
    sessions = {session.user_id: session for session in await chat.sessions(None)}
    assert sorted(sessions) == users
    assert namespaces(db) == {session.thread_id: {""} for session in sessions.values()}
    for user, session in sessions.items():
        expected = [f"one of {user}", "1 so far", f"two of {user}", "3 so far"]
        assert await chat.history(session) == expected


async def test_a_config_bound_to_a_graph_is_left_alone(chat: Chat) -> None:
    """`with_config` says the same at every run: here, to start a new session."""
    given = config(user_id="alice", new_session=True)
    bound = chat.graph.with_config(given)
    for text in ("one", "two"):
        await chat.call(bound, "invoke", {"messages": [text]})
    sessions = await chat.sessions()
    assert [await chat.history(session) for session in sessions] == [
        ["two", "1 so far"],
        ["one", "1 so far"],
    ]
    assert given == config(user_id="alice", new_session=True)


@pytest.mark.parametrize("asks", [{}, {"thread_id": "hers"}], ids=["current", "thread"])
async def test_metadata_is_not_where_a_run_goes(
    chat: Chat, db: Connection, asks: dict[str, Any]
) -> None:
    """A thread id in the config's metadata, the caller's own notes, takes no run anywhere."""
    noted = {**config(user_id="alice", **asks), "metadata": {"thread_id": "elsewhere"}}
    for text in ("one", "two"):
        await chat.call(chat.graph, "invoke", {"messages": [text]}, noted)
    session = await only_session(chat, db)
    assert session.thread_id != "elsewhere"
    assert await chat.history(session) == ["one", "1 so far", "two", "3 so far"]


async def test_a_graph_may_be_part_of_a_chain(chat: Chat, db: Connection) -> None:
    """A runnable around the graph passes the user on, run after run, to the one session."""

    def again(state: Any) -> Any:
        return {"messages": ["two"]}

    both = chat.graph | RunnableLambda(again) | chat.graph
    assert len(texts(await chat.call(both, "invoke", {"messages": ["one"]}, ALICE))) == 4
    await chat.call(both, "invoke", {"messages": ["three"]}, ALICE)
    session = await only_session(chat, db)
    said = [text for text in await chat.history(session) if "so far" not in text]
    assert said == ["one", "two", "three", "two"]


MODES = ["values", "updates", "messages", "custom", "debug", "checkpoints", "tasks"]


def parts(value: Any) -> Iterator[Any]:
    """Yield *value* and all that can be reached in it."""
    yield value
    if isinstance(value, Mapping):
        inside = [*value, *value.values()]
    elif isinstance(value, list | tuple | set):
        inside = list(value)
    else:
        inside = list(getattr(value, "__dict__", {}).values())
    for part in inside:
        yield from parts(part)


def ours(event: Any) -> list[Any]:
    """Return what of this package's own an event shows, ids aside."""
    return [
        part
        for part in parts(event)
        if (not isinstance(part, str) and "langgraph_sessions" in type(part).__module__)
        or (isinstance(part, str) and "langgraph_sessions" in part)
    ]


def streaming_graph(chat: Chat) -> Any:
    """Return a graph with something for every stream mode, in a subgraph too."""

    def node(state: MessagesState) -> dict[str, Any]:
        get_stream_writer()("working")
        return {"messages": [Model().invoke([AIMessage("hm")])]}

    inner = chain(shallow=node).compile()
    return chat.compile(chain(inner=inner, outer=node))


async def test_streams_show_nothing_of_ours(chat: Chat, db: Connection) -> None:
    """Every stream mode works, subgraphs included, and shows the ids at most."""
    graph = streaming_graph(chat)
    options = {"stream_mode": MODES, "subgraphs": True}
    events: list[Any] = []
    for text in ("one", "two"):
        given = {"messages": [text]}
        events += await chat.call(graph, "stream", given, ALICE, **options)
    assert {mode for _, mode, _ in events} == set(MODES)
    assert {namespace[:1] == () for namespace, _, _ in events} == {True, False}
    assert [found for event in events for found in ours(event)] == []
    session = await only_session(chat, db, "inner")
    assert len(await conversation(chat, graph, session)) == 6


@pytest.mark.parametrize("mode", MODES)
async def test_instructions_are_no_part_of_a_stream(chat: Chat, mode: str) -> None:
    """The title that a run gives its session is in no event."""
    graph = streaming_graph(chat)
    named = config(user_id="alice", title="A title", is_active=True, new_session=True)
    given = {"messages": ["one"]}
    events = await chat.call(graph, "stream", given, named, stream_mode=mode)
    assert events
    assert [p for event in events for p in parts(event) if p in ("A title", "new_session")] == []
    assert (await chat.current()).title == "A title"


async def test_astream_events_show_nothing_of_ours(chat: Chat, db: Connection) -> None:
    """`astream_events` works with both savers, and shows the ids at most."""
    graph = streaming_graph(chat)
    for text in ("one", "two"):
        given = {"messages": [text]}
        events = [event async for event in graph.astream_events(given, ALICE, version="v2")]
        assert {"on_chain_start", "on_chain_stream", "on_chat_model_end"} <= {
            event["event"] for event in events
        }
        assert [found for event in events for found in ours(event)] == []
    session = await only_session(chat, db, "inner")
    assert len(await conversation(chat, graph, session)) == 6
