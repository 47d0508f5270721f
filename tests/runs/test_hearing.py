"""Which saves title a session: those of what a run was given, never of what its nodes say."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.hearing import DURABILITY_KEY, NULL_TASK
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.surroundings import PROGRESS_KEY, TASK_KEY, Progress
from tests.plans import session
from tests.runs.saves import checkpoint, given, running, save, wrote
from tests.support import config

ASKED, PROMPT = HumanMessage("Plan a trip"), HumanMessage("You are a guide")
EXIT: dict[str, Any] = {DURABILITY_KEY: "exit"}


def update() -> ActiveRun:
    """Return what an application's update is saved by."""
    run = ActiveRun.start(Request.of(config(user_id="alice")), session(), known=False)
    run.words.untitled = True
    return run


def test_the_input_titles_and_nothing_after_it() -> None:
    """Nor does anything that is saved before it, or below it."""
    run = running()
    save(run, given(PROMPT), source="input", checkpoint_ns="sub:1")
    wrote(run, ("messages", PROMPT))
    wrote(run, ("messages", PROMPT), task=NULL_TASK, checkpoint_ns="sub:1")
    save(run, checkpoint(messages=[PROMPT]))
    save(run, checkpoint(messages=[PROMPT]), source="fork")
    assert run.words.title is None
    assert save(run, given(ASKED), source="input").put_session().message_title == "Plan a trip"
    save(run, given(PROMPT), source="input")
    assert save(run, checkpoint("c2")).put_session().message_title == "Plan a trip"


def test_an_input_without_words_is_the_end_of_it() -> None:
    """What a node says then is no title."""
    run = running()
    save(run, given(), source="input")
    save(run, checkpoint(messages=[]))
    save(run, checkpoint(messages=[PROMPT]))
    wrote(run, ("messages", PROMPT))
    assert (run.words.title, run.words.heard) == (None, True)


def test_what_the_input_became_titles() -> None:
    """A channel may make messages of what it is given; what was in it before is no title."""
    run, then = running(), {"chat": [PROMPT]}
    said = checkpoint("c1", __start__={"chat": ["Plan a trip"], "topic": "x"}, **then)
    save(run, said, source="input")
    wrote(run, ("chat", PROMPT))
    save(run, checkpoint("c2", chat=[PROMPT, ASKED], examples=[PROMPT]))
    save(run, checkpoint("c3", chat=[PROMPT]))
    assert run.words.title == "Plan a trip"


def test_a_command_titles() -> None:
    """What it updates is written by no task; an answer alone has no words."""
    for writes, title in (([("messages", ASKED)], "Plan a trip"), ([("__resume__", "yes")], None)):
        run = running()
        wrote(run, *writes, task=NULL_TASK)
        wrote(run, ("messages", PROMPT))
        save(run, checkpoint(messages=[PROMPT]))
        assert run.words.title == title


@pytest.mark.parametrize("saved", ["writes", "checkpoint"])
def test_under_exit_the_outcome_titles(saved: str) -> None:
    """There is nothing else."""
    run = running()
    if saved == "writes":
        wrote(run, ("messages", [ASKED, PROMPT]), **EXIT)
    else:
        save(run, checkpoint(messages=[ASKED, PROMPT]), **EXIT)
    assert run.words.title == "Plan a trip"


@pytest.mark.parametrize("more", [{PROGRESS_KEY: Progress()}, {}, {TASK_KEY: "task"}], ids=repr)
def test_a_graph_on_the_runs_thread_is_not_heard(more: Any) -> None:
    """It has a progress of its own; and what a node updates is of the node's task."""
    run = running()
    run.progress = Progress()
    if TASK_KEY in more:
        more = {**more, PROGRESS_KEY: run.progress}
    for place in (more, {**more, **EXIT}):
        save(run, given(PROMPT), source="input", **place)
        save(run, checkpoint(messages=[PROMPT]), **place)
        wrote(run, ("messages", PROMPT), task=NULL_TASK, **place)
    assert (run.words.title, run.words.heard) == (None, False)
    save(run, given(ASKED), source="input", **{PROGRESS_KEY: run.progress})
    assert run.words.title == "Plan a trip"


def test_an_update_titles_by_what_it_adds() -> None:
    """All of it where it begins the thread, else what is written; not what stood there before."""
    begun, added = update(), update()
    save(begun, checkpoint(messages=[ASKED]), source="update")
    assert begun.words.title == "Plan a trip"
    save(added, checkpoint("c2", messages=[PROMPT, ASKED]), source="update", checkpoint_id="c1")
    assert added.words.title is None
    assert wrote(added, ("messages", ASKED)).put_session().message_title == "Plan a trip"
