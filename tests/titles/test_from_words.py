"""How a title is made of words: what is found in a checkpoint, and how it is shortened."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langgraph_sessions import checks
from langgraph_sessions.titles.from_words import from_checkpoint
from langgraph_sessions.titles.text import LENGTH, shorten
from tests.titles.messages import HUMAN, IMAGE, odd_message

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # Five code points that are one character.

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
        # Cut at a blank only where that leaves more than half.
        ("北京 " + "天" * 100, "北京 " + "天" * 77),
        ("x" * 40 + " " + "y" * 60, "x" * 40 + " " + "y" * 39),
        ("x" * 41 + " " + "y" * 60, "x" * 41),
        # Else before a character ends, as people see one.
        ("x" * 79 + "e\u0301" + "y", "x" * 79),
        ("x" * 78 + "e\u0301" + "y", "x" * 78 + "e\u0301"),
        ("x" * 77 + FAMILY, "x" * 77),
        (FAMILY * 20, FAMILY * 16),
        ("x" + "\U0001f1e9\U0001f1ea" * 60, "x" + "\U0001f1e9\U0001f1ea" * 39),
        ("\u0e01\u0e33" * 60, "\u0e01\u0e33" * 40),
        ("a" + "\u0301" * 100, "a" + "\u0301" * 79),
        ("y" * 10_000_000, "y" * 80),
        # What is no word.
        ("See data:image/png;base64,iVBORw0KGgo= there", "See there"),
        ("data:text/plain;charset=utf-8;base64,SGVsbG8=", ""),
        ("data:image/png;base64," + "A" * 100_000 + " What is it?", "What is it?"),
        ("data:a/" + "a" * 100_000, "data:a/" + "a" * 73),
        ("data: base64, please", "data: base64, please"),
    ],
    ids=repr,
)
def test_shorten(text: str, title: str) -> None:
    """White space is folded, what no database can hold dropped, and no character cut in two."""
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


@given(st.lists(st.text("xyz", min_size=1, max_size=LENGTH // 2 - 1), max_size=20))
def test_a_text_is_cut_at_a_word(words: list[str]) -> None:
    """A title is as many of the first words as fit, if that is more than half of it."""
    title = shorten(" ".join(words))
    kept = title.split()
    assert kept == words[: len(kept)]
    assert kept == words or len(" ".join(words[: len(kept) + 1])) > LENGTH


UNSEEN = ["\u200b\u200d", "\u202e", "\ufeff  \u2060", "\u3164", "\u2800\u115f", "\u034f\ufe0f"]


@pytest.mark.parametrize("unseen", UNSEEN)
def test_what_does_not_show_is_no_title(unseen: str) -> None:
    """Text of characters without a shape is as good as empty, and nothing turns a list around."""
    assert shorten(unseen) == ""
    assert shorten(f"abc {unseen}def").replace("\u202e", "") == shorten(f"abc {unseen}def")


# --- What a checkpoint suggests ---------------------------------------------------------------


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
