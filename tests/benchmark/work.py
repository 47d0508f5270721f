"""What a turn does: the calls that LangGraph makes of a saver, or a whole run of a graph."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypedDict

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph._internal._constants import CONFIG_KEY_DURABILITY, CONFIG_KEY_RUNTIME
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages

from tests.graphs import Model, weather

# Has one turn: of a configurable, which begins a session or goes on with one.
Turn = Callable[[dict[str, Any], bool], Any]
Job = Callable[[Any], Turn]

SHORT: Final = 10  # Messages that a session has, and goes on having.
LONG: Final = 200


# --- The calls of a turn --------------------------------------------------------------------------


def calls(saver: Any) -> Turn:
    """Return what asks of *saver* what LangGraph 1.2 does in a turn, without LangGraph."""

    def turn(configurable: dict[str, Any], _new: bool) -> None:
        plan, answer = _turn(configurable), None
        try:
            while True:
                method, args = plan.send(answer)
                answer = getattr(saver, method)(*args)
        except StopIteration:
            return

    async def async_turn(configurable: dict[str, Any], _new: bool) -> None:
        plan, answer = _turn(configurable), None
        try:
            while True:
                method, args = plan.send(answer)
                answer = await getattr(saver, f"a{method}")(*args)
        except StopIteration:
            return

    return async_turn if isinstance(saver, AsyncPostgresSaver) else turn


def _messages(count: int) -> list[AnyMessage]:
    kinds = (HumanMessage, AIMessage)
    return [kinds[i % 2](f"Message {i} of a chat", id=f"message-{i}") for i in range(count)]


MESSAGES: Final = _messages(SHORT)
BRANCH: Final = "branch:to:node"


def _turn(configurable: dict[str, Any]) -> Generator[tuple[str, tuple[Any, ...]], Any, None]:
    """Yield the calls of a turn: one get_tuple, three times put, twice put_writes.

    The checkpoints are what LangGraph 1.2 makes for a graph of one node on ten messages. Like
    LangGraph, it gives the run a configurable of its own, with the keys of a run.
    """
    metadata = {"thread_id": configurable["thread_id"]} if "thread_id" in configurable else {}
    own = {**configurable, CONFIG_KEY_DURABILITY: "async", CONFIG_KEY_RUNTIME: None}
    config = {"metadata": metadata, "configurable": own}
    found = yield "get_tuple", (config,)
    loaded = found.config["configurable"] if found else {}
    config = {**config, "configurable": {"checkpoint_ns": "", **own, **loaded}}
    step = found.metadata["step"] + 1 if found else -1
    for number, (values, written) in enumerate(_supersteps()):
        checkpoint, new = _checkpoint(step + number, values)
        about: dict[str, Any] = {
            "source": "loop" if number else "input",
            "step": step + number,
            "parents": {},
        }
        yield "put", (config, checkpoint, about, new)
        own = {**config["configurable"], "checkpoint_id": checkpoint["id"]}
        config = {**config, "configurable": own}
        if written:
            yield "put_writes", (config, written, str(uuid.uuid4()), "")


def _supersteps() -> list[tuple[dict[str, Any], list[tuple[str, Any]]]]:
    """Return the channels that each superstep's checkpoint has anew, and what is then written."""
    given = {"messages": [HumanMessage("Hello")]}
    return [
        ({"__start__": given}, [("messages", given["messages"]), (BRANCH, None)]),
        ({BRANCH: None, "messages": MESSAGES}, [("messages", [AIMessage("Hi there")])]),
        ({"messages": MESSAGES}, []),
    ]


def _checkpoint(step: int, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a v4 checkpoint and its new versions; step -1 is a thread's first."""
    now, last = (f"{step + back:032}.0.4817263545362718" for back in (2, 1))
    new = dict.fromkeys(values, now)
    if BRANCH in values:
        new["__start__"] = now
    elif "messages" in values:
        new[BRANCH] = now
    seen = {"__start__": {"__start__": last}, "node": {BRANCH: last}}
    checkpoint = {
        "v": 4,
        "id": str(uuid6(clock_seq=step)),
        "ts": datetime.now(UTC).isoformat(),
        "channel_values": {"messages": MESSAGES, **values},
        "channel_versions": {"__start__": last, BRANCH: last, "messages": last, **new},
        "versions_seen": {"__input__": {}, **seen},
        "updated_channels": sorted(values),
    }
    return checkpoint, new


# --- Whole turns ----------------------------------------------------------------------------------


def graph(build: Callable[[Any], Any], *, messages: int = 1, **options: Any) -> Job:
    """Return the job of running the graph that *build* compiles with a saver.

    A new session is given *messages*, one that goes on gets one more; *options* are those of
    `invoke`, such as the durability.
    """
    first = {"messages": _messages(messages)}

    def job(saver: Any) -> Turn:
        compiled = build(saver)
        invoke = compiled.ainvoke if isinstance(saver, AsyncPostgresSaver) else compiled.invoke

        def turn(configurable: dict[str, Any], new: bool) -> Any:
            given = first if new else {"messages": [HumanMessage("Hello")]}
            return invoke(given, {"configurable": configurable}, **options)

        return turn

    return job


def chat(messages: int = SHORT, **options: Any) -> Job:
    """Return the job of running a graph of one node, whose state keeps its last *messages*."""
    return graph(lambda saver: _builder(messages).compile(saver), messages=messages, **options)


def agent() -> Job:
    """Return the job of running an agent that calls a tool in each turn."""
    return graph(lambda saver: create_agent(Model(), [weather], checkpointer=saver))


def subgraph() -> Job:
    """Return the job of running a graph one of whose two nodes is a graph."""

    def build(saver: Any) -> Any:
        builder = _builder(SHORT)
        builder.add_node("inner", _builder(SHORT).compile())
        builder.add_edge("node", "inner")
        return builder.compile(saver)

    return graph(build, messages=SHORT)


def _builder(messages: int) -> Any:
    def keep(old: Any, new: Any) -> Any:
        """Let a session's turns go on costing the same."""
        return add_messages(old, new)[-messages:]  # type: ignore[index]

    def node(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("Hi there")]}

    fields = {"messages": Annotated[list[AnyMessage], keep]}
    builder: Any = StateGraph(TypedDict("State", fields))  # type: ignore[operator]
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder
