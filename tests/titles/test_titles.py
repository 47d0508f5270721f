"""A session that nobody titled is titled by its first human message, and nothing fails over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import Command
from pydantic import BaseModel

from tests.support import Chat, config
from tests.titles.messages import HUMAN, IMAGE, odd_message, text_block

DEFAULT = "New Chat"
ALICE = config(user_id="alice")
DURABILITIES = ["sync", "async", "exit"]


# --- Through graphs ---------------------------------------------------------------------------

FORMS: dict[str, Any] = {
    "string": "Plan a trip",
    "message": HUMAN,
    "tuple": ("human", "Plan a trip"),
    "user tuple": ("user", "Plan a trip"),
    "dict": {"role": "user", "content": "Plan a trip"},
    "dict of blocks": {"role": "user", "content": [text_block("Plan a trip")]},
    "blocks": HumanMessage([text_block("Plan"), IMAGE, text_block("a trip")]),
    "strings": HumanMessage(["Plan", "a trip"]),
    "white space": "\n  Plan\ta   trip \n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("listed", [True, False], ids=["list", "single"])
async def test_every_form_of_message_is_a_title(chat: Chat, form: str, listed: bool) -> None:
    """Whatever LangGraph takes for a human message titles the session, in a list or alone."""
    said = [FORMS[form]] if listed else FORMS[form]
    await chat.call(chat.graph, "invoke", {"messages": said}, ALICE)
    assert (await chat.current()).title == "Plan a trip"


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("form", ["string", "blocks", "dict"])
async def test_every_durability_titles(chat: Chat, form: str, durability: str) -> None:
    """When checkpoints are saved makes no difference to the title, which the first turn gives."""
    for said in (FORMS[form], "A second turn"):
        given = {"messages": [said]}
        await chat.call(chat.graph, "invoke", given, ALICE, durability=durability)
        assert (await chat.current()).title == "Plan a trip"


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("snapshot_frequency", [1, 2, 100])
async def test_delta_channels_title(chat: Chat, snapshot_frequency: int, durability: str) -> None:
    """Messages kept in a `DeltaChannel` title the session as others do."""
    delta = pytest.importorskip("langgraph.channels.delta")
    from langgraph.graph.message import _messages_delta_reducer as reducer

    channel = delta.DeltaChannel(reducer, snapshot_frequency=snapshot_frequency)
    graph = answering(chat, TypedDict("State", {"messages": Annotated[list[AnyMessage], channel]}))
    for said in ("Plan a trip", "A second turn"):
        given = {"messages": [HumanMessage(said)]}
        await chat.call(graph, "invoke", given, ALICE, durability=durability)
        assert (await chat.current()).title == "Plan a trip"


async def test_a_system_message_first_is_no_title(chat: Chat) -> None:
    """The first human message titles, not the first message."""
    said = [SystemMessage("Be brief"), AIMessage("Hello!"), "Plan a trip"]
    await chat.call(chat.graph, "invoke", {"messages": said}, ALICE)
    assert (await chat.current()).title == "Plan a trip"


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_image_is_no_title_but_the_text_after_it(chat: Chat, durability: str) -> None:
    """Messages without text leave the default, until one with text comes, in a later turn too."""
    for said, title in (
        (HumanMessage([IMAGE]), DEFAULT),
        (HumanMessage("  \n"), DEFAULT),
        (HumanMessage([IMAGE, text_block("Plan a trip")]), "Plan a trip"),
        ("A later turn", "Plan a trip"),
    ):
        await chat.call(chat.graph, "invoke", {"messages": [said]}, ALICE, durability=durability)
        assert (await chat.current()).title == title


async def test_a_long_message_is_cut_at_a_word(chat: Chat) -> None:
    """A title of a long message has at most 80 characters and ends with a whole word."""
    await chat.say("wordy " * 100, user_id="alice")
    assert (await chat.current()).title == ("wordy " * 13).strip()


def answering(chat: Chat, state: Any, channel: str = "messages") -> Any:
    """Return a graph over *state* that answers in *channel*."""
    builder = StateGraph(state)
    builder.add_node("node", lambda _: {channel: [AIMessage("ok")]})
    builder.add_edge(START, "node")
    return chat.compile(builder)


@dataclass
class AsDataclass:
    """A conversation in a dataclass."""

    messages: Annotated[list[AnyMessage], add_messages]


@dataclass(slots=True)
class AsSlots:
    """A conversation in a dataclass without a `__dict__`."""

    messages: Annotated[list[AnyMessage], add_messages]


class AsModel(BaseModel):
    """A conversation in a pydantic model."""

    messages: Annotated[list[AnyMessage], add_messages]


@pytest.mark.parametrize("kind", [AsDataclass, AsSlots, AsModel])
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_the_input_may_be_an_object(chat: Chat, kind: Any, durability: str) -> None:
    """An input that is a dataclass or a pydantic model titles as a dict does."""
    graph = answering(chat, kind)
    await chat.call(graph, "invoke", kind(messages=[HUMAN]), ALICE, durability=durability)
    assert (await chat.current()).title == "Plan a trip"


class Renamed(TypedDict):
    """A conversation in a channel of another name."""

    topic: str
    chat: Annotated[list[AnyMessage], add_messages]


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("said", ["Plan a trip", HUMAN], ids=["string", "message"])
async def test_the_channel_may_have_another_name(chat: Chat, said: Any, durability: str) -> None:
    """Messages title the session whatever their channel is called; other channels do not."""
    graph = answering(chat, Renamed, "chat")
    given = {"topic": "Not this", "chat": [said]}
    await chat.call(graph, "invoke", given, ALICE, durability=durability)
    assert (await chat.current()).title == "Plan a trip"


@pytest.mark.parametrize(
    "said", ["Plan a trip", HUMAN, [HUMAN], {"messages": ["Plan a trip"]}], ids=repr
)
async def test_an_entrypoints_input_titles(chat: Chat, said: Any) -> None:
    """The input of an `@entrypoint` that is a message, or holds some, titles the session."""

    @entrypoint(checkpointer=chat.saver)
    def answer(given: Any) -> str:
        return "ok"

    await chat.call(answer, "invoke", said, ALICE)
    assert (await chat.current()).title == "Plan a trip"


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_commands_update_titles(chat: Chat, durability: str) -> None:
    """An input that is a `Command` with messages titles the session."""
    command = Command(update={"messages": ["Plan a trip"]}, goto="node")
    await chat.call(chat.graph, "invoke", command, ALICE, durability=durability)
    assert (await chat.current()).title == "Plan a trip"


async def test_update_state_titles(chat: Chat) -> None:
    """A session that `update_state` starts is titled by the messages that it is given."""
    new = config(user_id="alice", thread_id="mine")
    said = {"messages": ["Plan a trip"]}
    await chat.call(chat.graph, "update_state", new, said, as_node=START)
    assert (await chat.current()).title == "Plan a trip"


# --- Titles that somebody gave ----------------------------------------------------------------


async def by_configurable(chat: Chat, title: str) -> None:
    """Give a title with the first run."""
    await chat.say("The first", user_id="alice", title=title)


async def by_creation(chat: Chat, title: str) -> None:
    """Give a title when the session is made."""
    await chat.session("create_user_session", "alice", title)


async def by_get_or_create(chat: Chat, title: str) -> None:
    """Give a title in case there is no session."""
    await chat.session("get_or_create_user_session", "alice", title)


async def by_rename(chat: Chat, title: str) -> None:
    """Give an untitled session a title."""
    await chat.session("create_user_session", "alice")
    await chat.session("update_session", "alice", {"title": title})


async def by_rename_later(chat: Chat, title: str) -> None:
    """Give a session another title than its message's."""
    await chat.say("The first", user_id="alice")
    await chat.session("update_session", "alice", {"title": title})


async def by_update_state(chat: Chat, title: str) -> None:
    """Give a title with the config of `update_state`."""
    named = config(user_id="alice", thread_id="mine", title=title)
    await chat.call(chat.graph, "update_state", named, {"messages": ["x"]}, as_node=START)


RENAMES = [by_configurable, by_rename, by_rename_later, by_update_state]
GIVEN = [(give, "Mine") for give in (*RENAMES, by_creation, by_get_or_create)]
GIVEN += [(give, DEFAULT) for give in RENAMES]


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize(("give", "title"), GIVEN)
async def test_a_given_title_stays(chat: Chat, give: Any, title: str, durability: str) -> None:
    """No message replaces a title that somebody gave, be it the text of the default."""
    await give(chat, title)
    for said in ("Plan a trip", "A second turn"):
        given = {"messages": [said]}
        await chat.call(chat.graph, "invoke", given, ALICE, durability=durability)
        (session,) = await chat.sessions()
        assert session.title == title


@pytest.mark.parametrize("method", ["create_user_session", "get_or_create_user_session"])
async def test_a_default_title_gives_way(chat: Chat, method: str) -> None:
    """A session that was made without a title is titled by its first human message."""
    session = await chat.session(method, "alice")
    assert session.title == DEFAULT
    await chat.say("Plan a trip", user_id="alice")
    await chat.say("A second turn", user_id="alice")
    (session,) = await chat.sessions()
    assert session.title == "Plan a trip"


# --- Nothing odd fails a run --------------------------------------------------------------------


class Loose(TypedDict):
    """A channel that takes anything."""

    messages: Any


ODD: dict[str, Any] = {
    "none": None,
    "number": 5,
    "bytes": b"bytes",
    "dict": {"a": 1},
    "list": [None, 5, b"bytes", ["human"], {"role": 5}, {"role": "nobody", "content": "x"}],
    "pair": ("human", None),
    "odd blocks": HumanMessage([{"type": "text"}, {"no": "type"}, IMAGE]),
    "no content": odd_message(None),
    "odd content": [odd_message([None, 5, {"type": "text", "text": None}])],
    "answer without content": [odd_message(None, AIMessage)],
    "answer with odd content": [odd_message([None, 5, {"type": "text"}], AIMessage)],
}


# LangGraph's serialiser has pydantic warn of what it does not expect.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("durability", DURABILITIES)
async def test_nothing_odd_fails_a_run(chat: Chat, odd: str, durability: str) -> None:
    """A run whose messages are no messages at all succeeds, and its session is untitled."""
    builder = StateGraph(Loose)
    builder.add_node("node", lambda state: {"messages": state["messages"]})
    builder.add_edge(START, "node")
    graph = chat.compile(builder)
    await chat.call(graph, "invoke", {"messages": ODD[odd]}, ALICE, durability=durability)
    (session,) = await chat.sessions()
    assert session.title == DEFAULT
