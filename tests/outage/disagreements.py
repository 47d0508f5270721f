"""Where memory does not answer as PostgreSQL does: cases that say what PostgreSQL answers.

Each is expected to fail, and fails the tests once it does not: then it belongs to the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from langgraph_sessions import ConcurrentRunError, SessionNotFoundError
from tests.outage.backends import Case, Step, checkpoint, lists, outside, saves, starts, writes
from tests.outage.cases_of_sessions import made, put

# --- What is refused ----------------------------------------------------------------------------


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


def writes_overtake_nobody_by_themselves() -> Sequence[Step]:
    """PostgreSQL leaves it to the next checkpoint; in memory each save of a run has its name."""
    first, second = starts("a"), starts("b", at="c1", known=True, seen="a.0")
    return [
        Step(saves(first, checkpoint("c1", topic="x")), {"thread_id": "t"}),
        Step(writes(first, "c1", ("topic", "y")), None),
        Step(saves(second, checkpoint("c2", 2), "c1"), {"status": "idle"}),
    ]


def a_session_is_not_put_on_another_users_thread() -> Sequence[Step]:
    """PostgreSQL's own error is what `get_or_create_user_session` raises; memory's is ours."""
    return [made(), Step(put(user_id="bob"), psycopg.Error)]


def another_users_thread_is_refused() -> Sequence[Step]:
    """In memory each has a thread of that id; of the two one moves when it is written."""
    hers, his, before = starts("mine"), starts("his", "bob"), starts("his", "bob", known=True)
    return [
        Step(saves(hers, checkpoint("c1", topic="x")), {"thread_id": "t"}),
        Step(saves(his, checkpoint("c2", 2, topic="y")), SessionNotFoundError),
        Step(writes(before, "c1", ("x", 1)), SessionNotFoundError),
        Step(lists(hers), [{"checkpoint_id": "c1", "pending_writes": []}]),
    ]


DISAGREEMENTS: list[Case] = [
    another_users_thread_is_refused,
    a_checkpoint_without_a_run_overtakes_one,
    writes_overtake_nobody_by_themselves,
    a_session_is_not_put_on_another_users_thread,
]
