"""What a run has to say for its session's title, and when it is time for the titler."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint

from langgraph_sessions.runs.words import Words

ASKED, ANSWERED = HumanMessage("Plan a trip"), AIMessage("Rome")


def checkpoint(*messages: Any, checkpoint_id: str = "c1") -> Checkpoint:
    """Return a checkpoint with these messages."""
    values = {"messages": [*messages]}
    return {**empty_checkpoint(), "id": checkpoint_id, "channel_values": values}


# --- A title from a message -----------------------------------------------------------------------


def test_the_first_human_message_is_the_title() -> None:
    """Once it was said, later ones do not change it, wherever they stand."""
    words = Words()
    words.in_checkpoint(checkpoint(AIMessage("Hello!")))
    assert words.title is None
    words.in_writes([("messages", ASKED)])
    words.in_checkpoint(checkpoint(HumanMessage("And back")))
    words.in_writes([("messages", HumanMessage("And forth"))])
    assert words.title == "Plan a trip"


def test_a_titled_session_is_not_looked_at() -> None:
    """Where a title is there, no message suggests another."""
    words = Words(untitled=False)
    words.in_checkpoint(checkpoint(ASKED))
    words.in_writes([("messages", ASKED)])
    assert words.title is None


# --- The titler -----------------------------------------------------------------------------------


def test_the_titler_is_wanted_once_after_the_first_answer() -> None:
    """Not before a model answered, at the checkpoint that has the answer, and not again."""
    words = Words(has_titler=True)
    words.in_checkpoint(checkpoint(ASKED, checkpoint_id="c1"))
    assert not words.wants_titler("c1")
    words.in_checkpoint(checkpoint(ASKED, ANSWERED, checkpoint_id="c2"))
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
    words.in_checkpoint(checkpoint(ANSWERED, checkpoint_id="c5"))
    words.in_saved_writes([("messages", ANSWERED)], "c6")
    assert words.answered == "c2"


def test_a_session_whose_titler_was_called_is_not_looked_at() -> None:
    """Over all processes and runs it is called once for a session; where there is none, never."""
    for words in (Words(unasked=False, has_titler=True), Words(has_titler=False)):
        words.in_checkpoint(checkpoint(ANSWERED))
        words.in_saved_writes([("messages", ANSWERED)], "c1")
        assert words.answered is None
        assert not words.wants_titler("c1")


@pytest.mark.parametrize("said", [ASKED, AIMessage(""), AIMessage(" \n"), AIMessage([])], ids=repr)
def test_what_is_no_answer_in_words_calls_no_titler(said: Any) -> None:
    """A human's message is none, nor one of a model's without text, such as a tool call."""
    words = Words(has_titler=True)
    words.in_checkpoint(checkpoint(said))
    words.in_saved_writes([("messages", said)], "c1")
    assert words.answered is None
