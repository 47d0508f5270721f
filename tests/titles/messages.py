"""Messages of every form, and some that are none."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

HUMAN = HumanMessage("Plan a trip")
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}


def text_block(text: str) -> dict[str, str]:
    """Return a content block of text."""
    return {"type": "text", "text": text}


def odd_message(content: Any, kind: type[BaseMessage] = HumanMessage) -> BaseMessage:
    """Return a message that was never validated, as one is after `message.content = …`."""
    message = kind("")
    message.content = content
    return message
