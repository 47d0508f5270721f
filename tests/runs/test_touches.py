"""Which saves touch the session's row, which the thread's alone, and which wait for another."""

from __future__ import annotations

import asyncio
import concurrent.futures
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from langgraph_sessions.plans import Execute, ExecuteMany
from langgraph_sessions.runs.hearing import NULL_TASK
from langgraph_sessions.sql.saving import GuardThread, PutSession
from tests.plans import Refused, play, session_row
from tests.runs.saves import checkpoint, given, made, new, running, save, wrote

# --- With the session, or without it ------------------------------------------------------------

# A run, and what touches the session's row when it saves a checkpoint.
TOUCHES = [
    pytest.param(running, True, id="the run's first"),
    pytest.param(new, True, id="the session's first"),
    pytest.param(made, False, id="a later one"),
    pytest.param(lambda: made(status="interrupted"), True, id="the end of what was waited for"),
    pytest.param(lambda: made(title_source="default"), False, id="nothing to title it after"),
]


@pytest.mark.parametrize(("begin", "touches"), TOUCHES)
def test_a_checkpoint_touches_the_session_where_that_changes(begin: Any, touches: bool) -> None:
    """Its first one does, and one that changes the title or the status; else the thread's row."""
    (beside,) = play(save(begin(), checkpoint("c1")).plan(), [session_row()]).asked
    assert type(beside.guard) is (PutSession if touches else GuardThread)


def test_a_checkpoint_with_the_first_words_touches_the_session() -> None:
    """It is titled after them, once."""
    run = made(title_source="default")
    titles = save(run, given(HumanMessage("Plan a trip")), source="input")
    assert titles.guard_thread() is None
    assert not titles.put_session().first
    titles.done(session_row(title_source="message"))
    assert save(run, given(HumanMessage("Again")), source="input").guard_thread()


def test_a_commands_words_touch_the_session() -> None:
    """They are in writes, which no checkpoint of the run's need follow; a node's are its own."""
    said = ("messages", HumanMessage("Plan a trip"))
    run = made(title_source="default")
    assert wrote(run, said).guard_thread()
    run.claim.seen = f"{run.claim.token}.0"
    titles = wrote(run, said, task=NULL_TASK)
    assert titles.guard_thread() is None
    assert titles.put_session().message_title == "Plan a trip"


def test_only_the_first_checkpoint_instructs() -> None:
    """Title and activation are carried out once; what somebody does meanwhile stands."""
    run = running()
    first = save(run, checkpoint())
    assert first.put_session().first
    assert not wrote(run, ("topic", "x")).put_session().first
    first.done(session_row())
    assert not save(run, checkpoint("c2")).put_session().first


STOPS = [asyncio.CancelledError(), concurrent.futures.CancelledError()]
NAMED, UNNAMED, NAMELESS = {"named": True}, {"named": False}, {"save": None}

# A run, what it writes and where, and what of the guard is said; `None`: the session is touched.
WRITES = [
    pytest.param(running, ("topic", "x"), "", None, id="before other runs notice it"),
    pytest.param(made, ("topic", "x"), "", UNNAMED, id="an output"),
    pytest.param(made, (RESUME, "x"), "", UNNAMED, id="an answer within the run"),
    pytest.param(made, (INTERRUPT, "x"), "", None, id="a question"),
    pytest.param(made, (ERROR, ValueError()), "", None, id="an error"),
    pytest.param(made, (INTERRUPT, "x"), "sub:1", NAMED, id="a subgraph's question"),
    pytest.param(made, ("topic", "x"), "sub:1", UNNAMED, id="a subgraph's output"),
    *(pytest.param(made, (ERROR, stop), "", NAMELESS, id="a stop") for stop in STOPS),
    pytest.param(running, (ERROR, STOPS[0]), "", NAMELESS, id="a stop before any save"),
]


@pytest.mark.parametrize(("begin", "write", "ns", "said"), WRITES)
def test_writes_touch_the_session_where_it_waits_for_something(
    begin: Any, write: tuple[str, Any], ns: str, said: dict[str, Any] | None
) -> None:
    """Others touch the thread's row, and leave no name where the next save is checked for them."""
    asks = wrote(begin(), write, checkpoint_ns=ns)
    (beside,) = play(asks.plan(), [session_row()]).asked
    if said is None:
        assert beside.guard == asks.put_session()
    else:
        assert isinstance(beside.guard, GuardThread)
        assert {key: getattr(beside.guard, key) for key in said} == said


def test_an_answer_to_what_an_earlier_run_asked_ends_the_wait() -> None:
    """Until the run has a checkpoint of its own, its writes are on the one that waits."""
    run = running()
    run.status = "interrupted"
    run.claim.saved(run.claim.next_name(), None)
    asks = wrote(run, (RESUME, "yes"))
    assert asks.guard_thread() is None
    put = asks.put_session()
    assert (put.own, put.task, put.channels) == ("c1", "task", (RESUME,))
    run.claim.take("c2")
    assert wrote(run, (RESUME, "yes")).guard_thread()


def test_a_stop_is_no_error_of_the_session() -> None:
    """It has no name, is checked for nothing and waits for nothing; the run's words are over."""
    run = running()
    stop = wrote(run, (ERROR, STOPS[0]))
    assert (stop.is_stop, stop.name) == (True, None)
    put = stop.put_session()
    assert (put.save, put.checked, put.channels, put.first) == (None, False, (), False)
    run.claim.overtaken = True
    assert wrote(run, (ERROR, STOPS[0])).is_stop
    assert not wrote(made(), (ERROR, ValueError())).is_stop


# --- Before the session is made -----------------------------------------------------------------


def test_writes_wait_for_what_makes_the_session() -> None:
    """They are made with it, in one statement, and not again."""
    run = new()
    writes = wrote(run, ("topic", "x"), checkpoint_ns="")
    played = play(writes.plan())
    assert (played.asked, played.result) == ([], None)
    writes.done(None)
    first = save(run, checkpoint())
    (beside,) = play(first.plan(), [session_row()]).asked
    assert [type(each) for each in beside.saved] == [ExecuteMany, Execute]
    assert beside.saved[0] == writes.saved()[0]
    assert not beside.guard.known
    first.done(session_row())
    (beside,) = play(save(run, checkpoint("c2")).plan(), []).asked
    assert [type(each) for each in beside.saved] == [Execute]


# What was written first, and what of it the session waits for.
OVERTAKES = [
    pytest.param([("topic", "x")], (), id="an output"),
    pytest.param([(INTERRUPT, "x")], (INTERRUPT,), id="a question"),
    pytest.param([(ERROR, ValueError())], (ERROR,), id="an error"),
    pytest.param([(ERROR, STOPS[0])], (), id="a stop"),
    pytest.param([(ERROR, ValueError()), (INTERRUPT, "x")], (INTERRUPT,), id="both"),
]


@pytest.mark.parametrize(("written", "waits"), OVERTAKES)
def test_the_session_waits_for_what_overtook_what_makes_it(
    written: list[tuple[str, Any]], waits: tuple[str, ...]
) -> None:
    """The first checkpoint says what its tasks have asked, or that one failed."""
    run = new()
    for each in written:
        play(wrote(run, each).plan())
    assert save(run, checkpoint("c1")).put_session().channels == waits
    assert save(run, checkpoint("c2")).put_session().channels == ()


def test_a_question_that_overtakes_several_checkpoints_is_waited_for_in_the_end() -> None:
    """Those before the one on which it was asked wait for nothing; that one touches the session."""
    run = made()
    wrote(run, (INTERRUPT, "x")).done(session_row(status="interrupted"))
    before = save(run, checkpoint("c0"))
    assert before.guard_thread() is None
    before.done(session_row(status="idle"))
    assert save(run, checkpoint("c1")).guard_thread() is None
    assert save(run, checkpoint("c2")).guard_thread()


def test_writes_that_wait_are_not_lost_where_the_save_fails() -> None:
    """The next try has them, too."""
    run = new()
    play(wrote(run, ("topic", "x")).plan())
    first = save(run, checkpoint())
    play(first.plan(), Refused("08006"))
    (beside,) = play(first.plan(), [session_row()]).asked
    assert [type(each) for each in beside.saved] == [ExecuteMany, Execute]


def test_writes_that_were_held_wait_for_nothing() -> None:
    """In memory they have made the session, or stand behind what did."""
    run = new()
    writes = wrote(run, ("topic", "x"))
    put = writes.put_session()
    (beside,) = play(replace(writes, session=put).plan(), [session_row()]).asked
    assert beside.guard is put
