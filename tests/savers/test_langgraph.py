"""What LangGraph can do, done for a user: one session, one thread, the right conversation."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send, StateUpdate, interrupt

from langgraph_sessions import Session
from tests.support import Chat, config, python, texts

Connection = psycopg.Connection[Any]

ALICE = config(user_id="alice")
DURABILITIES = ["sync", "async", "exit"]

STORED = """
SELECT thread_id, checkpoint_ns FROM checkpoints
UNION SELECT thread_id, checkpoint_ns FROM checkpoint_blobs
UNION SELECT thread_id, checkpoint_ns FROM checkpoint_writes"""


def namespaces(db: Connection) -> dict[str, set[str]]:
    """Return the namespaces that the three tables hold of each thread, without task ids."""
    found: dict[str, set[str]] = {}
    for row in db.execute(STORED):
        bare = re.sub(r":[0-9a-f-]{36}", "", row["checkpoint_ns"])
        found.setdefault(row["thread_id"], set()).add(bare)
    return found


async def only_session(chat: Chat, db: Connection, *inner: str, user_id: str = "alice") -> Session:
    """Return the user's only session, after a look at where everything was saved.

    All of the root graph's rows, and the *inner* namespaces', are in its thread, and each
    checkpoint says whose it is.
    """
    (session,) = await chat.sessions(None)
    assert session.user_id == user_id
    assert namespaces(db) == {session.thread_id: {"", *inner}}
    owners = db.execute("SELECT DISTINCT metadata ->> 'user_id' AS owner FROM checkpoints")
    assert [row["owner"] for row in owners] == [user_id]
    return session


async def conversation(chat: Chat, graph: Any, session: Session) -> list[str]:
    """Return the texts of what *graph* keeps in a session."""
    return texts(await chat.call(graph, "get_state", session.config))


def chain(**nodes: Any) -> StateGraph[MessagesState, None, MessagesState, MessagesState]:
    """Return a graph of *nodes* one after another."""
    builder = StateGraph(MessagesState)
    builder.add_sequence(list(nodes.items()))
    builder.add_edge(START, next(iter(nodes)))
    return builder


def says(text: str) -> Callable[[MessagesState], dict[str, Any]]:
    """Return a node that says *text*."""
    return lambda state: {"messages": [AIMessage(text)]}


def ask(state: MessagesState) -> dict[str, Any]:
    """Ask the human, and repeat the answer."""
    return {"messages": [AIMessage(f"You said {interrupt('Why?')}")]}


def calls(chat: Chat, graph: Any, given: Any = None, to: RunnableConfig | None = None) -> Any:
    """Return a node that invokes *graph*, on the state by default, and says its last words."""

    def last(result: Any) -> dict[str, Any]:
        return {"messages": result["messages"][-1:]}

    def call(state: MessagesState) -> dict[str, Any]:
        return last(graph.invoke(given or state, to))

    async def acall(state: MessagesState) -> dict[str, Any]:
        return last(await graph.ainvoke(given or state, to))

    return acall if chat.is_async else call


# --- Agents ----------------------------------------------------------------------------------


class Model(BaseChatModel):
    """A chat model that looks up the weather of whatever it is told, and reports it."""

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        last = messages[-1]
        answer = AIMessage(f"{len(messages)}: {last.content}")
        if isinstance(last, HumanMessage):
            call = {"name": "weather", "args": {"city": last.content}, "id": f"{len(messages)}"}
            answer = AIMessage("", tool_calls=[{**call, "type": "tool_call"}])
        return ChatResult(generations=[ChatGeneration(message=answer)])


@tool
def weather(city: str, config: RunnableConfig) -> str:
    """Look up the weather."""
    return f"sun in {city} for {config['configurable']['thread_id']}"


async def test_an_agent_calls_its_tool_and_goes_on_in_a_second_turn(
    chat: Chat, db: Connection
) -> None:
    """`create_agent` keeps both turns, tool calls included, in the session its tool sees."""
    agent = create_agent(Model(), [weather], checkpointer=chat.saver)
    await chat.say("Rome", agent, user_id="alice")
    await chat.say("Oslo", agent, user_id="alice")
    session = await only_session(chat, db)
    rome, oslo = (f"sun in {city} for {session.thread_id}" for city in ("Rome", "Oslo"))
    assert await conversation(chat, agent, session) == [
        *("Rome", "", rome, f"3: {rome}"),
        *("Oslo", "", oslo, f"7: {oslo}"),
    ]


async def test_an_agent_waits_for_approval(chat: Chat, db: Connection) -> None:
    """An agent that a human must approve resumes with nothing but the user's id."""
    approval = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    agent = create_agent(Model(), [weather], middleware=[approval], checkpointer=chat.saver)
    assert (await chat.say("Rome", agent, user_id="alice"))["__interrupt__"]
    approve = Command(resume={"decisions": [{"type": "approve"}]})
    state = await chat.call(agent, "invoke", approve, ALICE)
    session = await only_session(chat, db)
    assert isinstance(state["messages"][2], ToolMessage)
    assert texts(state)[-1] == f"3: sun in Rome for {session.thread_id}"


# --- The functional API -----------------------------------------------------------------------


def running_total(chat: Chat) -> Any:
    """Return an entrypoint that adds up what it is given, with a task."""

    @task
    def double(number: int) -> int:
        return 2 * number

    @entrypoint(checkpointer=chat.saver)
    def total(number: int, *, previous: int | None = None) -> Any:
        value = (previous or 0) + double(number).result()
        return entrypoint.final(value=f"it is {value}", save=value)

    return total


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_entrypoint_finds_its_previous_value(
    chat: Chat, db: Connection, durability: str
) -> None:
    """`previous` is what the same user's run before saved; another user starts afresh."""
    total = running_total(chat)
    for number, expected in ((1, "it is 2"), (3, "it is 8")):
        given = (total, "invoke", number, ALICE)
        assert await chat.call(*given, durability=durability) == expected
    await only_session(chat, db)
    assert await chat.call(total, "invoke", 1, config(user_id="bob")) == "it is 2"


async def test_an_entrypoint_resumes_without_repeating_its_tasks(
    chat: Chat, db: Connection
) -> None:
    """After an interrupt in an entrypoint, the tasks that were done are not run again."""
    ran: list[str] = []

    @task
    def draft(topic: str) -> str:
        ran.append(topic)
        return f"On {topic}"

    @entrypoint(checkpointer=chat.saver)
    def write(topic: str) -> str:
        return f"{draft(topic).result()}, {interrupt('Your name?')}"

    await chat.call(write, "invoke", "cats", ALICE)
    assert await chat.call(write, "invoke", Command(resume="Ann"), ALICE) == "On cats, Ann"
    assert ran == ["cats"]
    await only_session(chat, db)


# --- Subgraphs --------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_subgraph_as_a_node(chat: Chat, db: Connection, durability: str) -> None:
    """A subgraph's checkpoints are in the session's thread, two levels deep."""
    innermost = chain(deep=says("from below")).compile()
    inner = chain(deeper=innermost, shallow=says("from inside")).compile()
    graph = chat.compile(chain(inner=inner, outer=says("from outside")))
    for text in ("one", "two"):
        given = (graph, "invoke", {"messages": [text]}, ALICE)
        await chat.call(*given, durability=durability)
    # With "exit", only what the root graph needs to go on is ever saved.
    below = () if durability == "exit" else ("inner", "inner|deeper")
    session = await only_session(chat, db, *below)
    answers = ["from below", "from inside", "from outside"]
    assert await conversation(chat, graph, session) == ["one", *answers, "two", *answers]


class Inner(TypedDict):
    """What a subgraph keeps to itself."""

    count: int


async def test_a_subgraph_with_a_memory_of_its_own(chat: Chat, db: Connection) -> None:
    """A subgraph compiled with `checkpointer=True` remembers, for each session apart."""
    seen: list[int] = []

    def count(state: Inner) -> Inner:
        seen.append(state.get("count", 0) + 1)
        return {"count": seen[-1]}

    builder = StateGraph(Inner)
    builder.add_node("count", count)
    builder.add_edge(START, "count")
    inner = builder.compile(checkpointer=True)
    graph = chat.compile(chain(inner=inner, outer=says("ok")))
    await chat.say("one", graph, user_id="alice")
    await chat.say("two", graph, user_id="alice")
    session = await only_session(chat, db, "inner")
    await chat.say("three", graph, user_id="bob")
    await chat.say("four", graph, user_id="alice", new_session=True)
    await chat.say("five", graph, **session.config["configurable"])
    assert seen == [1, 2, 1, 1, 3]


async def test_a_subgraph_invoked_inside_a_node(chat: Chat, db: Connection) -> None:
    """A graph that a node function invokes saves to the session of the run around it."""
    inner = chain(shallow=says("from inside")).compile()
    graph = chat.compile(chain(outer=calls(chat, inner)))
    await chat.say("one", graph, user_id="alice")
    await chat.say("two", graph, user_id="alice")
    session = await only_session(chat, db, "outer")
    assert await conversation(chat, graph, session) == ["one", "from inside", "two", "from inside"]


async def test_a_node_may_talk_to_a_thread_of_nobody(chat: Chat, db: Connection) -> None:
    """A graph that a node invokes with a thread id of its own is a plain run, not the user's."""
    inner = chat.compile(chain(shallow=says("from inside")))
    other = config(thread_id="other")
    graph = chat.compile(chain(outer=calls(chat, inner, {"messages": ["hi"]}, other)))
    await chat.say("one", graph, user_id="alice")
    (session,) = await chat.sessions(None)
    assert namespaces(db) == {session.thread_id: {""}, "other": {""}}
    assert await conversation(chat, graph, session) == ["one", "from inside"]
    assert texts(await chat.call(inner, "get_state", other)) == ["hi", "from inside"]


@pytest.mark.parametrize("user_id", ["alice", "bob"])
async def test_a_node_may_talk_to_another_session(chat: Chat, db: Connection, user_id: str) -> None:
    """A graph that a node invokes for a user and a thread id of its own saves to that session."""
    inner = chat.compile(chain(shallow=says("from inside")))
    other = config(user_id=user_id, thread_id="other")
    graph = chat.compile(chain(outer=calls(chat, inner, {"messages": ["hi"]}, other)))
    outer = config(user_id="alice", thread_id="outer")
    for text in ("one", "two"):
        await chat.call(graph, "invoke", {"messages": [text]}, outer)
    owners = {session.thread_id: session.user_id for session in await chat.sessions(None)}
    assert owners == {"outer": "alice", "other": user_id}
    assert namespaces(db) == {"outer": {""}, "other": {""}}
    expected = ["one", "from inside", "two", "from inside"]
    assert texts(await chat.call(graph, "get_state", outer)) == expected
    assert texts(await chat.call(inner, "get_state", other)) == ["hi", "from inside"] * 2


# --- Interrupts -------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_interrupted_run_resumes(chat: Chat, db: Connection, durability: str) -> None:
    """`Command(resume=…)` with the user's id alone resumes the run that waits."""
    graph = chat.compile(chain(first=says("Well?"), ask=ask))
    for given in ({"messages": ["one"]}, Command(resume="so")):
        state = await chat.call(graph, "invoke", given, ALICE, durability=durability)
    assert texts(state) == ["one", "Well?", "You said so"]
    session = await only_session(chat, db)
    assert await conversation(chat, graph, session) == ["one", "Well?", "You said so"]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_run_interrupted_in_a_subgraph_resumes(
    chat: Chat, db: Connection, durability: str
) -> None:
    """An interrupt inside a subgraph resumes there, without its first node again."""
    ran: list[str] = []

    def once(state: MessagesState) -> dict[str, Any]:
        ran.append("once")
        return {"messages": [AIMessage("Well?")]}

    inner = chain(once=once, ask=ask).compile()
    graph = chat.compile(chain(inner=inner, outer=says("ok")))
    for given in ({"messages": ["one"]}, Command(resume="so")):
        await chat.call(graph, "invoke", given, ALICE, durability=durability)
    session = await only_session(chat, db, "inner")
    expected = ["one", "Well?", "You said so", "ok"]
    assert await conversation(chat, graph, session) == expected
    assert ran == ["once"]


async def test_an_interrupt_under_a_node_function_resumes(chat: Chat, db: Connection) -> None:
    """An interrupt in a graph that a node function invokes resumes there."""
    inner = chain(ask=ask).compile()
    graph = chat.compile(chain(outer=calls(chat, inner)))
    assert (await chat.say("one", graph, user_id="alice"))["__interrupt__"]
    await chat.call(graph, "invoke", Command(resume="so"), ALICE)
    session = await only_session(chat, db, "outer")
    assert await conversation(chat, graph, session) == ["one", "You said so"]


async def test_a_run_that_waits_is_resumed_in_its_own_session(chat: Chat) -> None:
    """A run that waits in one session is not disturbed by a run in another, and resumes there."""
    graph = chat.compile(chain(ask=ask))
    await chat.say("one", graph, user_id="alice")
    waiting = await chat.current()
    await chat.say("two", graph, user_id="alice", new_session=True)
    other = await chat.current()
    await chat.call(graph, "invoke", Command(resume="so"), waiting.config)
    assert await conversation(chat, graph, waiting) == ["one", "You said so"]
    assert await conversation(chat, graph, other) == ["two"]


async def test_a_breakpoint_is_passed_with_the_users_id(chat: Chat, db: Connection) -> None:
    """A graph that stops before a node goes on when invoked with `None` and the user's id."""
    graph = chat.compile(chain(first=says("a"), last=says("b")), interrupt_before=["last"])
    assert texts(await chat.say("one", graph, user_id="alice")) == ["one", "a"]
    await chat.call(graph, "invoke", None, ALICE)
    session = await only_session(chat, db)
    assert await conversation(chat, graph, session) == ["one", "a", "b"]


async def test_a_failed_run_goes_on_where_it_failed(chat: Chat, db: Connection) -> None:
    """After a node failed, invoking with `None` keeps what the node beside it had done."""
    ran: list[str] = []

    def steady(state: MessagesState) -> dict[str, Any]:
        ran.append("steady")
        return {"messages": [AIMessage("steady")]}

    def shaky(state: MessagesState) -> dict[str, Any]:
        ran.append("shaky")
        if ran.count("shaky") == 1:
            while not db.execute(saved).fetchall():
                pass
            raise ConnectionError("try again")
        return {"messages": [AIMessage("shaky")]}

    # Failing sooner could cancel the other node's save.
    saved = "SELECT FROM checkpoint_writes WHERE channel = 'messages'"
    builder = chain(steady=steady)
    builder.add_node("shaky", shaky)
    builder.add_edge(START, "shaky")
    graph = chat.compile(builder)
    with pytest.raises(ConnectionError):
        await chat.say("one", graph, user_id="alice")
    await chat.call(graph, "invoke", None, ALICE)
    session = await only_session(chat, db)
    assert sorted(await conversation(chat, graph, session)) == ["one", "shaky", "steady"]
    assert (ran.count("steady"), ran.count("shaky")) == (1, 2)


# --- Time travel and state --------------------------------------------------------------------


async def two_turns(chat: Chat) -> Any:
    """Talk twice, and return the state just before the second answer."""
    await chat.say("one", user_id="alice")
    await chat.say("two", user_id="alice")
    session = await chat.current()
    history = await chat.call(chat.graph, "get_state_history", session.config)
    (state,) = (s for s in history if texts(s) == ["one", "1 so far", "two"])
    return state


async def test_history_lists_every_state_of_the_session(chat: Chat, db: Connection) -> None:
    """`get_state_history` gives the states newest first, each with a config to read it by."""
    await two_turns(chat)
    session = await only_session(chat, db)
    history = await chat.call(chat.graph, "get_state_history", session.config)
    assert [len(texts(state)) for state in history] == [4, 3, 2, 2, 1, 0]
    for state in history:
        assert state.config["configurable"]["thread_id"] == session.thread_id
        assert await chat.call(chat.graph, "get_state", state.config) == state
    for state, parent in pairwise(history):
        assert state.parent_config == parent.config


async def test_a_run_from_an_old_checkpoint_answers_again(chat: Chat, db: Connection) -> None:
    """`invoke(None, state.config)` goes on from there; the user's next run goes on from that."""
    state = await two_turns(chat)
    again = await chat.call(chat.graph, "invoke", None, state.config)
    assert texts(again) == ["one", "1 so far", "two", "3 so far"]
    await chat.say("three", user_id="alice")
    session = await only_session(chat, db)
    expected = ["one", "1 so far", "two", "3 so far", "three", "5 so far"]
    assert await chat.history(session) == expected


async def test_a_fork_takes_the_conversation_elsewhere(chat: Chat, db: Connection) -> None:
    """`update_state` on an old checkpoint forks, and its config runs the fork."""
    state = await two_turns(chat)
    instead = HumanMessage("instead", id=state.values["messages"][-1].id)
    forked = await chat.call(
        chat.graph, "update_state", state.config, {"messages": [instead]}, as_node=START
    )
    await chat.call(chat.graph, "invoke", None, forked)
    await chat.say("three", user_id="alice")
    session = await only_session(chat, db)
    expected = ["one", "1 so far", "instead", "3 so far", "three", "5 so far"]
    assert await chat.history(session) == expected


async def test_a_checkpoint_is_copied(chat: Chat, db: Connection) -> None:
    """`update_state(…, as_node="__copy__")` goes back to an old checkpoint by a copy of it."""
    state = await two_turns(chat)
    copied = await chat.call(chat.graph, "update_state", state.config, None, as_node="__copy__")
    await chat.call(chat.graph, "invoke", None, copied)
    session = await only_session(chat, db)
    assert await chat.history(session) == ["one", "1 so far", "two", "3 so far"]
    copies = db.execute("SELECT metadata ->> 'source' AS s FROM checkpoints").fetchall()
    assert [row["s"] for row in copies].count("fork") == 1


async def test_time_travel_makes_the_old_session_current(chat: Chat) -> None:
    """A run from an old checkpoint is a run of its session, which becomes current."""
    state = await two_turns(chat)
    first = await chat.current()
    await chat.say("elsewhere", user_id="alice", new_session=True)
    await chat.call(chat.graph, "get_state", state.config)
    assert (await chat.current()).thread_id != first.thread_id
    await chat.call(chat.graph, "invoke", None, state.config)
    assert (await chat.current()).thread_id == first.thread_id


async def test_a_checkpoint_id_alone_is_one_of_the_current_session(chat: Chat) -> None:
    """Without a thread id, a checkpoint id picks a checkpoint of the current session."""
    state = await two_turns(chat)
    checkpoint_id = state.config["configurable"]["checkpoint_id"]
    travel = config(user_id="alice", checkpoint_id=checkpoint_id)
    again = await chat.call(chat.graph, "invoke", {"messages": ["instead"]}, travel)
    assert texts(again) == ["one", "1 so far", "two", "instead", "4 so far"]
    assert len(await chat.sessions()) == 1


async def test_update_state_adds_to_the_session(chat: Chat, db: Connection) -> None:
    """`update_state` adds to the conversation, and returns a config to go on with."""
    await chat.say("one", user_id="alice")
    session = await only_session(chat, db)
    added = {"messages": [AIMessage("added")]}
    saved = await chat.call(chat.graph, "update_state", session.config, added, as_node="node")
    assert texts(await chat.call(chat.graph, "get_state", saved)) == ["one", "1 so far", "added"]
    state = await chat.call(chat.graph, "invoke", {"messages": ["two"]}, saved)
    assert texts(state) == ["one", "1 so far", "added", "two", "4 so far"]
    await only_session(chat, db)


async def test_update_state_starts_a_session(chat: Chat, db: Connection) -> None:
    """`update_state` on a thread id that nothing has makes a session of it, which runs go on."""
    new = config(user_id="alice", thread_id="mine")
    await chat.call(chat.graph, "update_state", new, {"messages": ["one"]}, as_node=START)
    await chat.call(chat.graph, "invoke", None, ALICE)
    session = await only_session(chat, db)
    assert session.thread_id == "mine"
    assert await chat.history(session) == ["one", "1 so far"]


async def test_bulk_update_state_replays_a_conversation(chat: Chat, db: Connection) -> None:
    """`bulk_update_state` writes several steps into a session, one after another."""
    new = config(user_id="alice", thread_id="mine")
    steps = [
        [StateUpdate({"messages": ["one"]}, START)],
        [StateUpdate({"messages": [AIMessage("two")]}, "node")],
    ]
    saved = await chat.call(chat.graph, "bulk_update_state", new, steps)
    assert texts(await chat.call(chat.graph, "get_state", saved)) == ["one", "two"]
    await chat.say("three", user_id="alice")
    assert await chat.history(await only_session(chat, db)) == ["one", "two", "three", "3 so far"]


def waiting_graph(chat: Chat) -> Any:
    """Return a graph that asks the human two levels down."""
    innermost = chain(ask=ask).compile()
    inner = chain(deeper=innermost).compile()
    return chat.compile(chain(inner=inner, outer=says("ok")))


def reading(target: RunnableConfig) -> RunnableConfig:
    """Return *target* without the one checkpoint that it names."""
    configurable = {k: v for k, v in target["configurable"].items() if k != "checkpoint_id"}
    return {"configurable": configurable}


async def test_get_state_sees_into_interrupted_subgraphs(chat: Chat) -> None:
    """`get_state(subgraphs=True)` shows the states of the subgraphs that wait, at each level."""
    graph = waiting_graph(chat)
    await chat.say("one", graph, user_id="alice")
    session = await chat.current()
    state = await chat.call(graph, "get_state", session.config, subgraphs=True)
    inner = state.tasks[0].state
    innermost = inner.tasks[0].state
    assert (state.next, inner.next, innermost.next) == (("inner",), ("deeper",), ("ask",))
    assert texts(innermost) == ["one"]
    assert [i.value for i in innermost.tasks[0].interrupts] == ["Why?"]
    for level in (state, inner, innermost):
        assert level.config["configurable"]["user_id"] == "alice"
        assert level.config["configurable"]["thread_id"] == session.thread_id


async def test_a_tasks_state_is_read_by_the_config_it_carries(chat: Chat) -> None:
    """`get_state(state.tasks[0].state)` reads the state of the subgraph that waits."""
    graph = waiting_graph(chat)
    await chat.say("one", graph, user_id="alice")
    state = await chat.call(graph, "get_state", (await chat.current()).config)
    inner = await chat.call(graph, "get_state", state.tasks[0].state)
    innermost = await chat.call(graph, "get_state", inner.tasks[0].state)
    assert (inner.next, innermost.next) == (("deeper",), ("ask",))


@pytest.mark.parametrize("whole", [True, False], ids=["snapshot", "config"])
async def test_a_subgraphs_history_is_read_by_its_tasks_state(chat: Chat, whole: bool) -> None:
    """`get_state_history` of a task's state lists the states of the subgraph that waits."""
    graph = waiting_graph(chat)
    await chat.say("one", graph, user_id="alice")
    current = (await chat.current()).config
    state = await chat.call(graph, "get_state", current, subgraphs=whole)
    target = state.tasks[0].state.config if whole else state.tasks[0].state
    history = await chat.call(graph, "get_state_history", reading(target))
    assert [s.next for s in history] == [("deeper",), (START,)]


@pytest.mark.parametrize("whole", [True, False], ids=["snapshot", "config"])
async def test_update_state_reaches_into_a_subgraph(
    chat: Chat, db: Connection, whole: bool
) -> None:
    """A subgraph that waits can be given another state, which it resumes with."""
    inner = chain(first=says("Well?"), ask=ask).compile()
    graph = chat.compile(chain(inner=inner))
    await chat.say("one", graph, user_id="alice")
    current = (await chat.current()).config
    state = await chat.call(graph, "get_state", current, subgraphs=whole)
    target = state.tasks[0].state.config if whole else state.tasks[0].state
    await chat.call(graph, "update_state", target, {"messages": [HumanMessage("hm")]})
    await chat.call(graph, "invoke", Command(resume="so"), ALICE)
    session = await only_session(chat, db, "inner")
    assert await conversation(chat, graph, session) == ["one", "Well?", "hm", "You said so"]


# --- Batches, streams, events -----------------------------------------------------------------


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


# --- Parallel nodes, delta channels, strict mode ------------------------------------------------


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_parallel_nodes_and_sends(chat: Chat, db: Connection, durability: str) -> None:
    """Nodes and subgraphs side by side, and `Send`s, all save to the one session."""

    def work(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"did {state['messages'][-1].content}")]}

    def share_out(state: MessagesState) -> list[Send]:
        return [Send("work", {"messages": [AIMessage(f"part {n}")]}) for n in range(3)]

    builder = chain(left=says("left"))
    builder.add_node("right", chain(inner=says("right")).compile())
    builder.add_node("work", work)
    builder.add_edge(START, "right")
    builder.add_conditional_edges("left", share_out, ["work"])
    graph = chat.compile(builder)
    for text in ("one", "two"):
        given = (graph, "invoke", {"messages": [text]}, ALICE)
        await chat.call(*given, durability=durability)
    session = await only_session(chat, db, *([] if durability == "exit" else ["right"]))
    turn = ["left", "right", "did part 0", "did part 1", "did part 2"]
    said = await conversation(chat, graph, session)
    # A subgraph returns the messages it was given beside its own; add_messages sorts that out.
    assert said == ["one", *turn, "two", *turn]


def delta_graph(chat: Chat, snapshot_frequency: int, **nodes: Any) -> Any:
    """Return a graph whose messages are a `DeltaChannel`."""
    delta = pytest.importorskip("langgraph.channels.delta")
    from langgraph.graph.message import _messages_delta_reducer as reducer

    channel = delta.DeltaChannel(reducer, snapshot_frequency=snapshot_frequency)
    fields = {"messages": Annotated[list[AnyMessage], channel]}
    builder = StateGraph(TypedDict("State", fields))
    builder.add_sequence(list(nodes.items()))
    builder.add_edge(START, next(iter(nodes)))
    return chat.compile(builder)


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("snapshot_frequency", [1, 2, 100])
async def test_delta_channels(
    chat: Chat, db: Connection, snapshot_frequency: int, durability: str
) -> None:
    """A conversation kept as deltas is the same, turn after turn."""

    def count(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{len(state['messages'])} so far")]}

    graph = delta_graph(chat, snapshot_frequency, node=count)
    for text in ("one", "two", "three"):
        given = (graph, "invoke", {"messages": [HumanMessage(text)]}, ALICE)
        await chat.call(*given, durability=durability)
    session = await only_session(chat, db)
    expected = ["one", "1 so far", "two", "3 so far", "three", "5 so far"]
    assert await conversation(chat, graph, session) == expected


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_delta_channels_over_an_interrupt(
    chat: Chat, db: Connection, durability: str
) -> None:
    """A conversation kept as deltas survives an interrupt, and time travel after it."""
    graph = delta_graph(chat, 100, first=says("Well?"), ask=lambda state: ask(state))
    for given in ({"messages": [HumanMessage("one")]}, Command(resume="so")):
        await chat.call(graph, "invoke", given, ALICE, durability=durability)
    session = await only_session(chat, db)
    assert await conversation(chat, graph, session) == ["one", "Well?", "You said so"]
    history = await chat.call(graph, "get_state_history", session.config)
    (waiting,) = (s for s in history if s.next == ("ask",))
    await chat.call(graph, "invoke", None, waiting.config)
    resumed = await chat.call(graph, "invoke", Command(resume="no"), ALICE)
    assert texts(resumed) == ["one", "Well?", "You said no"]


STRICT = """
import asyncio, dataclasses, sys
from typing import TypedDict
from langgraph.checkpoint.serde._msgpack import STRICT_MSGPACK_ENABLED
from langgraph.graph import START, StateGraph
from langgraph_sessions import AsyncSessionSaver, SessionSaver

@dataclasses.dataclass
class Pet:
    age: int

class State(TypedDict):
    pet: Pet

def grow(state):
    return {"pet": Pet(state["pet"].age + 1)}

def compiled(saver):
    builder = StateGraph(State)
    builder.add_node("grow", grow)
    builder.add_edge(START, "grow")
    inner = builder.compile()
    outer = StateGraph(State)
    outer.add_node("inner", inner)
    outer.add_edge(START, "inner")
    return outer.compile(checkpointer=saver)

def sync(url):
    with SessionSaver(url) as saver:
        graph = compiled(saver)
        who = {"configurable": {"user_id": "sync"}}
        graph.invoke({"pet": Pet(1)}, who)
        graph.invoke({}, who)
        session = saver.sessions.get_current_user_session("sync")
        assert graph.get_state(session.config).values == {"pet": Pet(3)}

async def native(url):
    async with AsyncSessionSaver(url) as saver:
        graph = compiled(saver)
        who = {"configurable": {"user_id": "async"}}
        await graph.ainvoke({"pet": Pet(1)}, who)
        await graph.ainvoke({}, who)
        session = await saver.sessions.get_current_user_session("async")
        assert (await graph.aget_state(session.config)).values == {"pet": Pet(3)}

assert STRICT_MSGPACK_ENABLED
sync(sys.argv[1])
asyncio.run(native(sys.argv[1]))
"""


def test_strict_msgpack(url: str, db: Connection) -> None:
    """In strict msgpack mode the graph's own types come back, in one session a user."""
    ended = python(STRICT, url, env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"})
    assert (ended.returncode, ended.stderr) == (0, "")
    counted = db.execute("SELECT user_id, count(*) FROM user_sessions GROUP BY 1 ORDER BY 1")
    assert [tuple(row.values()) for row in counted] == [("async", 1), ("sync", 1)]
    assert all(inner == {"", "inner"} for inner in namespaces(db).values())
