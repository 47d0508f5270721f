"""Messages as a page shows them: text, what is folded away, and what is only named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

LONGEST: Final = 50_000  # Characters of a text that a page shows.

_NAMES: Final = {"human": "Human", "ai": "AI", "tool": "Tool", "system": "System"}
_THOUGHTS: Final = ("thinking", "reasoning", "redacted_thinking")
# In contents of some providers; LangChain has them as tool calls as well.
_CALLS: Final = ("tool_use", "tool_call", "function_call", "tool_call_chunk", "invalid_tool_call")
_KINDS: Final = {"image_url": "Image", "input_image": "Image", "input_audio": "Audio"}


@dataclass(frozen=True)
class Part:
    """A part of a message.

    Attributes:
        kind: `"text"`, `"folded"`, or `"named"`, which has no text.
        name: What a folded or named part is called.
        text: What it says.
    """

    kind: str
    name: str = ""
    text: str = ""


@dataclass(frozen=True)
class Said:
    """A message.

    Attributes:
        kind: `"human"`, `"ai"`, `"tool"`, `"system"` or `"other"`.
        who: Who said it.
        name: The name that it was given, such as an agent's.
        parts: What it consists of.
    """

    kind: str
    who: str
    name: str
    parts: list[Part] = field(repr=False)


def shown(message: BaseMessage) -> Said:
    """Return *message* as it is shown."""
    kind = message.type if message.type in _NAMES else "other"
    who = _NAMES.get(message.type) or str(getattr(message, "role", message.type))
    parts = [*_content(message.content)]
    if isinstance(message, ToolMessage):
        parts = [_result(message, parts)]
    if isinstance(message, AIMessage):
        parts += _calls(message)
    return Said(kind, who, "" if kind == "tool" else message.name or "", parts)


def _calls(message: AIMessage) -> Iterator[Part]:
    for call in message.tool_calls:
        yield Part("folded", f"Calls {call['name']}", _cut(_json(call["args"])))
    for wrong in message.invalid_tool_calls:
        name = f"Calls {wrong['name']}, with arguments that cannot be read"
        yield Part("folded", name, _cut(str(wrong["args"])))


def _result(message: ToolMessage, parts: list[Part]) -> Part:
    """Fold what a tool answered."""
    done = "failed" if message.status == "error" else "answered"
    text = "\n".join(part.text or f"[{part.name}]" for part in parts)
    return Part("folded", f"{message.name or 'A tool'} {done}", text)


def _content(content: Any) -> Iterator[Part]:
    """Yield the parts of a message's content."""
    for block in content if isinstance(content, list) else [content]:
        if isinstance(block, str):
            if block:
                yield Part("text", text=_cut(block))
        elif isinstance(block, Mapping) and block.get("type") not in _CALLS:
            yield _block(block)


def _block(block: Mapping[str, Any]) -> Part:
    kind = str(block.get("type", ""))
    if kind in _THOUGHTS:
        thoughts = block.get("thinking") or block.get("reasoning") or block.get("summary")
        text = thoughts if isinstance(thoughts, str) else _json(thoughts)
        return Part("folded", "Thoughts", _cut(text)) if thoughts else Part("named", "Thoughts")
    if isinstance(block.get("text"), str):
        return Part("text", text=_cut(block["text"]))
    name = _KINDS.get(kind) or kind.replace("_", " ").capitalize() or "Data"
    about = ", ".join(_about(block))
    return Part("named", f"{name} ({about})" if about else name)


def _about(block: Mapping[str, Any]) -> Iterator[str]:
    """Say what is known of an image, a file or the like, but not what is in it."""
    for key in ("filename", "name", "title", "mime_type", "media_type"):
        if isinstance(value := block.get(key), str) and len(value) < 200:
            yield value
    for key in ("base64", "data"):
        if isinstance(value := block.get(key), str | bytes):
            yield _size(len(value) * 3 // 4 if isinstance(value, str) else len(value))


def _size(count: int) -> str:
    for unit in ("bytes", "kB"):
        if count < 1000:
            return f"{count} {unit}"
        count //= 1000
    return f"{count} MB"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n… and {len(text) - LONGEST:,} more characters, which an export has"
