"""A title from a conversation's first human message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langgraph_sessions.titles.messages import MESSAGES, said
from langgraph_sessions.titles.text import shorten

INPUT_CHANNEL: Final = "__start__"
# The names of few-shot examples, which are no words of this conversation's human.
_EXAMPLE: Final = re.compile(r"example|few[ _-]?shot", re.IGNORECASE)
# The types of content blocks whose `text` was said: LangChain's; those of OpenAI's Responses;
# Bedrock's have none.
_OF_TEXT: Final = ("text", "input_text", "output_text", None)


def values_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint's values by channel, a `DeltaChannel`'s snapshot as its value."""
    return {
        channel: value.value if isinstance(value, _DeltaSnapshot) else value
        for channel, value in checkpoint["channel_values"].items()
    }


def from_checkpoint(channel_values: Mapping[str, Any]) -> str | None:
    """Return the title that all of a checkpoint's values suggest, or `None`.

    The conversation's own messages come first, whatever else is in the state, and the input last.
    """
    channels = {MESSAGES: channel_values.get(MESSAGES), **channel_values}
    given = channels.pop(INPUT_CHANNEL, None)
    return from_values(channels.items()) or from_input(given)


def from_input(given: object) -> str | None:
    """Return the title that a graph's or entrypoint's input suggests, or `None`."""
    if isinstance(given, str | list | tuple | HumanMessage):
        return from_values([(MESSAGES, given)])
    state = state_in(given)
    values = {MESSAGES: state.get(MESSAGES), **state}
    return from_values(values.items()) or from_values([(MESSAGES, state)])


def from_added(values: Mapping[str, Any], before: Mapping[str, Any]) -> str | None:
    """Return the title in what the channels of *before* have in *values*, and had not then."""
    old = [message for channel, value in before.items() for message in said(channel, value)]
    new = [m for channel in before for m in said(channel, values.get(channel)) if m not in old]
    return from_values([(MESSAGES, new)])


def state_in(given: object) -> Mapping[str, Any]:
    """Return the state in an input: a mapping, a dataclass, a model, a `Command`."""
    if isinstance(given, Mapping):
        return given
    # It takes all of LangGraph with it, which whoever runs a graph has imported.
    from langgraph.types import Command

    if isinstance(given, Command):
        given = given.update
    if isinstance(given, Mapping):
        return given
    if is_dataclass(given):  # It may have no `__dict__`.
        return {each.name: getattr(given, each.name, None) for each in fields(given)}
    return getattr(given, "__dict__", None) or {}


def from_values(values: Iterable[tuple[str, Any]]) -> str | None:
    """Return the title that channel values suggest, or `None`."""
    for channel, value in values:
        for message in said(channel, value):
            if not isinstance(message, HumanMessage) or is_example(message):
                continue
            if title := shorten(text_of(message)):
                return title
    return None


def is_example(message: BaseMessage) -> bool:
    """Say whether a message is marked as an example for the model, which nobody said here.

    By LangChain's `example`, or by a name as OpenAI's `example_user` is.
    """
    marked = getattr(message, "example", False) is True
    return marked or bool(_EXAMPLE.match(message.name or ""))


def text_of(message: BaseMessage) -> str:
    """Return a message's text, without blocks of other kinds; '' if it has none."""
    content: Any = message.content  # What providers and users put there, whatever its type says.
    blocks = content if isinstance(content, list) else [content]
    return " ".join(text for text in map(_block_text, blocks) if text)


def _block_text(block: object) -> str:
    if isinstance(block, Mapping) and block.get("type") in _OF_TEXT:
        block = block.get("text")
    return block if isinstance(block, str) else ""
