"""A session that nobody titled is titled by its first human message, and nothing fails over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph, add_messages
from langgraph.types import Command
from pydantic import BaseModel

from langgraph_sessions import checks
from langgraph_sessions.titles.from_words import LENGTH, from_checkpoint, shorten
from tests.support import Chat, config

DEFAULT = "New Chat"
ALICE = config(user_id="alice")
DURABILITIES = ["sync", "async", "exit"]

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}


def text_block(text: str) -> dict[str, str]:
    """Return a content block of text."""
    return {"type": "text", "text": text}


# --- Shortening -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Plan a trip", "Plan a trip"),
        ("  Plan\n\ta\u00a0\u2003trip\r\n", "Plan a trip"),
        ("Pl\0an a tr\ud800ip\x07", "Plan a trip"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 80),
        ("x" * 80 + " y", "x" * 80),
        ("x" * 79 + " y", "x" * 79),
        ("x" * 78 + " y", "x" * 78 + " y"),
        ("word " * 16, "word " * 15 + "word"),
        ("word " * 17, "word " * 15 + "word"),
        ("", ""),
        (" \n\0 ", ""),
    ],
    ids=repr,
)
def test_shorten(text: str, title: str) -> None:
    """White space is folded, what no database can hold dropped, and the rest cut at a word."""
    assert shorten(text) == title


TEXTS = st.text(st.characters() | st.sampled_from(" \n\t\0\u2003\ud800x")) | st.text("xy ")


@given(TEXTS)
def test_a_short_text_can_be_stored(text: str) -> None:
    """Whatever it is made of, a title is one that may be given, of at most 80 characters."""
    title = shorten(text)
    assert len(title) <= LENGTH == 80
    assert title == " ".join(title.split())
    assert title == "" or checks.title(title) == title


@given(TEXTS)
def test_shortening_twice_is_shortening_once(text: str) -> None:
    """A title of a title is that title."""
    assert shorten(shorten(text)) == shorten(text)


@given(st.lists(st.text("xyz", min_size=1, max_size=30), max_size=20))
def test_a_text_is_cut_at_a_word(words: list[str]) -> None:
    """A title is as many of the first words as fit."""
    title = shorten(" ".join(words))
    kept = title.split()
    assert kept == words[: len(kept)]
    assert kept == words or len(" ".join(words[: len(kept) + 1])) > LENGTH


# --- What a checkpoint suggests ---------------------------------------------------------------

HUMAN = HumanMessage("Plan a trip")


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [HUMAN]},
        {"messages": HUMAN},
        {"messages": [AIMessage("Hello!"), HUMAN, HumanMessage("Later")]},
        {"messages": [HumanMessage([IMAGE]), HumanMessage(" "), HUMAN]},
        {"chat": [HUMAN]},
        {"chat": HUMAN},
        {"topic": ["not", "messages"], "chat": [HUMAN]},
        {"messages": [], "__start__": {"messages": [HUMAN]}},
        {"__start__": {"messages": ["Plan a trip"]}},
        {"__start__": {"messages": "Plan a trip"}},
        {"__start__": {"messages": ("user", "Plan a trip")}},
        {"__start__": {"role": "user", "content": "Plan a trip"}},
        {"__start__": "Plan a trip"},
        {"__start__": ["Plan a trip"]},
        {"__start__": HUMAN},
        {"messages": [HUMAN], "__start__": {"messages": ["A later run's"]}},
        {"chat": [HUMAN], "__start__": {"messages": ["A later run's"]}},
    ],
    ids=repr,
)
def test_the_first_human_message_is_found(values: dict[str, Any]) -> None:
    """The conversation's messages come first, then the input's, whatever form they have."""
    assert from_checkpoint(values) == "Plan a trip"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"messages": []},
        {"messages": [AIMessage("Hello!"), SystemMessage("Be brief")]},
        {"messages": [HumanMessage(""), HumanMessage([IMAGE])]},
        {"topic": "Plan a trip", "words": ["Plan", "a", "trip"]},
        {"__start__": {"topic": "Plan a trip"}},
        {"__start__": 5},
        {"__start__": {"messages": [("ai", "Hello!")]}},
    ],
    ids=repr,
)
def test_what_is_no_human_message_is_no_title(values: dict[str, Any]) -> None:
    """Other people's messages, empty ones and other channels suggest no title."""
    assert from_checkpoint(values) is None


def odd_message(content: Any, kind: type[BaseMessage] = HumanMessage) -> BaseMessage:
    """Return a message that was never validated, as one is after `message.content = …`."""
    message = kind("")
    message.content = content
    return message


class Slotted:
    """An input without a `__dict__`."""

    __slots__ = ("messages",)


KEYS = st.sampled_from(
    ["messages", "__start__", "role", "type", "content", "text", "name", "id", "tool_calls"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | TEXTS
    | st.sampled_from(["human", "user", "ai", "system", "tool", "text", "remove"])
    | st.builds(object)
    | st.builds(Slotted)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS | st.integers(), inner, max_size=4)
        | st.builds(odd_message, inner)
        | st.builds(AIMessage, TEXTS)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=500)
@given(st.dictionaries(KEYS, ANYTHING, max_size=4))
@example({"messages": [odd_message(None)]})
@example({"messages": [odd_message([None, 5, {"type": "text", "text": 5}])]})
@example({"messages": [odd_message({"type": "text"})]})
def test_nothing_odd_breaks_it(values: dict[str, Any]) -> None:
    """Whatever a checkpoint holds, there is a title that can be stored, or none."""
    title = from_checkpoint(values)
    assert title is None or checks.title(title) == title
    assert len(title or "") <= LENGTH


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


@pytest.mark.parametrize("unseen", ["\u200b\u200d", "\u202e", "\ufeff  \u2060"])
def test_what_does_not_show_is_no_title(unseen: str) -> None:
    """Text of characters without a shape is as good as empty, and nothing turns a list around."""
    assert shorten(unseen) == ""
    assert shorten(f"abc {unseen}def").replace("\u202e", "") == shorten(f"abc {unseen}def")
