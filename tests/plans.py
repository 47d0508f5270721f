"""Plans played without a database, and the rows to answer them with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from langgraph_sessions import Session
from langgraph_sessions.database.database import Database
from langgraph_sessions.plans import Done, Give, Plan, fail, proceed
from langgraph_sessions.sql.columns import USER_SESSIONS

Row = dict[str, Any]

THEN: Final = datetime(2024, 5, 1, 12, tzinfo=UTC)

# What the parent's SELECT_SQL returns where there is no checkpoint.
NO_CHECKPOINT: Final[Row] = {
    "thread_id": None,
    "checkpoint": None,
    "checkpoint_ns": None,
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
    "metadata": None,
    "channel_values": None,
    "pending_writes": None,
}


@dataclass
class Played:
    """What became of a plan.

    Attributes:
        asked: Its steps, in order.
        result: What it returned.
        error: What it raised.
    """

    asked: list[Any]
    result: Any = None
    error: Exception | None = None


def play(plan: Plan[Any], *answers: Any) -> Played:
    """Answer a plan's steps with *answers*, one after another; an exception is thrown into it.

    It must ask for as many as there are.
    """
    played = Played([])
    try:
        step = proceed(plan)
        for answer in answers:
            if isinstance(step, Done):
                break
            played.asked.append(step)
            step = fail(plan, answer) if isinstance(answer, Exception) else proceed(plan, answer)
    except Exception as error:
        played.error = error
    else:
        assert isinstance(step, Done), f"no answer to {step}"
        played.result = step.value
    assert len(played.asked) == len(answers), f"asked no more than {played.asked}"
    return played


class Refused(psycopg.Error):
    """What the database raises, with a code of ours or of its own."""

    def __init__(self, sqlstate: str) -> None:
        """Be refused with this code."""
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Answering(Database):
    """A database that plays the one plan it is given with *answers*.

    Attributes:
        asked: What the plan asked.
    """

    def __init__(self, *answers: Any) -> None:
        """Have these answers."""
        self.asked: list[Any] = []
        self._answers = answers

    def run(self, plan: Plan[Any]) -> Any:
        """Play *plan*; return, or raise, what it does."""
        played = play(plan, *self._answers)
        self.asked = played.asked
        if played.error:
            raise played.error
        return played.result

    def stream(self, plan: Plan[None]) -> Iterator[Any]:
        """Play *plan*; yield what it gives, which takes answers, too."""
        self.run(plan)
        yield from (step.value for step in self.asked if isinstance(step, Give))


def session_row(user_id: str = "alice", thread_id: str = "t", **columns: Any) -> Row:
    """Return a session's row, with all that a run knows of it.

    In memory a `last_save` stands beside it, which in the database is in the thread's row.
    """
    row = {column.name: column.initial for column in USER_SESSIONS if column.in_runs}
    row |= {"id": 1, "title": "T", "title_source": "user", "created_at": THEN, "updated_at": THEN}
    return {**row, "user_id": user_id, "thread_id": thread_id, **columns}


def session(user_id: str = "alice", thread_id: str = "t", **columns: Any) -> Session:
    """Return the session of such a row."""
    return Session.from_row(session_row(user_id, thread_id, **columns))


def opened(row: Row | None = None, **found: Any) -> Row:
    """Return what a statement that opens a thread answers: *row* is the session's, if it has one.

    Args:
        row: The session's row; its `last_save`, if it has one, is its thread's.
        **found: `asked_thread_id` where there is none; `newest_thread_id` and `newest_user_id`
            of what a plain saver left behind; the columns of a checkpoint.
    """
    columns = [column.name for column in USER_SESSIONS if column.in_runs]
    return {
        **NO_CHECKPOINT,
        "preferences": None,
        "newest_thread_id": None,
        "newest_user_id": None,
        "asked_thread_id": row and row["thread_id"],
        "last_save": row and row.get("last_save"),
        **{f"session_{name}": row and row[name] for name in columns},
        **found,
    }


def left_behind(thread_id: str, owner: str | None) -> Row:
    """Return what opening a thread answers that has checkpoints, *owner*'s, and no session."""
    return opened(asked_thread_id=thread_id, newest_thread_id=thread_id, newest_user_id=owner)
