"""How messages of any kind are shown, and how trees are drawn."""

from __future__ import annotations

from datetime import UTC, datetime

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langgraph_sessions.models import CheckpointInfo
from langgraph_sessions.web.lanes import rows
from langgraph_sessions.web.speaking import LONGEST, shown


def parts(message: BaseMessage) -> list[tuple[str, str, str]]:
    return [(part.kind, part.name, part.text) for part in shown(message).parts]


def test_who_speaks() -> None:
    """Each role has its name; a message's own is beside it."""
    assert shown(HumanMessage("a", name="Ann")).name == "Ann"
    said = [HumanMessage("a"), AIMessage("a"), SystemMessage("a"), ChatMessage("a", role="critic")]
    assert [shown(each).who for each in said] == ["Human", "AI", "System", "critic"]
    assert [shown(each).kind for each in said] == ["human", "ai", "system", "other"]


def test_tools_are_folded() -> None:
    """What is called, also where its arguments are none, and what was answered or failed."""
    call = {"name": "look", "args": {"where": "Köln"}, "id": "1"}
    wrong = {"name": "look", "args": "{", "id": "2", "error": None}
    message = AIMessage("", tool_calls=[call], invalid_tool_calls=[wrong])
    assert parts(message) == [
        ("folded", "Calls look", '{\n  "where": "Köln"\n}'),
        ("folded", "Calls look, with arguments that cannot be read", "{"),
    ]
    answer = ToolMessage(["a", {"type": "image", "base64": "aaaa"}], name="look", tool_call_id="1")
    assert parts(answer) == [("folded", "look answered", "a\n[Image (3 bytes)]")]
    failed = ToolMessage("no", tool_call_id="1", status="error")
    assert parts(failed) == [("folded", "A tool failed", "no")]


def test_what_is_no_text_is_named() -> None:
    """Images, files and what nobody knows have a name, a type and a size, and nothing raw."""
    content = [
        {"type": "text", "text": "Look"},
        {"type": "input_text", "text": "here"},
        {"text": "and there"},
        {"type": "image", "base64": "a" * 4000, "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}},
        {"type": "file", "filename": "a.pdf", "base64": "a" * 8_000_000},
        {"type": "something_new", "data": b"abc"},
        {"type": "tool_use", "id": "1", "name": "look", "input": {}},
        {},
    ]
    assert parts(HumanMessage(content)) == [
        ("text", "", "Look"),
        ("text", "", "here"),
        ("text", "", "and there"),
        ("named", "Image (image/png, 3 kB)", ""),
        ("named", "Image", ""),
        ("named", "File (a.pdf, 6 MB)", ""),
        ("named", "Something new (3 bytes)", ""),
        ("named", "Data", ""),
    ]


def test_thoughts_are_folded() -> None:
    """A model's reasoning is there for who wants it; what is encrypted has a name alone."""
    content = [{"type": "reasoning", "reasoning": "Hm"}, {"type": "redacted_thinking", "data": "x"}]
    assert parts(AIMessage(content)) == [("folded", "Thoughts", "Hm"), ("named", "Thoughts", "")]


def test_long_texts_are_cut() -> None:
    """A page shows a part, and says how much there is."""
    ((_, _, text),) = parts(HumanMessage("a" * (LONGEST + 1234)))
    assert text.startswith("a" * LONGEST + "\n… and 1,234 more")


# --- Trees ---------------------------------------------------------------------------------------


def checkpoint(own: str, parent: str | None) -> CheckpointInfo:
    return CheckpointInfo(own, parent, datetime.now(UTC), "loop", 1, None)


def drawn(*pairs: tuple[str, str | None], more: bool = False) -> list[str]:
    """Return the lanes as text: a dot, and the sides to which lines lead."""
    found = rows([checkpoint(*pair) for pair in pairs], more=more)
    return [" | ".join(row.cells) for row in found]


def test_a_line() -> None:
    """Without forks there is one lane, from the newest to the first."""
    assert drawn(("c", "b"), ("b", "a"), ("a", None)) == ["down dot", "up down dot", "up dot"]


def test_branches_meet_where_they_began() -> None:
    """Each has a lane, which ends beside what they have in common."""
    assert drawn(("e", "b"), ("d", "b"), ("c", "b"), ("b", "a"), ("a", None)) == [
        "down dot",
        "up down | down dot",
        "up down | up down | down dot",
        "up down right dot | up left right | up left",
        "up dot",
    ]


def test_a_page_that_is_not_the_last_leads_on() -> None:
    """Lines go on to what is on the next page; on the last page, what is missing is no parent."""
    assert drawn(("c", "b"), more=True) == ["down dot"]
    assert drawn(("c", "b"), ("a", None)) == ["dot", "dot"]


def test_ends_of_branches_are_told() -> None:
    """What nothing followed is an end."""
    pairs = [("d", "b"), ("c", "b"), ("b", None)]
    found = rows([checkpoint(*pair) for pair in pairs])
    assert [row.is_end for row in found] == [True, True, False]
