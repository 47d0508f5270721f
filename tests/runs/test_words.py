"""What a run has to say for its session's title, and when it is time for the titler."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langgraph_sessions.runs.words import Words

ASKED, ANSWERED = HumanMessage("Plan a trip"), AIMessage("Rome")


# --- A title from a message -----------------------------------------------------------------------


def test_words_are_awaited_until_what_was_given_is_heard() -> None:
    """Be there a title in it or not; and never where one is there, or none may be made."""
    for title in ("Plan a trip", None):
        words = Words()
        assert words.are_awaited
        words.hear(title)
        assert (words.title, words.are_awaited) == (title, False)
    assert not Words(untitled=False).are_awaited
    assert not Words(may_title=False).are_awaited


# --- The titler -----------------------------------------------------------------------------------


def test_the_titler_is_wanted_once_after_the_first_answer() -> None:
    """Not before a model answered, at the checkpoint that has the answer, and not again."""
    words = Words(has_titler=True)
    words.in_values({"messages": [ASKED]}, "c1")
    assert not words.wants_titler("c1")
    words.in_values({"messages": [ASKED, ANSWERED]}, "c2")
    assert words.wants_titler("c2")
    assert not words.wants_titler("c3")


def test_an_answer_in_writes_is_waited_for() -> None:
    """Writes may overtake their checkpoint: an older one's save does not call the titler."""
    words = Words(has_titler=True)
    words.in_saved_writes([("messages", ANSWERED)], "c2")
    assert not words.wants_titler("c1")
    assert words.wants_titler("c2")


def test_the_first_answer_is_the_one_that_counts() -> None:
    """Later answers do not put the titler off."""
    words = Words(has_titler=True)
    words.in_saved_writes([("messages", ANSWERED)], "c2")
    words.in_values({"messages": [ANSWERED]}, "c5")
    words.in_saved_writes([("messages", ANSWERED)], "c6")
    assert words.answered == "c2"


def test_a_session_for_which_no_titler_is_called_is_not_looked_at() -> None:
    """This run had it called, a model titled it, it failed three times; or there is none."""
    asked, titled, failed = (Words(asked=True), Words(), Words())
    titled.note("model", 1)
    failed.note("message", 3)
    asked.has_titler = titled.has_titler = failed.has_titler = True
    for words in (asked, titled, failed, Words(has_titler=False)):
        words.in_values({"messages": [ANSWERED]}, "c1")
        words.in_saved_writes([("messages", ANSWERED)], "c1")
        assert words.answered is None
        assert not words.wants_titler("c1")


@pytest.mark.parametrize("said", [ASKED, AIMessage(""), AIMessage(" \n"), AIMessage([])], ids=repr)
def test_what_is_no_answer_in_words_calls_no_titler(said: Any) -> None:
    """A human's message is none, nor one of a model's without text, such as a tool call."""
    words = Words(has_titler=True)
    words.in_values({"messages": [said]}, "c1")
    words.in_saved_writes([("messages", said)], "c1")
    assert words.answered is None
