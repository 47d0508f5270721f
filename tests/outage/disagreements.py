"""Where memory does not answer as PostgreSQL does: cases that say what PostgreSQL answers.

Each is expected to fail, and fails the tests once it does not: then it belongs to the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from langgraph_sessions import ConcurrentRunError
from langgraph_sessions.sql.opening import OpenNew, OpenReserved
from tests.outage.backends import Case, Step, checkpoint, lists, loads, outside, saves, starts
from tests.outage.cases_of_sessions import made, put

# --- Whose a thread is --------------------------------------------------------------------------


def a_new_session_is_not_on_another_users_thread() -> Sequence[Step]:
    """A thread id that the factory gives two users: bob's new run reads what alice said."""
    return [
        made(),
        Step(OpenNew(user_id="bob", thread_id="t"), [{"session_user_id": "alice"}]),
    ]


def a_first_session_is_not_on_another_users_thread() -> Sequence[Step]:
    """A thread id that the factory gives two users: bob's first run reads what alice said."""
    return [
        made(),
        Step(OpenReserved(user_id="bob", thread_id="t"), [{"session_user_id": "alice"}]),
    ]


def a_new_session_is_not_on_a_thread_that_the_user_has() -> Sequence[Step]:
    """A thread id that the factory gives twice: `new_session=True` goes on in the old session."""
    return [
        made(),
        Step(OpenNew(user_id="alice", thread_id="t"), [{"session_user_id": "alice"}]),
    ]


# --- What is read -------------------------------------------------------------------------------


def a_checkpoint_that_was_asked_for_has_a_config_of_its_own() -> Sequence[Step]:
    """Memory gives back the config that it was asked with, and in it the run itself."""
    run = starts("mine")
    where = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c1"}
    return [
        Step(saves(run, checkpoint("c1", topic="x")), {"thread_id": "t"}),
        Step(loads(run, checkpoint_id="c1"), {"config": {"configurable": where}}),
    ]


def a_filter_finds_what_contains_it() -> Sequence[Step]:
    """PostgreSQL's `@>` finds metadata with more in them; memory those that are equal."""
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="x"), tags={"a": 1, "b": 2}), {"thread_id": "t"}),
        Step(lists(run, filter={"tags": {"a": 1}}), [{"checkpoint_id": "c1"}]),
    ]


def a_list_of_all_namespaces_is_newest_first() -> Sequence[Step]:
    """Memory lists one namespace after another."""
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="x")), {"thread_id": "t"}),
        Step(saves(run, checkpoint("c2", topic="x"), ns="sub:1"), {"thread_id": "t"}),
        Step(saves(run, checkpoint("c3", 2, topic="x"), "c1"), {"thread_id": "t"}),
        Step(
            lists(run, {"checkpoint_ns": None}),
            [{"checkpoint_id": name} for name in ("c3", "c2", "c1")],
        ),
    ]


# --- What is refused ----------------------------------------------------------------------------


def metadata_that_no_database_can_hold_are_refused() -> Sequence[Step]:
    """Memory takes them, and what was said is lost when the database is back."""
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="x"), temperature=float("nan")), psycopg.DataError)
    ]


def a_checkpoint_without_a_run_overtakes_one() -> Sequence[Step]:
    """One that is no update of the state, such as by `put`: memory looks at saves' names alone."""
    run = starts("mine")
    return [
        Step(saves(run, checkpoint("c1", topic="x")), {"thread_id": "t"}),
        Step(saves(outside(), checkpoint("c2", 2, topic="y"), "c1"), {"thread_id": "t"}),
        Step(
            saves(starts("late", at="c1", known=True, seen="mine.0"), checkpoint("c3", 2), "c1"),
            ConcurrentRunError,
        ),
    ]


def a_session_is_not_put_on_another_users_thread() -> Sequence[Step]:
    """PostgreSQL's own error is what `get_or_create_user_session` raises; memory's is ours."""
    return [made(), Step(put(user_id="bob"), psycopg.Error)]


DISAGREEMENTS: list[Case] = [
    a_new_session_is_not_on_another_users_thread,
    a_first_session_is_not_on_another_users_thread,
    a_new_session_is_not_on_a_thread_that_the_user_has,
    a_checkpoint_that_was_asked_for_has_a_config_of_its_own,
    a_filter_finds_what_contains_it,
    a_list_of_all_namespaces_is_newest_first,
    metadata_that_no_database_can_hold_are_refused,
    a_checkpoint_without_a_run_overtakes_one,
    a_session_is_not_put_on_another_users_thread,
]
