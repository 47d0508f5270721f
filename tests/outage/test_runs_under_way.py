"""A run that is under way when the server stops ends in its own thread, or in one of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

from langgraph_sessions import ConcurrentRunError, SessionSaver, SessionsUnavailableError
from langgraph_sessions.runs.saving import SaveCheckpoint
from tests.outage.talking import (
    DURABILITIES,
    chatting,
    conversations,
    returned,
    saved_conversations,
)
from tests.servers import Server, until
from tests.support import PATIENCE, Chat, config, texts
from tests.support import until as wait_until


class Steps:
    """A graph of three nodes; the second and the third wait until they are let go on."""

    def __init__(self, chat: Chat) -> None:
        self.entered = {name: threading.Event() for name in ("b", "c")}
        self.may_go = {name: threading.Event() for name in ("b", "c")}
        builder = StateGraph(MessagesState)
        for name in ("a", "b", "c"):
            builder.add_node(name, self.node(name))
        builder.add_edge(START, "a").add_edge("a", "b").add_edge("b", "c")
        self.chat, self.graph = chat, chat.compile(builder)

    def node(self, name: str) -> Any:
        def say(state: MessagesState) -> dict[str, Any]:
            if name in self.entered:
                self.entered[name].set()
                assert self.may_go[name].wait(PATIENCE)
            return {"messages": [AIMessage(name)]}

        return say

    def start(self, durability: str, **configurable: Any) -> asyncio.Task[Any]:
        """Start a run."""
        given, where = {"messages": ["begin"]}, config(**configurable)
        run = self.chat.call(self.graph, "invoke", given, where, durability=durability)
        return asyncio.create_task(run)

    async def reaches(self, name: str) -> None:
        """Wait until the run is in node *name*."""
        await until(self.entered[name].is_set)

    def let_go(self, *names: str) -> None:
        for name in names:
            self.may_go[name].set()


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_run_under_way_when_the_server_stops_ends_in_its_thread(
    chat: Chat, server: Server, place: str, durability: str
) -> None:
    """A run finishes in memory, and its messages are in its thread afterwards."""
    await chat.say("before", user_id="alice")
    steps = Steps(chat)
    run = steps.start(durability, user_id="alice")
    await steps.reaches("b")
    server.stop()
    steps.let_go("b", "c")
    said = ["before", "1 so far", "begin", "a", "b", "c"]
    assert texts(await run) == said
    server.start()
    await returned(chat)
    assert await conversations(place) == [said]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_first_run_under_way_when_the_server_stops_makes_its_session(
    chat: Chat, server: Server, place: str, durability: str
) -> None:
    """A run that outlasts an outage, which begins and ends in its middle, is all there."""
    steps = Steps(chat)
    run = steps.start(durability, user_id="alice")
    await steps.reaches("b")
    server.stop()
    steps.let_go("b")
    await steps.reaches("c")
    # Whether or not the run noticed, somebody does.
    await chat.say("hi", user_id="bob")
    server.start()
    await returned(chat)
    steps.let_go("c")
    assert texts(await run) == ["begin", "a", "b", "c"]
    assert await conversations(place) == [["begin", "a", "b", "c"]]


async def test_a_session_that_a_node_named_goes_on_in_an_outage_that_its_run_meets(
    chat: Chat, server: Server, place: str
) -> None:
    """It was made for the node, and is the current one all the same before anything was saved."""

    async def name(state: MessagesState) -> dict[str, Any]:
        await chat.session("update_session", "alice", {"title": "Ours"})
        server.stop()
        return {"messages": [AIMessage("named")]}

    def name_in_thread(state: MessagesState) -> dict[str, Any]:
        chat.saver.sessions.update_session("alice", {"title": "Ours"})
        server.stop()
        return {"messages": [AIMessage("named")]}

    builder = StateGraph(MessagesState).add_node("name", name if chat.is_async else name_in_thread)
    graph = chat.compile(builder.add_edge(START, "name"))
    given = {"messages": ["begin"]}
    await chat.call(graph, "invoke", given, config(user_id="alice"), durability="exit")
    said = texts(await chat.say("again", user_id="alice"))
    assert said[:3] == ["begin", "named", "again"]
    server.start()
    await returned(chat)
    assert await conversations(place) == [said]
    assert (await chat.current()).title == "Ours"


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("first", ["run", "other"])
@pytest.mark.parametrize("ends", ["during", "after"])
async def test_a_thread_that_another_process_went_on_with_becomes_two_sessions(
    chat: Chat, server: Server, place: str, durability: str, first: str, ends: str
) -> None:
    """What a run said in an outage of its own alone is a session beside what the other said."""
    await chat.say("before", user_id="alice")
    thread_id = (await chat.current()).thread_id
    steps = Steps(chat)
    run = steps.start(durability, user_id="alice")
    await steps.reaches("b")
    server.stop()
    await chat.say("hi", user_id="bob")

    def is_held() -> bool:
        """Whether a checkpoint of the run's is held: LangGraph saves beside the next node."""
        held = [*chat.saver._database._outage.memory.journal._entries]
        return any(
            isinstance(e.item, SaveCheckpoint) and e.item.run.thread_id == thread_id for e in held
        )

    if first == "run":
        steps.let_go("b")
        await steps.reaches("c")
        await until(is_held)
    server.start(hidden=True)  # Another process reaches it, but the chat's saver does not.
    async with chatting("sync", server.elsewhere) as other:
        await other.say("meanwhile", user_id="alice", thread_id=thread_id)
    server.stop()
    if first == "other":
        steps.let_go("b")
        await steps.reaches("c")
        await until(is_held)
    said = ["before", "1 so far", "begin", "a", "b", "c"]
    if ends == "during":
        steps.let_go("c")
        assert texts(await run) == said
    server.start()
    await returned(chat)
    if ends == "after":  # It is told that it was overtaken, as it would be without an outage.
        said.pop()
        steps.let_go("c")
        with pytest.raises(ConcurrentRunError):
            await run
    theirs, ours = await conversations(place)
    assert theirs[-2] == "meanwhile"
    assert ours == said
    sessions = await chat.sessions()
    (forked_from,) = {session.forked_from for session in sessions} - {None}
    assert forked_from[0] == thread_id


REFUSAL = (
    """
CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'no more sessions';
END $$""",
    """
CREATE TRIGGER crash BEFORE INSERT ON user_sessions
    FOR EACH ROW WHEN (NEW.user_id = 'alice') EXECUTE FUNCTION crash()""",
)


async def test_what_cannot_have_a_session_of_its_own_is_told_and_the_rest_written(
    chat: Chat, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the database refuses to fork the thread, that run is lost, and no other."""
    await chat.say("before", user_id="alice")
    thread_id = (await chat.current()).thread_id
    steps = Steps(chat)
    run = steps.start("sync", user_id="alice")
    await steps.reaches("b")
    server.stop()
    await chat.say("hi", user_id="bob")
    server.start(hidden=True)
    async with chatting("sync", server.elsewhere) as other:
        theirs = await other.say("meanwhile", user_id="alice", thread_id=thread_id)
    with psycopg.connect(server.elsewhere, autocommit=True) as conn:
        for statement in REFUSAL:
            conn.execute(statement)
    server.stop()
    for step in ("b", "c"):
        steps.let_go(step)
    await run
    server.start()
    await returned(chat)
    assert await conversations(place) == [texts(theirs)]
    assert await conversations(place, "bob") == [["hi", "1 so far"]]
    (lost,) = {vars(record).get("thread_id") for record in caplog.records if "lost" in record.msg}
    assert lost == thread_id
    assert "RaiseException (P0001)" in caplog.text
    assert "no more sessions" not in caplog.text  # A trigger may quote what was said.


def test_a_run_under_way_sees_nothing_of_who_began_its_thread_in_the_outage(
    server: Server, place: str
) -> None:
    """A factory gives all users one id: each has their own words, and both are written."""
    seen: list[Any] = []

    def node(state: MessagesState) -> Any:
        with ThreadPoolExecutor() as threads:
            if state["messages"][-1].content == "hers":
                server.stop()
                threads.submit(graph.invoke, said("his"), config(user_id="bob")).result(PATIENCE)
                hers = config(user_id="alice", thread_id="main")
                seen.append(threads.submit(graph.get_state, hers).exception(PATIENCE))
        return {"messages": ["Yes"]}

    def said(text: str) -> Any:
        return {"messages": [text]}

    with SessionSaver(place, retry_for=0.1, thread_id_factory=lambda user_id: "main") as saver:
        builder = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node")
        graph = builder.compile(checkpointer=saver)
        graph.invoke(said("hers"), config(user_id="alice"), durability="exit")
        for user_id, text in (("alice", "hers"), ("bob", "his")):
            session = saver.sessions.get_current_user_session(user_id)
            assert texts(graph.get_state(session.config).values) == [text, "Yes"]
        server.start()
        wait_until(lambda: saver.durable)
    assert isinstance(seen[0], SessionsUnavailableError)
    assert saved_conversations(place, "alice") == [["hers", "Yes"]]
    assert saved_conversations(place, "bob") == [["his", "Yes"]]
