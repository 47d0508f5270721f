"""A title from a conversation's first human message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langgraph_sessions.titles.messages import MESSAGES, said
from langgraph_sessions.titles.text import shorten

INPUT_CHANNEL: Final = "__start__"
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
    """Return the title that a checkpoint's values suggest, or `None`.

    The conversation's own messages come first: an adopted thread is titled by how it
    began, not by the input of the run that adopts it.
    """
    channels = {MESSAGES: channel_values.get(MESSAGES), **channel_values}
    given = channels.pop(INPUT_CHANNEL, None)
    return from_values(channels.items()) or from_input(given)


def from_input(given: object) -> str | None:
    """Return the title that a graph's or entrypoint's input suggests, or `None`."""
    if isinstance(given, str | list | tuple | HumanMessage):
        return from_values([(MESSAGES, given)])
    if not isinstance(given, Mapping):
        given = getattr(given, "__dict__", None) or {}
    values = {MESSAGES: given.get(MESSAGES), **given}
    return from_values(values.items()) or from_values([(MESSAGES, given)])


def from_values(values: Iterable[tuple[str, Any]]) -> str | None:
    """Return the title that channel values suggest, or `None`."""
    for channel, value in values:
        for message in said(channel, value):
            if isinstance(message, HumanMessage) and (title := shorten(text_of(message))):
                return title
    return None


def text_of(message: BaseMessage) -> str:
    """Return a message's text, without blocks of other kinds; '' if it has none."""
    content: Any = message.content  # What providers and users put there, whatever its type says.
    blocks = content if isinstance(content, list) else [content]
    return " ".join(text for text in map(_block_text, blocks) if text)


def _block_text(block: object) -> str:
    if isinstance(block, Mapping) and block.get("type") in _OF_TEXT:
        block = block.get("text")
    return block if isinstance(block, str) else ""
