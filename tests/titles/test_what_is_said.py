"""Where words are found for a title: in every form of message, of input and of channel value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.graph.message import add_messages
from pydantic import BaseModel

from langgraph_sessions.titles import by_model
from langgraph_sessions.titles.from_words import (
    from_checkpoint,
    from_input,
    from_values,
    text_of,
    values_of,
)
from langgraph_sessions.titles.messages import said
from tests.titles.messages import HUMAN, IMAGE, odd_message, text_block

# --- Messages -----------------------------------------------------------------------------------

FORMS: dict[str, Any] = {
    "string": "Plan a trip",
    "message": HUMAN,
    "chunk": HumanMessageChunk(content="Plan a trip"),
    "tuple": ("human", "Plan a trip"),
    "user tuple": ("user", "Plan a trip"),
    "dict": {"role": "user", "content": "Plan a trip"},
    "typed dict": {"type": "human", "content": "Plan a trip"},
    "dict of blocks": {"role": "user", "content": [text_block("Plan a trip")]},
    "blocks": HumanMessage([text_block("Plan"), IMAGE, text_block("a trip")]),
    "strings": HumanMessage(["Plan", "a trip"]),
    "white space": "\n  Plan\ta   trip \n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("listed", [True, False], ids=["list", "single"])
def test_whatever_langgraph_takes_for_a_message_is_one(form: str, listed: bool) -> None:
    """In `messages`, in a list or alone: as a value, in an input, and in a write."""
    given = [FORMS[form]] if listed else FORMS[form]
    assert from_checkpoint({"messages": given}) == "Plan a trip"
    assert from_input({"messages": given}) == "Plan a trip"
    assert from_values([("messages", given)]) == "Plan a trip"


@pytest.mark.parametrize("form", ["message", "dict", "blocks"])
def test_in_another_channel_only_what_is_a_message_counts(form: str) -> None:
    """Message objects, and dicts with `role` and `content`."""
    assert from_checkpoint({"chat": [FORMS[form]]}) == "Plan a trip"


@pytest.mark.parametrize("form", ["string", "tuple", "typed dict"])
def test_in_another_channel_words_are_no_messages(form: str) -> None:
    """A list of words, pairs or records is the application's own."""
    assert from_checkpoint({"topic": [FORMS[form]]}) is None


NOT_HUMAN = [AIMessage("Hello!"), SystemMessage("Be brief"), ToolMessage("42", tool_call_id="1")]


@pytest.mark.parametrize("before", NOT_HUMAN, ids=lambda message: message.type)
def test_what_others_say_first_is_no_title(before: Any) -> None:
    """The first human message after it is."""
    assert from_values([("messages", [before])]) is None
    assert from_values([("messages", [before, HUMAN])]) == "Plan a trip"


TEXTS: list[tuple[Any, str]] = [
    ("Plan", "Plan"),
    (["Plan", "a trip"], "Plan a trip"),
    ([text_block("Plan"), IMAGE, text_block("a trip")], "Plan a trip"),
    ([IMAGE], ""),
    ([], ""),
    ([{"type": "text"}, {"type": "text", "text": 5}, {"text": None}], ""),
    ([{"type": "input_text", "text": "Plan"}, {"text": "a trip"}], "Plan a trip"),
    ([{"type": "output_text", "text": "A trip"}], "A trip"),
    ([{"type": "thinking", "text": "Hm"}, {"type": "text-plain", "text": "A file"}], ""),
    (text_block("Plan"), "Plan"),
    (None, ""),
    (5, ""),
]


@pytest.mark.parametrize(("content", "text"), TEXTS, ids=repr)
def test_a_messages_text_is_that_of_its_blocks(content: Any, text: str) -> None:
    """Blocks of other kinds say nothing, and what is no text is none."""
    assert text_of(odd_message(content)) == text


# --- Inputs -------------------------------------------------------------------------------------


@dataclass
class AsDataclass:
    """A conversation in a dataclass."""

    messages: Annotated[list[AnyMessage], add_messages]


class AsModel(BaseModel):
    """A conversation in a pydantic model."""

    messages: Annotated[list[AnyMessage], add_messages]


INPUTS = [
    "Plan a trip",
    HUMAN,
    [HUMAN],
    ["Plan a trip"],
    ("user", "Plan a trip"),
    {"messages": ["Plan a trip"]},
    {"messages": "Plan a trip"},
    {"role": "user", "content": "Plan a trip"},
    {"chat": [HUMAN], "topic": "Not this"},
    {"topic": "Not this", "messages": [("user", "Plan a trip")]},
    {"messages": [], "chat": HUMAN},
    AsDataclass([HUMAN]),
    AsModel(messages=[HUMAN]),
]


@pytest.mark.parametrize("given", INPUTS, ids=repr)
def test_an_input_says_what_it_is_about(given: Any) -> None:
    """A string, messages, a mapping that holds some, a dataclass or a model."""
    assert from_input(given) == "Plan a trip"
    assert from_checkpoint({"__start__": given}) == "Plan a trip"


@pytest.mark.parametrize("given", [None, 5, {}, [], "", "  ", {"topic": "x"}, ...], ids=repr)
def test_an_input_without_a_message_says_nothing(given: Any) -> None:
    """Then there is no title yet."""
    assert from_input(given) is None
    assert from_checkpoint({"__start__": given}) is None


@pytest.mark.parametrize("channel", ["__start__", "__end__", "__previous__"])
def test_an_entrypoints_value_may_hold_messages(channel: str) -> None:
    """What it was given, returned or saved is looked into; another channel's dict is not."""
    value = {"messages": ["Plan a trip"]}
    assert from_values([(channel, value)]) == "Plan a trip"
    assert from_values([("topic", value)]) is None


# --- Channels -----------------------------------------------------------------------------------


def test_the_conversation_comes_before_other_channels() -> None:
    """`messages` first, then the others in their order, and the input last."""
    other, late = [HumanMessage("Other")], ["Late"]
    values = {"__start__": {"messages": late}, "chat": other, "messages": [HUMAN]}
    assert from_checkpoint(values) == "Plan a trip"
    assert from_checkpoint({**values, "messages": []}) == "Other"
    assert from_checkpoint({**values, "messages": [], "chat": []}) == "Late"


def test_a_delta_channels_snapshot_is_its_value() -> None:
    """Other values are as they are, and the checkpoint is left alone."""
    snapshot = _DeltaSnapshot([HUMAN])
    checkpoint: Checkpoint = {
        **empty_checkpoint(),
        "channel_values": {"messages": snapshot, "topic": "x"},
    }
    assert values_of(checkpoint) == {"messages": [HUMAN], "topic": "x"}
    assert checkpoint["channel_values"]["messages"] is snapshot


def test_the_first_write_that_says_something_counts() -> None:
    """Of a task's writes, in their order."""
    writes = [("topic", "x"), ("messages", [AIMessage("Hello!")]), ("messages", HUMAN)]
    assert from_values(writes) == "Plan a trip"


def test_what_is_said_is_each_message_in_order() -> None:
    """A single one as one, a list as many, what cannot be one as none."""
    both = [HUMAN, AIMessage("Rome")]
    assert [*said("messages", both)] == both
    assert [*said("messages", HUMAN)] == [HUMAN]
    assert [*said("messages", [HUMAN, 5, None, {"role": "nobody"}])] == [HUMAN]
    assert [*said("topic", "Plan a trip")] == []


# --- Answers ------------------------------------------------------------------------------------


ANSWERS: list[tuple[Any, bool]] = [
    (AIMessage("Rome"), True),
    (AIMessage(""), False),
    (AIMessage([IMAGE]), False),
    (HUMAN, False),
    (SystemMessage("Be brief"), False),
]


@pytest.mark.parametrize(("message", "answered"), ANSWERS, ids=repr)
def test_a_models_answer_is_one_in_words(message: Any, answered: bool) -> None:
    """In a checkpoint's values or in writes; a call of a tool is none yet."""
    assert by_model.is_answered({"messages": [HUMAN, message]}) is answered
    assert by_model.is_answered([("topic", "x"), ("messages", message)]) is answered
