"""The one reader of messages in channels' values, for titles and exports alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import BaseMessage, convert_to_messages

MESSAGES: Final = "messages"

# Whose value is what a graph or entrypoint was given, or an entrypoint returned or saved.
_WHOLE: Final = frozenset({"__start__", "__end__", "__previous__"})


def said(channel: str, value: Any) -> Iterator[BaseMessage]:
    """Yield the messages in a channel's *value*.

    One called `messages` may hold whatever LangGraph takes for messages. Any other holds message
    objects, or dicts with `role` and `content`; an entrypoint's, a dict with `messages`, too.
    """
    if channel in _WHOLE and isinstance(value, Mapping) and MESSAGES in value:
        channel, value = MESSAGES, value[MESSAGES]
    for item in _as_list(value):
        if isinstance(item, BaseMessage):
            yield item
        elif channel == MESSAGES or (
            isinstance(item, Mapping) and "role" in item and "content" in item
        ):
            yield from _converted(item)


def _as_list(value: Any) -> Sequence[Any]:
    """Wrap a single message, as `add_messages` does; a pair of strings is one message."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        return [value]
    return value if isinstance(value, list | tuple) else [value]


def _converted(item: Any) -> list[BaseMessage]:
    try:
        return convert_to_messages([item])
    except Exception:
        # Not a message: what LangChain complains with depends on what is wrong. A title is a
        # courtesy, which must never fail a run; nor must an export fail for one value.
        return []
