"""An answer that nothing waits for, and a checkpoint that is not there."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from langgraph.errors import UnknownInterruptError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from psycopg import Connection

from langgraph_sessions import NotInterruptedError, SessionError, SessionNotFoundError
from tests.support import TABLES, Chat, asking, config, graph_builder, texts

ALICE = config(user_id="alice")
ELSEWHERE = "0" * 32  # An interrupt's id, of no session.
ANSWERS = pytest.mark.parametrize(
    "answer",
    [
        Command(resume="yes"),
        Command(resume={ELSEWHERE: "yes"}),
        Command(resume={}),
        Command(resume=False),
        Command(resume="yes", update={"messages": ["x"]}),
    ],
    ids=["value", "by id", "empty", "false", "with an update"],
)
DURABILITIES = pytest.mark.parametrize("durability", ["sync", "async", "exit"])


def contents(db: Connection[Any]) -> list[Any]:
    """Return all that is stored; a thread set aside for the next first run is nothing said."""
    tables = [table for table in TABLES if table != "session_reservations"]
    all_rows = "SELECT * FROM {0} ORDER BY {0}::text"
    return [db.execute(all_rows.format(table)).fetchall() for table in tables]


@ANSWERS
@DURABILITIES
async def test_an_answer_that_nothing_waits_for_is_refused(
    chat: Chat, db: Connection[Any], durability: str, answer: Command[Any]
) -> None:
    """By a user alone, a second time: before any node runs, and nothing is written."""
    ran: list[str] = []

    def ask(state: MessagesState) -> dict[str, Any]:
        ran.append("node")
        return {"messages": [interrupt("?")]}

    graph = chat.compile(graph_builder(ask))
    await chat.say("Hello", graph, user_id="alice")
    await chat.call(graph, "invoke", Command(resume="yes"), ALICE)
    before, ran[:] = contents(db), []
    with pytest.raises(NotInterruptedError) as caught:
        await chat.call(graph, "invoke", answer, ALICE, durability=durability)
    assert caught.value.user_id == "alice"
    assert isinstance(caught.value, SessionError)
    assert (ran, contents(db)) == ([], before)


@pytest.mark.parametrize("said", [[], ["Hello"]], ids=["a new user", "nothing was asked"])
async def test_an_answer_without_a_question_is_refused(
    chat: Chat, db: Connection[Any], said: list[str]
) -> None:
    """Nothing is written, and the next message is the session's next one."""
    for word in said:
        await chat.say(word, user_id="alice")
    before = contents(db)
    with pytest.raises(NotInterruptedError):
        await chat.call(chat.graph, "invoke", Command(resume="yes"), ALICE)
    assert contents(db) == before
    assert len(texts(await chat.say("Go on", user_id="alice"))) == 2 * len(said) + 2


@DURABILITIES
@pytest.mark.parametrize("below", [False, True], ids=["node", "subgraph"])
@pytest.mark.parametrize("by_id", [False, True], ids=["value", "by id"])
async def test_an_answer_that_is_waited_for_is_taken(
    chat: Chat, below: bool, by_id: bool, durability: str
) -> None:
    """A question of a node, or below it, is answered by the user alone, one after another."""
    graph = chat.compile(asking(2, below=below))
    options = {"durability": durability}
    state = await chat.call(graph, "invoke", {"messages": ["Hello"]}, ALICE, **options)
    for answer in ("yes", "no"):
        (asked,) = state["__interrupt__"]
        resume = {asked.id: answer} if by_id else answer
        state = await chat.call(graph, "invoke", Command(resume=resume), ALICE, **options)
    assert texts(state) == ["Hello", "You said yes and no"]
    with pytest.raises(NotInterruptedError):
        await chat.call(graph, "invoke", Command(resume="again"), ALICE, **options)


async def test_an_answer_to_another_question_than_the_one_that_waits_is_refused(
    chat: Chat, db: Connection[Any]
) -> None:
    """LangGraph's own error names those that wait; the question of another session is not lost."""
    graph = chat.compile(asking())
    old = (await chat.say("Hello", graph, user_id="alice"))["__interrupt__"][0].id
    await chat.say("Hello", graph, user_id="alice", new_session=True)
    before = contents(db)
    with pytest.raises(UnknownInterruptError):
        await chat.call(graph, "invoke", Command(resume={old: "yes"}), ALICE)
    assert contents(db) == before


async def test_of_several_questions_each_is_answered_by_its_id(chat: Chat) -> None:
    """One answer for all is LangGraph's own error, as without sessions."""
    builder = StateGraph(MessagesState)
    for name in ("a", "b"):
        builder.add_node(name, lambda state: {"messages": [interrupt("?")]})
        builder.add_edge(START, name)
    graph = chat.compile(builder)
    asked = (await chat.say("Hello", graph, user_id="alice"))["__interrupt__"]
    with pytest.raises(RuntimeError, match="interrupt id"):
        await chat.call(graph, "invoke", Command(resume="yes"), ALICE)
    for one in asked:
        state = await chat.call(graph, "invoke", Command(resume={one.id: one.id}), ALICE)
    assert set(texts(state)) == {"Hello", *(one.id for one in asked)}


async def test_a_thread_that_is_named_takes_what_langgraph_does(chat: Chat) -> None:
    """With a `thread_id` it is for the caller to know; a new session waits for nothing, either."""
    await chat.say("Hello", user_id="alice", thread_id="t")
    where = config(user_id="alice", thread_id="t")
    state = await chat.call(chat.graph, "invoke", Command(resume="yes"), where)
    assert texts(state) == ["Hello", "1 so far"]
    again = config(user_id="alice", new_session=True)
    with pytest.raises(NotInterruptedError):
        await chat.call(chat.graph, "invoke", Command(resume="yes"), again)


async def test_a_graph_called_in_a_run_is_not_refused_for_it(chat: Chat) -> None:
    """What a run inherits of this is not for the answers that its nodes give other graphs."""
    asks = chat.compile(asking())
    await chat.say("Hello", asks, user_id="bob", thread_id="his")

    async def node(state: Any) -> dict[str, Any]:
        answered = await asks.ainvoke(Command(resume="yes"), config(user_id="bob", thread_id="his"))
        return {"messages": texts(answered)[-1:]}

    graph = chat.compile(graph_builder(node))
    state = await graph.ainvoke({"messages": ["Ask him"]}, ALICE)
    assert texts(state)[-1] == "You said yes"


async def test_a_graph_below_takes_what_langgraph_does(chat: Chat) -> None:
    """So a graph that is part of the run may be given an answer with an update, in a new run."""
    inner = chat.compile(graph_builder())

    async def node(state: Any) -> dict[str, Any]:
        await inner.ainvoke(Command(resume="yes", update={"messages": ["x"]}))
        return {"messages": ["done"]}

    state = await chat.compile(graph_builder(node)).ainvoke({"messages": ["Hello"]}, ALICE)
    assert texts(state) == ["Hello", "done"]


def test_the_error_survives_pickling() -> None:
    """It crosses process boundaries with its fields."""
    error = pickle.loads(pickle.dumps(NotInterruptedError("alice", "t")))
    assert (error.user_id, error.thread_id) == ("alice", "t")


# --- A checkpoint that is not there -----------------------------------------------------------


@DURABILITIES
@pytest.mark.parametrize("where", ["current", "given", "none"])
async def test_a_checkpoint_that_the_session_does_not_have_is_not_found(
    chat: Chat, db: Connection[Any], where: str, durability: str
) -> None:
    """One of another session, of the user's or not, is refused before any node runs."""
    ran: list[str] = []
    graph = chat.compile(graph_builder(lambda state: ran.append("node")))
    await chat.say("one", user_id="alice", thread_id="t")
    other = await chat.call(chat.graph, "get_state", (await chat.current()).config)
    theirs = other.config["configurable"]["checkpoint_id"]
    if where != "none":
        await chat.say("two", user_id="alice", thread_id="current")
    else:
        await chat.session("deactivate_session", "alice")
    place = {"thread_id": "current"} if where == "given" else {}
    before = contents(db)
    asks = config(user_id="alice", checkpoint_id=theirs, **place)
    with pytest.raises(SessionNotFoundError) as caught:
        await chat.call(graph, "invoke", {"messages": ["x"]}, asks, durability=durability)
    error = caught.value
    assert (error.thread_id, error.checkpoint_id) == (place.get("thread_id"), theirs)
    assert theirs in str(error)
    assert (ran, contents(db)) == ([], before)


async def test_time_travel_within_the_current_session_needs_no_thread(chat: Chat) -> None:
    """A checkpoint that it has is where the run starts; reading one that it has not finds none."""
    await chat.say("one", user_id="alice")
    session = await chat.current()
    first = (await chat.call(chat.graph, "get_state", session.config)).config["configurable"]
    await chat.say("two", user_id="alice")
    state = await chat.say("three", user_id="alice", checkpoint_id=first["checkpoint_id"])
    assert texts(state) == ["one", "1 so far", "three", "3 so far"]
    nowhere = {**session.config["configurable"], "checkpoint_id": "0"}
    assert await chat.call(chat.saver, "get_tuple", config(**nowhere)) is None
