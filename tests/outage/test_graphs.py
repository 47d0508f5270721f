"""All that graphs do works in an outage: interrupts, subgraphs, delta channels, states."""

from __future__ import annotations

import operator
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langgraph_sessions import ConcurrentRunError
from tests.outage.talking import DURABILITIES, chatting, conversations, returned
from tests.servers import Server
from tests.support import Chat, asking, config, in_one_moment, texts


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("resumed", ["away", "back"])
async def test_an_interrupt_of_an_outage_is_resumed(
    chat: Chat, server: Server, place: str, durability: str, resumed: str
) -> None:
    """A run that waits for an answer gets it in the same outage, or after it."""
    graph, alice = chat.compile(asking()), config(user_id="alice")
    server.stop()
    given = {"messages": ["go"]}
    waits = await chat.call(graph, "invoke", given, alice, durability=durability)
    assert waits["__interrupt__"][0].value == "0"
    if resumed == "back":
        server.start()
        await returned(chat)
        (session,) = await chat.sessions()
        assert session.status == "interrupted"
    answer = Command(resume="this")
    said = await chat.call(graph, "invoke", answer, alice, durability=durability)
    assert texts(said) == ["go", "You said this"]
    if resumed == "away":
        server.start()
        await returned(chat)
    assert await conversations(place) == [["go", "You said this"]]
    (session,) = await chat.sessions()
    assert session.status == "idle"


async def test_of_two_answers_at_once_in_an_outage_one_is_taken(
    chat: Chat, server: Server, place: str
) -> None:
    """One raises, as it would with the database, and what the other said is written."""
    graph = chat.compile(asking(2, together=threading.Barrier(2)))
    server.stop()
    await chat.say("go", graph, user_id="alice")
    answers = [Command(resume="yes"), Command(resume="no")]
    outcomes = await in_one_moment(chat, graph, answers, "sync")
    refused = [isinstance(each, ConcurrentRunError) for each in outcomes]
    assert sorted(refused) == [False, True], outcomes
    taken = answers[refused.index(False)].resume
    server.start()
    await returned(chat)
    last = chat.compile(asking(2))
    await chat.call(last, "invoke", Command(resume="so"), config(user_id="alice"))
    assert await conversations(place) == [["go", f"You said {taken} and so"]]


class Deltas(TypedDict):
    words: Annotated[
        list[str], DeltaChannel(lambda old, new: [*old, *(w for ws in new for w in ws)])
    ]
    turns: Annotated[int, operator.add]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_delta_channels_are_rebuilt_in_and_after_an_outage(
    chat: Chat, server: Server, durability: str
) -> None:
    """A channel kept as its changes has all of them."""
    builder = StateGraph(Deltas)
    builder.add_node("n", lambda state: {"words": [f"{len(state['words'])}"], "turns": 1})
    builder.add_edge(START, "n")
    graph, alice = chat.compile(builder), config(user_id="alice")

    async def say(word: str) -> Any:
        given = {"words": [word]}
        return await chat.call(graph, "invoke", given, alice, durability=durability)

    server.stop()
    await say("one")
    said = await say("two")
    expected = {"words": ["one", "1", "two", "3"], "turns": 2}
    assert said == expected
    session = await chat.session("get_current_user_session", "alice")
    assert (await chat.call(graph, "get_state", session.config)).values == expected
    server.start()
    await returned(chat)
    assert (await chat.call(graph, "get_state", session.config)).values == expected
    expected = {"words": ["one", "1", "two", "3", "three", "5"], "turns": 3}
    assert await say("three") == expected


@dataclass
class Trip:
    """What an application keeps in its state."""

    to: str


class Plans(TypedDict):
    trip: Trip
    note: str


async def test_values_are_stored_as_they_would_be_without_an_outage(
    kind: str, server: Server, place: str
) -> None:
    """A serializer that loads less than it dumped, as a strict one does, changes nothing."""
    builder = StateGraph(Plans).add_node("plan", lambda _: {"trip": Trip("Rome")})
    builder.add_edge(START, "plan")
    stored = (
        "SELECT channel, type, blob FROM checkpoint_{} AS s JOIN session_threads USING (thread_id) "
        "WHERE channel = 'trip' AND user_id = '{}' ORDER BY blob"
    )
    async with chatting(
        kind, place, serde=JsonPlusSerializer(allowed_msgpack_modules=None)
    ) as chat:
        graph, given = chat.compile(builder), {"note": "soon"}
        await chat.call(graph, "invoke", given, config(user_id="alice"))
        server.stop()
        await chat.call(graph, "invoke", given, config(user_id="bob"))
        server.start()
        await returned(chat)
    for table in ("blobs", "writes"):
        without, with_one = (server.execute(stored.format(table, who)) for who in ("alice", "bob"))
        assert with_one == without
        assert without


async def test_what_could_never_be_written_is_refused_at_once(
    chat: Chat, server: Server, place: str
) -> None:
    """A run that would fail with the database fails in an outage; those before and after do not."""
    builder = StateGraph(Plans).add_node("plan", lambda state: {"note": state["note"] + "!"})
    graph, alice = chat.compile(builder.add_edge(START, "plan")), config(user_id="alice")
    server.stop()
    for note in ("one", "two\0", "three"):
        with pytest.raises(psycopg.DataError, match="NUL") if "\0" in note else nullcontext():
            await chat.call(graph, "invoke", {"note": note}, alice)
    server.start()
    await returned(chat)
    (session,) = await chat.sessions()
    states = await chat.call(graph, "get_state_history", session.config)
    notes = [state.values.get("note") for state in states]
    assert {note for note in notes if note} == {"one", "one!", "three", "three!"}
    assert notes[0] == "three!"


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("memory", [None, True], ids=["inherits", "remembers"])
async def test_subgraphs_work_in_an_outage(
    chat: Chat, server: Server, durability: str, memory: bool | None
) -> None:
    """A subgraph interrupts and is resumed, and its state can be read, in the outage and after."""
    inner = asking().compile(checkpointer=memory)
    builder = StateGraph(MessagesState)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    graph, alice = chat.compile(builder), config(user_id="alice")
    server.stop()
    for number in range(2):
        given = {"messages": [f"go {number}"]}
        await chat.call(graph, "invoke", given, alice, durability=durability)
        session = await chat.session("get_current_user_session", "alice")
        state = await chat.call(graph, "get_state", session.config, subgraphs=True)
        assert texts(state.tasks[0].state)[-1] == f"go {number}"
        answer = Command(resume="this")
        said = await chat.call(graph, "invoke", answer, alice, durability=durability)
    assert texts(said) == ["go 0", "You said this", "go 1", "You said this"]
    server.start()
    await returned(chat)
    state = await chat.call(graph, "get_state", session.config, subgraphs=True)
    assert texts(state) == texts(said)
    found = await chat.call(chat.saver, "list", session.config)
    places = [
        (each.config["configurable"]["checkpoint_ns"], each.checkpoint["id"]) for each in found
    ]
    assert len(places) == len(set(places))
    assert any(checkpoint_ns for checkpoint_ns, _ in places)


async def test_states_are_updated_and_history_read_in_an_outage(
    chat: Chat, server: Server, place: str
) -> None:
    """`update_state`, `get_state_history` and time travel work on what was begun in it."""
    server.stop()
    await chat.say("one", user_id="alice")
    session = await chat.session("get_current_user_session", "alice")
    await chat.call(chat.graph, "update_state", session.config, {"messages": ["updated"]}, "node")
    said = ["one", "1 so far", "updated"]
    assert await chat.history(session) == said
    held = await chat.call(chat.graph, "get_state_history", session.config)
    assert [texts(state) for state in held] == [said, said[:2], said[:1], []]
    forked = await chat.call(chat.graph, "invoke", None, held[2].config)
    assert texts(forked) == said[:2]
    held = await chat.call(chat.graph, "get_state_history", session.config)
    server.start()
    await returned(chat)
    found = await chat.call(chat.graph, "get_state_history", session.config)
    assert [state.config for state in found] == [state.config for state in held]
    assert [texts(state) for state in found] == [texts(state) for state in held]
    assert [state.metadata for state in found] == [state.metadata for state in held]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_every_durability_is_written(
    chat: Chat, server: Server, place: str, durability: str
) -> None:
    """What a durability saves in an outage is saved after it."""

    async def say(text: str) -> Any:
        given, alice = {"messages": [text]}, config(user_id="alice")
        return await chat.call(chat.graph, "invoke", given, alice, durability=durability)

    server.stop()
    await say("one")
    said = await say("two")
    server.start()
    await returned(chat)
    session = await chat.current()
    assert await chat.history(session) == texts(said) == ["one", "1 so far", "two", "3 so far"]
    saved = await chat.call(chat.saver, "list", session.config)
    assert len(saved) == (2 if durability == "exit" else 6)
