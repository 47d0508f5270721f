"""What both savers do, as plans: from a config to what is asked, and back to LangGraph."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.serde.types import ERROR

from langgraph_sessions import ConcurrentRunError, SessionNotFoundError
from langgraph_sessions.runs.active import active_run
from langgraph_sessions.runs.loading import LoadHistory, LoadList
from langgraph_sessions.runs.plain import SavePlainCheckpoint, SavePlainWrites
from langgraph_sessions.runs.saving import SaveCheckpoint, SaveWrites
from langgraph_sessions.runs.surroundings import RUN_KEY
from langgraph_sessions.sql.opening import (
    ContinueThread,
    FindCurrent,
    OpenCurrent,
    OpenNobodys,
    OpenThread,
)
from tests.plans import opened, play, session, session_row
from tests.savers.planned import HERE, METADATA, SELECT, Saver, begin, runs, stored, within
from tests.support import config

# --- A run starts -------------------------------------------------------------------------------


def test_a_run_starts_with_one_question() -> None:
    """Where it goes and what it goes on from are one answer; the config then names the thread."""
    saver = Saver()
    given = runs(user_id="alice", title="Trip")
    played = play(saver._get_tuple(given), [opened(session_row(), **stored())])
    assert played.asked == [OpenCurrent(user_id="alice", select=SELECT)]
    place = {"user_id": "alice", "thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c1"}
    assert played.result.config == config(**place)
    assert (given["configurable"]["thread_id"], "title" in given["configurable"]) == ("t", False)


def test_a_first_run_finds_no_checkpoint() -> None:
    """The answer is `None`, and the run goes on from nothing."""
    _, run = begin(Saver(), opened(asked_thread_id="t"), thread_id="t")
    assert (run.known, run.claim.base, run.claim.checked) == (False, "", True)


@pytest.mark.parametrize(("mode", "checked"), [("reject", True), ("allow", False)])
def test_a_run_notices_others_as_it_was_said(mode: str, checked: bool) -> None:
    """Under `concurrent_runs="allow"` it is noticed, and notices nobody."""
    _, run = begin(Saver(mode), HERE)
    assert run.claim.checked is checked
    assert run.claim.token
    assert (run.claim.base, run.claim.seen) == ("c1", "other.1")


def test_a_checkpoint_that_was_asked_for_may_be_an_older_one() -> None:
    """What the run goes on from is then not what the thread's newest checkpoint must be."""
    _, run = begin(Saver(), HERE, thread_id="t", checkpoint_id="c1")
    assert run.claim.addressed
    _, run = begin(Saver(), HERE, thread_id="t")
    assert not run.claim.addressed


READS = [
    pytest.param(config(user_id="alice"), id="get_state"),
    pytest.param(runs(user_id="alice", checkpoint_ns="sub:1"), id="a subgraph's"),
]


@pytest.mark.parametrize("given", READS)
def test_who_only_reads_claims_nothing(given: Any) -> None:
    """Only a root graph's run is noticed by others."""
    row = opened(session_row())
    del row["checkpoint"]  # As memory answers, so that the run is seen in a second question.
    _, load = play(Saver()._get_tuple(given), [row], None).asked
    assert (load.run.thread_id, load.run.claim.token, load.run.claim.base) == ("t", "", None)


def test_without_a_user_it_is_what_the_plain_saver_finds() -> None:
    """No user in its configs, and no run."""
    given = runs(thread_id="t")
    played = play(Saver()._get_tuple(given), [opened(asked_thread_id="t", **stored())])
    assert played.asked == [OpenNobodys(thread_id="t", select=SELECT)]
    assert played.result.config == config(thread_id="t", checkpoint_ns="", checkpoint_id="c1")
    assert RUN_KEY not in given["configurable"]


# --- A run goes on ------------------------------------------------------------------------------


def test_a_run_under_way_keeps_to_its_thread() -> None:
    """Its subgraphs open that thread, whatever is the user's current session by now."""
    saver = Saver()
    given, run = begin(saver, HERE)
    below = within(given, checkpoint_ns="sub:1")
    played = play(saver._get_tuple(below), [opened(session_row())])
    place = {"user_id": "alice", "thread_id": "t", "checkpoint_ns": "sub:1"}
    assert played.asked == [ContinueThread(**place, select=SELECT)]
    assert active_run(below) is run


def test_a_graph_that_says_something_new_of_the_session_is_part_of_the_run() -> None:
    """On the run's thread, with a title: its first save gives it, and the rest notice nothing."""
    saver = Saver()
    given, run = begin(saver, HERE)
    again = within(given, title="Trip")
    play(saver._get_tuple(again), [opened(session_row())])
    assert active_run(again) is run
    assert run.instructed is not None
    run.heed(run.instructed)
    assert (run.title, run.saved) == ("Trip", False)


def test_a_run_whose_session_became_anothers_is_refused() -> None:
    """A thread that was deleted, and taken by somebody else, is not gone on with."""
    saver = Saver()
    given, _ = begin(saver, HERE)
    played = play(saver._get_tuple(given), [opened(session_row("bob"))])
    assert isinstance(played.error, SessionNotFoundError)


# --- Lists and histories ------------------------------------------------------------------------

PLACE = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c1"}
FOUND = CheckpointTuple(config(**PLACE), empty_checkpoint(), {}, None, [])


def test_everything_is_listed_for_an_operator() -> None:
    """Without a config nobody is asked for, and nobody is in what is found."""
    saver = Saver()
    played = play(saver._list(None, limit=2), [FOUND])
    assert played.asked == [LoadList(None, {}, saver.serde, {"limit": 2})]
    assert played.result == [FOUND]


def test_a_users_checkpoints_are_found_before_they_are_listed() -> None:
    """A read makes no session, and what it finds can be used to run again."""
    saver = Saver()
    played = play(saver._list(config(user_id="alice")), [opened(session_row())], [FOUND])
    find, load = played.asked
    assert find == FindCurrent(user_id="alice")
    assert load.config["configurable"]["thread_id"] == "t"
    assert played.result[0].config == config(user_id="alice", **PLACE)


def test_nobodys_thread_is_listed_as_the_plain_saver_does() -> None:
    """It is looked up once, and read as it is."""
    saver = Saver()
    given = config(thread_id="t")
    played = play(saver._list(given), [opened(asked_thread_id="t")], [FOUND])
    assert played.asked[1] == LoadList(None, given, saver.serde, {})
    assert played.result == [FOUND]


def test_a_run_under_way_was_let_in_before() -> None:
    """Its lists and histories are one question each."""
    saver = Saver()
    given, run = begin(saver, HERE)
    for plan, kind in (
        (saver._list(given), LoadList),
        (saver._history(given, ["words"]), LoadHistory),
    ):
        (asked,) = play(plan, []).asked
        assert isinstance(asked, kind)
        assert asked.run is run


# --- Saving -------------------------------------------------------------------------------------


def checkpoint(checkpoint_id: str = "c2", *messages: Any) -> Checkpoint:
    """Return a checkpoint with these messages."""
    return {
        **empty_checkpoint(),
        "id": checkpoint_id,
        "channel_values": {"messages": [*messages]},
    }


def test_a_runs_save_is_one_question_and_held_in_the_cache() -> None:
    """It returns the config that goes on from it, and the manager knows the session it made."""
    saver = Saver()
    given, run = begin(saver, opened(asked_thread_id="t"), thread_id="t")
    row = session_row(title="New")
    played = play(saver._put(given, checkpoint(), METADATA, {}), row)
    (asked,) = played.asked
    assert isinstance(asked, SaveCheckpoint)
    assert asked.run is run
    assert played.result == config(user_id="alice", **{**PLACE, "checkpoint_id": "c2"})
    assert saver.manager.cache.get("alice", "t") == session(title="New")


def test_a_save_that_left_the_session_alone_leaves_the_cache_alone() -> None:
    """What the manager knows of it stays as it is."""
    saver = Saver()
    given, _ = begin(saver, HERE)
    play(saver._put(given, checkpoint(), METADATA, {}), session_row(title="New"))
    for plan in (
        saver._put(given, checkpoint("c3"), METADATA, {}),
        saver._put_writes(within(given, checkpoint_id="c3"), [("topic", "x")], "task", ""),
    ):
        assert play(plan, None).error is None
        assert saver.manager.cache.get("alice", "t") == session(title="New")


def test_a_save_that_tells_only_when_the_session_was_used_fills_no_cache() -> None:
    """What the manager knows of it is brought up to date, and what it does not, is left."""
    saver = Saver()
    given, _ = begin(saver, HERE)
    touched = {"status": "idle", "updated_at": datetime.now(UTC)}
    play(saver._put(given, checkpoint(), METADATA, {}), touched)
    assert saver.manager.cache.get("alice", "t") is None
    saver.manager.cache.keep(session(title="New"), saver.manager.cache.now())
    play(saver._put(given, checkpoint("c3"), METADATA, {}), touched)
    kept = saver.manager.cache.get("alice", "t")
    assert kept is not None
    assert (kept.title, kept.updated_at) == ("New", touched["updated_at"])


def test_a_stop_is_noted_as_it_is_saved() -> None:
    """The run is over as soon as another one begins on its thread."""
    saver = Saver()
    given, run = begin(saver, HERE, checkpoint_id="c1", thread_id="t")
    stop = [(ERROR, asyncio.CancelledError())]
    played = play(saver._put_writes(given, stop, "task", ""), None)
    assert (played.error, run.is_stopped, run.claim.overtaken) == (None, True, False)
    begin(saver, HERE)
    assert run.claim.overtaken


def test_what_is_saved_outside_a_run_asks_whose_the_thread_is() -> None:
    """An update of the state: the thread is opened, and the save has no name."""
    saver = Saver()
    given = config(user_id="alice", **PLACE)
    plans = [
        (saver._put(given, checkpoint(), METADATA, {}), SaveCheckpoint, session_row()),
        (saver._put_writes(given, [("topic", "x")], "task", ""), SaveWrites, None),
    ]
    for plan, kind, answer in plans:
        opens, saves = play(plan, [HERE], answer).asked
        assert opens == OpenThread(user_id="alice", thread_id="t", checkpoint_id="c1")
        assert isinstance(saves, kind)
        assert saves.name is None


@pytest.mark.parametrize("is_run", [True, False])
def test_without_a_user_the_plain_saver_saves(is_run: bool) -> None:
    """One question, and the parent's answer; outside a run, whose the thread is comes first."""
    saver = Saver()
    given = runs(**PLACE) if is_run else config(**PLACE)
    before = [] if is_run else [[opened(asked_thread_id="t")]]
    opens = [] if is_run else [OpenNobodys]
    played = play(saver._put(given, checkpoint(), METADATA, {}), *before, None)
    assert [type(each) for each in played.asked] == [*opens, SavePlainCheckpoint]
    assert played.result == config(**{**PLACE, "checkpoint_id": "c2"})
    played = play(saver._put_writes(given, [("topic", "x")], "task", ""), *before, None)
    assert [type(each) for each in played.asked] == [*opens, SavePlainWrites]


def test_a_run_that_is_over_saves_nothing() -> None:
    """After it was refused once, no question is asked."""
    saver = Saver()
    given, run = begin(saver, HERE)
    run.claim.overtaken = True
    place = within(given, checkpoint_id="c1")
    for plan in (
        saver._put(given, checkpoint(), METADATA, {}),
        saver._put_writes(place, [("topic", "x")], "task", ""),
    ):
        played = play(plan)
        assert isinstance(played.error, ConcurrentRunError)


def test_the_titler_is_called_once_after_the_first_answer() -> None:
    """Beside the run that saves it; not for a subgraph's answer, nor where there is no titler."""
    for titler, called in ((str, ["t"]), (None, [])):
        saver = Saver(titler=titler)
        row, later = (session_row(title_source="message", titler_tries=it) for it in (0, 1))
        given, _ = begin(saver, opened(row, **stored()))
        said, answered = HumanMessage("Plan a trip"), AIMessage("Rome")
        below = within(given, checkpoint_ns="sub:1")
        play(saver._put(below, checkpoint("s1", answered), METADATA, {}), row)
        play(saver._put(given, checkpoint("c2", said), METADATA, {}), row)
        assert saver.called == []
        play(saver._put(given, checkpoint("c3", said, answered), METADATA, {}), row)
        play(saver._put(given, checkpoint("c4", said, answered), METADATA, {}), later)
        play(saver._put(given, checkpoint("c5", said, answered), METADATA, {}), later)
        assert saver.called == called
