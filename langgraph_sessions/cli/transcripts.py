"""A session with what was said in it: for a terminal, and as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph_sessions.cli.terminal import literal, one_line
from langgraph_sessions.models import Session


def session_text(session: Session) -> str:
    """Return what there is to say of a session, a line for each."""
    return "\n".join(literal(f"{key + ':':<12} {_told(value)}") for key, value in session.items())


def _told(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def message_text(record: Mapping[str, Any]) -> str:
    """Return an exported message as people read it: who said it, and what."""
    # Indented, so that no message can pass for another's.
    text = "\n".join([*_texts(record), *(f"calls {name} {call}" for name, call in _calls(record))])
    return literal(f"{record['role']}>\n    " + text.replace("\n", "\n    "), keep="\n\t")


def markdown(session: Session, said: Sequence[Mapping[str, Any]]) -> str:
    """Return a session as a document; what was said is quoted, so that it can pass for no other."""
    title = re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", one_line(session.title))
    about = [
        f"- {name}: `{one_line(str(session[key])).replace('`', '')}`"
        for name, key in (("User", "user_id"), ("Thread", "thread_id"), ("Used", "updated_at"))
    ]
    return "\n\n".join([f"# {title}", "\n".join(about), *map(_message_markdown, said)])


def _message_markdown(record: Mapping[str, Any]) -> str:
    calls = (f"```json\n{name} {call}\n```" for name, call in _calls(record))
    text = literal("\n\n".join([*_texts(record), *calls]), keep="\n\t")
    return f"**{one_line(record['role'])}**\n\n" + re.sub("^", "> ", text, flags=re.MULTILINE)


def _texts(record: Mapping[str, Any]) -> Iterable[str]:
    """Return a message's parts: texts as they are, what else it has as JSON."""
    content = record["content"]
    parts = [content] if isinstance(content, str) else content
    texts = (part if isinstance(part, str) else part.get("text") for part in parts)
    return [text or json.dumps(part) for text, part in zip(texts, parts, strict=True) if part]


def _calls(record: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Return the names of the tools that a message calls, and the calls as JSON."""
    return [(call["name"], json.dumps(call)) for call in record["message"].get("tool_calls") or []]
