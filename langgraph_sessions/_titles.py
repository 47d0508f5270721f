"""A title from a conversation's first human message."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from langchain_core.messages import HumanMessage, MessageLikeRepresentation, convert_to_messages

LENGTH: Final = 80
INPUT_CHANNEL: Final = "__start__"
MESSAGES: Final = "messages"


def shorten(text: str) -> str:
    """Fold white space and cut *text* at a word to at most 80 characters."""
    printable = "".join(
        character
        for character in text
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cs")
    )
    folded = " ".join(printable.split())
    if len(folded) <= LENGTH:
        return folded
    head, space, _ = folded[: LENGTH + 1].rpartition(" ")
    return head if space else folded[:LENGTH]


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
        return _from_messages(given)
    if not isinstance(given, Mapping):
        given = getattr(given, "__dict__", None) or {}
    values = {MESSAGES: given.get(MESSAGES), **given}
    return from_values(values.items()) or _from_messages(given)


def from_values(values: Iterable[tuple[str, Any]]) -> str | None:
    """Return the title that channel values suggest, or `None`.

    A channel called `messages` may hold whatever LangGraph takes for messages; any
    other must hold message objects.
    """
    for channel, value in values:
        if channel == MESSAGES or _holds_messages(value):
            title = _from_messages(value)
            if title:
                return title
    return None


def _holds_messages(value: object) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(item, HumanMessage) for item in items)


def _from_messages(value: Any) -> str | None:
    for message in _as_list(value):
        title = shorten(_human_text(message))
        if title:
            return title
    return None


def _as_list(value: Any) -> Sequence[Any]:
    """Wrap a single message, as `add_messages` does; a pair of strings is one message."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return [value]
    return value if isinstance(value, list | tuple) else [value]


def _human_text(value: MessageLikeRepresentation) -> str:
    """Return the text of *value* if LangChain takes it for a human message, else ''."""
    try:
        (message,) = convert_to_messages([value])
    except (ValueError, TypeError, NotImplementedError, KeyError, AttributeError):
        return ""  # Not a message. A title is a courtesy: it must never fail a run.
    if not isinstance(message, HumanMessage):
        return ""
    return _text_of(message.content)


def _text_of(content: str | Sequence[str | Mapping[str, Any]]) -> str:
    blocks = [content] if isinstance(content, str) else content
    texts = (
        [block]
        if isinstance(block, str)
        else [block["text"]]
        if block.get("type") == "text" and isinstance(block.get("text"), str)
        else []
        for block in blocks
    )
    return " ".join(chain.from_iterable(texts))
