"""A session is titled by what its human said to a run, never by what nodes put there."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import Command

from tests.graphs import DURABILITIES, ask, calls, chain, delta_graph, says
from tests.support import Chat, config, graph_builder, past_pooler
from tests.titles.messages import IMAGE

Connection = psycopg.Connection[Any]

DEFAULT = "New Chat"
ALICE = config(user_id="alice")
ASKED = HumanMessage("Plan a trip")
EXAMPLES = [
    [HumanMessage("2 + 2", example=True), AIMessage("4", example=True)],
    [HumanMessage("2 + 2", name="example_user"), AIMessage("4", name="example_assistant")],
    [{"role": "user", "content": "2 + 2", "name": "example_user"}, ("ai", "4")],
    [SystemMessage("2 + 2", name="example_user"), SystemMessage("4", name="example_assistant")],
]


def prompts(state: Any) -> dict[str, Any]:
    """A node that puts a prompt of its own, and an example, before the model."""
    return {"messages": [HumanMessage("You are a guide"), AIMessage("Yes?")]}


async def title(chat: Chat, graph: Any, given: Any, **options: Any) -> str:
    """Run *graph* on what is *given*; return what alice's session is called then."""
    await chat.call(graph, "invoke", given, ALICE, **options)
    return (await chat.current()).title


@pytest.mark.parametrize("examples", EXAMPLES, ids=str)
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_example_is_no_title(chat: Chat, examples: list[Any], durability: str) -> None:
    """Messages marked as examples for the model are passed over; without others there is none."""
    graph = chat.compile(chain(node=says("ok")))
    given = {"messages": examples}
    assert await title(chat, graph, given, durability=durability) == DEFAULT
    given = {"messages": [*examples, ASKED]}
    assert await title(chat, graph, given, durability=durability) == "Plan a trip"


async def test_a_persons_name_is_no_mark(chat: Chat) -> None:
    """Where several people talk, their messages have their names."""
    given = {"messages": [HumanMessage("Plan a trip", name="Bob")]}
    assert await title(chat, chat.graph, given) == "Plan a trip"


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize(
    "words", [AIMessage("Welcome!"), HumanMessage([IMAGE])], ids=["ai", "image"]
)
async def test_a_nodes_prompt_is_no_title(chat: Chat, words: Any, durability: str) -> None:
    """Where the input has no words of a human's there is none, until one with words comes."""
    graph = chat.compile(chain(prompts=prompts, node=says("ok")))
    for given in ({"messages": [words]}, {"messages": [words]}):
        assert await title(chat, graph, given, durability=durability) == DEFAULT
    given = {"messages": [ASKED]}
    assert await title(chat, graph, given, durability=durability) == "Plan a trip"


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_prompt_before_the_input_is_no_title(chat: Chat, durability: str) -> None:
    """A node may put what it wants before the conversation, or in its place."""

    def first(old: list[Any] | None, new: list[Any]) -> list[Any]:
        return [*new, *(old or [])] if isinstance(new[0], HumanMessage) else [*(old or []), *new]

    builder = StateGraph(TypedDict("State", {"messages": Annotated[list[Any], first]}))
    builder.add_sequence([("prompts", lambda _: {"messages": [HumanMessage("You are a guide")]})])
    builder.add_edge(START, "prompts")
    found = await title(chat, chat.compile(builder), {"messages": [ASKED]}, durability=durability)
    # At the end of a run nothing tells which was first: a limit.
    assert found == ("You are a guide" if durability == "exit" else "Plan a trip")


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_subgraphs_prompt_is_no_title(chat: Chat, durability: str) -> None:
    """Neither of one that is a node, nor of one that a node calls."""
    inner = chain(prompts=prompts).compile()
    asked = {"messages": [HumanMessage("Look it up")]}
    graph = chat.compile(chain(sub=inner, calls=calls(chat, inner, asked)))
    given = {"messages": [ASKED]}
    assert await title(chat, graph, given, durability=durability) == "Plan a trip"


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_graph_on_the_runs_thread_gives_no_title(chat: Chat, durability: str) -> None:
    """Its input is what a node says, also where the run's own is saved at the end only."""
    inner, where = chat.compile(graph_builder()), config(user_id="alice", thread_id="hers")
    asked = {"messages": [HumanMessage("Look it up")]}
    graph = chat.compile(chain(calls=calls(chat, inner, asked, where)))
    given = {"messages": [ASKED]}
    await chat.call(graph, "invoke", given, where, durability=durability)
    assert (await chat.current()).title == "Plan a trip"


async def test_what_a_node_updates_is_no_title(chat: Chat) -> None:
    """`update_state` of the run's own thread, in a node, is the node's."""
    where = config(user_id="alice", thread_id="hers")

    def update(state: Any) -> dict[str, Any]:
        chat.graph.update_state(where, {"messages": [HumanMessage("You are a guide")]}, "node")
        return {"messages": [AIMessage("ok")]}

    async def aupdate(state: Any) -> dict[str, Any]:
        values = {"messages": [HumanMessage("You are a guide")]}
        await chat.graph.aupdate_state(where, values, "node")
        return {"messages": [AIMessage("ok")]}

    graph = chat.compile(chain(node=aupdate if chat.is_async else update))
    await chat.call(graph, "invoke", {"messages": [AIMessage("Welcome!")]}, where)
    assert (await chat.current()).title == DEFAULT


@pytest.mark.parametrize("new", [True, False], ids=["new", "known"])
@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_a_commands_update_titles(chat: Chat, durability: str, new: bool) -> None:
    """The human's words in a `Command`, and no prompt of the node it goes to."""
    graph = chat.compile(chain(node=prompts))
    if not new:
        await chat.call(graph, "invoke", {"messages": [AIMessage("Welcome!")]}, ALICE)
    goes = Command(goto="node")
    assert await title(chat, graph, goes, durability=durability) == DEFAULT
    command = Command(update={"messages": [ASKED]}, goto="node")
    assert await title(chat, graph, command, durability=durability) == "Plan a trip"


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_an_answer_is_no_title(chat: Chat, durability: str) -> None:
    """Nor what a node makes of it; what is said beside it is."""

    def node(state: Any) -> dict[str, Any]:
        said = ask(state)["messages"]
        return {"messages": [HumanMessage(said[0].content)]}

    graph = chat.compile(chain(ask=node))
    for number, answer in enumerate([{}, {"update": {"messages": [ASKED]}}]):
        await chat.call(graph, "invoke", {"messages": [AIMessage("Welcome!")]}, ALICE)
        resumed = Command(resume="because", **answer)
        found = await title(chat, graph, resumed, durability=durability)
        assert found == ("Plan a trip" if number else DEFAULT)


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_a_run_that_goes_on_gives_no_title(chat: Chat, durability: str) -> None:
    """`invoke(None)`, after an error or from an older checkpoint, has no words of its own."""
    failing = [ValueError("once")]

    def node(state: Any) -> dict[str, Any]:
        if failing:
            raise failing.pop()
        return {}

    graph = chat.compile(chain(prompts=prompts, node=node))
    with pytest.raises(ValueError, match="once"):
        await chat.call(graph, "invoke", {"messages": [AIMessage("Welcome!")]}, ALICE)
    assert await title(chat, graph, None, durability=durability) == DEFAULT
    first = [*await chat.call(graph, "get_state_history", (await chat.current()).config)][-2]
    await chat.call(graph, "invoke", None, first.config, durability=durability)
    assert (await chat.current()).title == DEFAULT


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("snapshot_frequency", [1, 100])
async def test_deltas_are_titled_by_the_input_alone(
    chat: Chat, snapshot_frequency: int, durability: str
) -> None:
    """What a node writes to a `DeltaChannel` is no title; an update's is."""
    graph = delta_graph(chat, snapshot_frequency, node=prompts)
    given = {"messages": [AIMessage("Welcome!")]}
    assert await title(chat, graph, given, durability=durability) == DEFAULT
    here = (await chat.current()).config
    await chat.call(graph, "update_state", here, {"messages": [ASKED]}, as_node="node")
    assert (await chat.current()).title == "Plan a trip"


async def test_an_update_titles_by_what_it_adds(chat: Chat) -> None:
    """An application's `update_state` is its human's words; what stood there before is not."""
    graph = chat.compile(chain(node=prompts))
    assert await title(chat, graph, {"messages": [AIMessage("Welcome!")]}) == DEFAULT
    here = (await chat.current()).config
    for said, found in ((AIMessage("Well?"), DEFAULT), (ASKED, "Plan a trip")):
        await chat.call(graph, "update_state", here, {"messages": [said]}, as_node="node")
        assert (await chat.current()).title == found


class Shown(TypedDict):
    """A conversation with examples beside it."""

    chat: Annotated[list[AnyMessage], add_messages]
    prompt: list[AnyMessage]


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_another_key_of_the_input_titles(chat: Chat, durability: str) -> None:
    """Whatever its name is, and whatever a node puts into another one."""
    builder = StateGraph(Shown)
    builder.add_sequence([("node", lambda _: {"prompt": [HumanMessage("You are a guide")]})])
    builder.add_edge(START, "node")
    graph = chat.compile(builder)
    assert await title(chat, graph, {"chat": [AIMessage("Hi")]}, durability=durability) == DEFAULT
    found = await title(chat, graph, {"chat": [ASKED]}, durability=durability)
    assert found == "Plan a trip"


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_what_an_entrypoint_returns_is_no_title(chat: Chat, durability: str) -> None:
    """Its input alone is; a number has no words."""

    @entrypoint(checkpointer=chat.saver)
    def answer(given: Any) -> Any:
        return prompts(given)

    assert await title(chat, answer, 5, durability=durability) == DEFAULT
    assert await title(chat, answer, "Plan a trip", durability=durability) == "Plan a trip"


async def test_a_thread_of_a_number_is_titled_by_its_own(chat: Chat) -> None:
    """LangGraph makes a string of it on the way, and its nodes get another config."""
    graph = chat.compile(chain(calls=calls(chat, chat.graph, {"messages": ["Look it up"]})))
    await chat.say("Plan a trip", graph, user_id="alice", thread_id=7)
    assert (await chat.current()).title == "Plan a trip"


@pytest.mark.parametrize("how", ["adopt_session", "backfill", "run"])
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_what_is_adopted_is_titled_by_how_it_began(
    chat: Chat, url: str, how: str, durability: str
) -> None:
    """By the first input with words; under `exit`, by the first human message there is."""

    def leave() -> None:
        with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
            graph = chain(prompts=prompts).compile(checkpointer=plain)
            for said in (AIMessage("Welcome!"), ASKED, HumanMessage("In May")):
                where = config(thread_id="t", user_id="alice")
                graph.invoke({"messages": [said]}, where, durability=durability)

    await asyncio.to_thread(leave)
    if how == "run":
        await chat.say("Go on", user_id="alice", thread_id="t")
    else:
        await chat.session(how, *(("alice", "t") if how == "adopt_session" else ()))
    found = "You are a guide" if durability == "exit" else "Plan a trip"
    assert (await chat.current()).title == found
