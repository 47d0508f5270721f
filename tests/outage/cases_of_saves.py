"""What runs save and load: cases for both backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, _DeltaSnapshot

from langgraph_sessions import ConcurrentRunError
from langgraph_sessions.sql.opening import OpenThread
from langgraph_sessions.sql.sessions import DeactivateSessions, GetCurrent, GetSession
from tests.outage.backends import (
    Case,
    Step,
    checkpoint,
    histories,
    lists,
    loads,
    outside,
    saves,
    starts,
    writes,
)
from tests.support import config

NEW = {"user_id": "alice", "thread_id": "t", "title": "New Chat", "is_active": True}
TOUCHED = {"status": "idle"}  # What a run's first save says of a session that goes on.


def last(name: str, thread_id: str = "t") -> Step:
    """Return what asks for the name of the save that other runs notice: the last one."""
    return Step(OpenThread(user_id="alice", thread_id=thread_id), [{"last_save": name}])


# --- Loading ------------------------------------------------------------------------------------


def what_was_saved_is_loaded() -> Sequence[Step]:
    run = starts("mine")
    values: dict[str, Any] = {
        "words": ["a", {"b": 1}],
        "topic": "x",
        "number": 1.5,
        "yes": True,
        "none": None,
    }
    later = {**values, "words": ["a", "b"], "raw": b"\0"}
    return [
        Step(loads(run), None),
        Step(saves(run, checkpoint("c1", **values)), NEW),
        last("mine.0"),
        Step(loads(run), {"checkpoint_id": "c1", "values": values, "parent_config": None}),
        Step(saves(run, checkpoint("c2", 2, **later), "c1", step=2), None),
        last("mine.1"),
        Step(loads(run), {"checkpoint_id": "c2", "values": later, "pending_writes": []}),
        Step(loads(run, checkpoint_ns="elsewhere:1"), None),
    ]


def what_was_saved_is_listed() -> Sequence[Step]:
    run = starts("mine")
    c1, c2, c3 = ({"checkpoint_id": name} for name in ("c1", "c2", "c3"))
    return [
        Step(saves(run, checkpoint("c1", topic="x"), step=-1, source="input"), NEW),
        Step(saves(run, checkpoint("c2", 2, topic="y"), "c1", step=0), None),
        Step(saves(run, checkpoint("s1", topic="s"), ns="sub:1"), None),
        Step(saves(run, checkpoint("c3", 3, topic="z"), "c2", step=1), None),
        Step(lists(run), [c3, c2, c1]),
        Step(lists(run, limit=2), [c3, c2]),
        Step(lists(run, limit=0), []),
        Step(lists(run, before=config(checkpoint_id="c3")), [c2, c1]),
        Step(lists(run, filter={"step": 0}), [c2]),
        Step(lists(run, filter={"step": 0, "source": "input"}), []),
        Step(lists(run, {"checkpoint_id": "c2"}), [{**c2, "values": {"topic": "y"}}]),
        Step(lists(run, {"checkpoint_id": "none"}), []),
        Step(lists(run, {"checkpoint_ns": "sub:1"}), [{"checkpoint_id": "s1"}]),
        Step(loads(run, checkpoint_ns="sub:1"), {"values": {"topic": "s"}}),
    ]


def writes_stand_in_the_order_of_tasks() -> Sequence[Step]:
    run = starts("mine")
    ordered = [("b", "x", 1), ("a", "x", 2), ("a", "y", [3])]
    return [
        Step(saves(run, checkpoint("c1", topic="x")), NEW),
        Step(writes(run, "c1", ("x", 2), ("y", [3]), task="a", path="~2"), None),
        Step(writes(run, "c1", ("x", 1), task="b", path="~1"), None),
        Step(loads(run), {"pending_writes": ordered}),
        Step(writes(run, "c1", ("x", "again"), task="b", path="~1"), None),
        Step(lists(run), [{"pending_writes": ordered}]),
    ]


def questions_answers_and_errors_are_overwritten() -> Sequence[Step]:
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="x")), NEW),
        Step(writes(run, "c1", (INTERRUPT, "first?")), NEW),
        Step(writes(run, "c1", (INTERRUPT, "second?")), NEW),
        Step(loads(run), {"pending_writes": [("task", INTERRUPT, "second?")]}),
        Step(writes(run, "c1", (RESUME, ["yes"])), None),
        Step(writes(run, "c1", (ERROR, "failed"), task="other"), NEW),
        Step(lists(run), [{"checkpoint_id": "c1"}]),
    ]


def the_history_of_a_channel_goes_back_to_its_value() -> Sequence[Step]:
    run = starts("mine")
    write = [("task", "words", ["b"])]
    of_words = {"words": {"writes": write, "seed": _DeltaSnapshot(["a"])}}
    return [
        Step(saves(run, checkpoint("c1", words=_DeltaSnapshot(["a"]), topic="x")), NEW),
        Step(writes(run, "c1", ("words", ["b"])), None),
        Step(saves(run, checkpoint("c2", 2, topic="y"), "c1"), None),
        Step(writes(run, "c2", ("words", ["c"])), None),
        Step(saves(run, checkpoint("c3", 3, topic="y"), "c2"), None),
        Step(histories(run, "words", checkpoint_id="c2"), of_words),
        Step(
            histories(run, "words", "topic", "none"),
            {
                "words": {**of_words["words"], "writes": [*write, ("task", "words", ["c"])]},
                "topic": {"writes": [], "seed": "y"},
                "none": {"writes": []},
            },
        ),
        Step(histories(run), {}),
    ]


def of_a_thread_in_the_database_memory_does_not_know() -> Sequence[Step]:
    run = starts("mine", at="c0", known=True)
    return [
        Step(loads(run), None, unknown=True),
        Step(loads(run, checkpoint_id="c0"), None, unknown=True),
        Step(loads(run, checkpoint_ns="sub:1"), None, unknown=True),
        Step(lists(run), [], unknown=True),
        Step(histories(run, "words"), {"words": {"writes": []}}, unknown=True),
    ]


# --- The session's row --------------------------------------------------------------------------


def a_first_save_makes_the_session() -> Sequence[Step]:
    run = starts("mine", title="Given", is_active=False)
    titled = {"title": "Given", "title_source": "user", "is_active": False}
    return [
        Step(writes(run, "c0", ("x", 1)), None),
        Step(saves(run, checkpoint("c1", topic="x")), titled),
        last("mine.1"),
        Step(GetSession("alice", "t"), [{"title": "Given", "is_active": False}]),
        Step(writes(run, "c1", ("x", 1)), None),
        Step(saves(run, checkpoint("c2", 2, topic="y"), "c1"), None),
        last("mine.3"),
        Step(GetSession("alice", "t"), [{"title": "Given", "is_active": False}]),
    ]


def what_a_run_writes_first_is_noticed_and_makes_nothing_current() -> Sequence[Step]:
    """Such as an answer to what an earlier run asked: its checkpoint makes the session current."""
    run, other = starts("a"), starts("b", thread_id="u")
    again = starts("c", at="c1", known=True, seen="a.0")
    return [
        Step(saves(run, checkpoint("c1", topic="x")), NEW),
        Step(saves(other, checkpoint("c1", topic="x")), {"thread_id": "u"}),
        Step(writes(again, "c1", ("x", 1)), NEW),
        last("c.0"),
        Step(GetCurrent("alice"), [{"thread_id": "u"}]),
        Step(saves(again, checkpoint("c2", 2, topic="y"), "c1"), TOUCHED),
        Step(GetCurrent("alice"), [NEW]),
    ]


def a_subgraphs_save_may_be_the_first() -> Sequence[Step]:
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("s1", topic="x"), ns="sub:1"), NEW),
        last("mine.0"),
        Step(saves(run, checkpoint("c1", topic="x")), None),
        last("mine.1"),
    ]


def what_a_human_says_titles_it() -> Sequence[Step]:
    run = starts("mine")
    prompt = checkpoint("c1", messages=[HumanMessage("You are a guide")])
    said = checkpoint("c2", 2, __start__=[AIMessage("Hello!"), HumanMessage("Plan a trip")])
    titled = {"title": "Plan a trip", "title_source": "message"}
    return [
        Step(saves(starts("other", thread_id="u"), prompt), {"title": "New Chat"}),
        Step(saves(run, said, source="input"), titled),
        Step(saves(run, checkpoint("c3", 3, topic="x"), "c2"), None),
    ]


def a_deactivation_meanwhile_stands() -> Sequence[Step]:
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="x")), {"is_active": True}),
        Step(DeactivateSessions("alice", "t"), [{"count": 1}]),
        Step(saves(run, checkpoint("c2", 2, topic="y"), "c1"), None),
        Step(GetSession("alice", "t"), [{"is_active": False}]),
    ]


def a_run_makes_its_session_current() -> Sequence[Step]:
    first, other, again = (
        starts("a"),
        starts("b", thread_id="u"),
        starts("c", at="c1", known=True, seen="a.0"),
    )
    return [
        Step(saves(first, checkpoint("c1", topic="x")), {"thread_id": "t"}),
        Step(saves(other, checkpoint("c1", topic="x")), {"thread_id": "u"}),
        Step(GetCurrent("alice"), [{"thread_id": "u"}]),
        Step(saves(again, checkpoint("c2", 2, topic="y"), "c1"), TOUCHED),
        Step(GetCurrent("alice"), [NEW]),
    ]


# --- Refused ------------------------------------------------------------------------------------


def of_two_first_runs_the_second_is_refused() -> Sequence[Step]:
    first, second = starts("first"), starts("second")
    return [
        Step(saves(first, checkpoint("c1", topic="x")), NEW),
        Step(saves(second, checkpoint("c2", 2, topic="y")), ConcurrentRunError),
        Step(saves(first, checkpoint("c3", 2, topic="z"), "c1"), None),
        last("first.1"),
        Step(lists(first), [{"checkpoint_id": "c3"}, {"checkpoint_id": "c1"}]),
    ]


def a_run_that_was_overtaken_is_refused() -> Sequence[Step]:
    begins = starts("a")
    first, second = (starts(name, at="c1", known=True, seen="a.0") for name in ("b", "c"))
    return [
        Step(saves(begins, checkpoint("c1", topic="x")), NEW),
        Step(writes(first, "c1", ("x", 1)), NEW),
        Step(writes(second, "c1", ("x", 2)), ConcurrentRunError),
        Step(saves(second, checkpoint("c2", 2, topic="y"), "c1"), ConcurrentRunError),
        Step(saves(first, checkpoint("c3", 2, topic="z"), "c1"), TOUCHED),
        last("b.1"),
        Step(GetSession("alice", "t"), [NEW]),
        Step(saves(first, checkpoint("c4", 3, topic="z"), "c3"), None),
        last("b.2"),
    ]


def who_allows_it_is_not_refused() -> Sequence[Step]:
    first, second = starts("a"), starts("b", checked=False)
    return [
        Step(saves(first, checkpoint("c1", topic="x")), NEW),
        Step(saves(second, checkpoint("c2", 2, topic="y")), NEW),
        last("b.0"),
        Step(saves(first, checkpoint("c3", 3, topic="z"), "c1"), ConcurrentRunError),
    ]


def an_update_of_the_state_refuses_nobody() -> Sequence[Step]:
    run, update = starts("mine"), outside()
    return [
        Step(saves(run, checkpoint("c1", topic="x")), NEW),
        Step(saves(update, checkpoint("c2", 2, topic="y"), "c1", source="update"), NEW),
        Step(writes(update, "c2", ("x", 1)), None),
        Step(saves(run, checkpoint("c3", 3, topic="z"), "c1"), None),
        last("mine.1"),
        Step(loads(run), {"checkpoint_id": "c3"}),
    ]


def what_no_database_can_hold_is_refused() -> Sequence[Step]:
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="a\0b")), psycopg.DataError),
        Step(saves(run, checkpoint("c1", topic="\ud800")), psycopg.DataError),
        Step(saves(run, checkpoint("c1", number=float("nan"))), psycopg.DataError),
        Step(loads(run), None),
    ]


def a_checkpoint_that_was_asked_for_has_a_config_of_its_own() -> Sequence[Step]:
    """Its config names it, and does not hold the run that asked."""
    run = starts("mine")
    where = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c1"}
    return [
        Step(saves(run, checkpoint("c1", topic="x")), {"thread_id": "t"}),
        Step(loads(run, checkpoint_id="c1"), {"config": {"configurable": where}}),
    ]


def a_filter_finds_what_contains_it() -> Sequence[Step]:
    """Metadata that have what a filter has, and more, are found."""
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="x"), tags={"a": 1, "b": 2}), {"thread_id": "t"}),
        Step(lists(run, filter={"tags": {"a": 1}}), [{"checkpoint_id": "c1"}]),
    ]


def a_list_of_all_namespaces_is_newest_first() -> Sequence[Step]:
    """Checkpoints of all namespaces stand in one order."""
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="x")), {"thread_id": "t"}),
        Step(saves(run, checkpoint("c2", topic="x"), ns="sub:1"), None),
        Step(saves(run, checkpoint("c3", 2, topic="x"), "c1"), None),
        Step(
            lists(run, {"checkpoint_ns": None}),
            [{"checkpoint_id": name} for name in ("c3", "c2", "c1")],
        ),
    ]


def metadata_that_no_database_can_hold_are_refused() -> Sequence[Step]:
    """They are refused at once, not when the database is back."""
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="x"), temperature=float("nan")), psycopg.DataError)
    ]


CASES: list[Case] = [
    what_was_saved_is_loaded,
    what_was_saved_is_listed,
    writes_stand_in_the_order_of_tasks,
    questions_answers_and_errors_are_overwritten,
    the_history_of_a_channel_goes_back_to_its_value,
    of_a_thread_in_the_database_memory_does_not_know,
    a_first_save_makes_the_session,
    what_a_run_writes_first_is_noticed_and_makes_nothing_current,
    a_subgraphs_save_may_be_the_first,
    what_a_human_says_titles_it,
    a_deactivation_meanwhile_stands,
    a_run_makes_its_session_current,
    of_two_first_runs_the_second_is_refused,
    a_run_that_was_overtaken_is_refused,
    who_allows_it_is_not_refused,
    an_update_of_the_state_refuses_nobody,
    what_no_database_can_hold_is_refused,
    a_checkpoint_that_was_asked_for_has_a_config_of_its_own,
    a_filter_finds_what_contains_it,
    a_list_of_all_namespaces_is_newest_first,
    metadata_that_no_database_can_hold_are_refused,
]
