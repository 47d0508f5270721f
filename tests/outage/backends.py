"""What answers statements, PostgreSQL and memory: how the two are asked, and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_sessions import Session, SessionError
from langgraph_sessions.database.database import Database
from langgraph_sessions.plans import Plan, Question
from langgraph_sessions.runs.active import ActiveRun, pin
from langgraph_sessions.runs.loading import LoadCheckpoint, LoadHistory, LoadList
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.saving import SaveCheckpoint, SaveWrites
from tests.support import config

SERDE: Final = JsonPlusSerializer()


@dataclass(frozen=True)
class Step:
    """A statement, and what it must answer.

    Attributes:
        asks: The statement.
        answers: Rows, or what else it answers, of which a part is said; or a kind of error.
            A save that leaves the session alone is answered with nothing.
        unknown: Whether memory may not say: there may be more in the database.
    """

    asks: Question
    answers: Any
    unknown: bool = False


Case = Callable[[], Sequence[Step]]  # Makes its statements, and runs, anew for each backend.

# --- Asking -------------------------------------------------------------------------------------


def of_database(database: Database) -> Callable[[Question], Any]:
    """Return what asks PostgreSQL."""

    def plan(question: Question) -> Plan[Any]:
        return (yield question)

    return lambda question: database.run(plan(question))


def asked(answer: Callable[[Question], Any], case: Case) -> list[Any]:
    """Ask a case's statements, one after another; return what each answers, or raises."""
    return [_asked(answer, step.asks) for step in case()]


def _asked(answer: Callable[[Question], Any], question: Question) -> Any:
    try:
        found = answer(question)
    except (SessionError, psycopg.Error) as error:
        return error
    if isinstance(question, SaveCheckpoint | SaveWrites):  # As the savers do.
        question.done(found)
    return found


# --- Comparing ----------------------------------------------------------------------------------

# Ids and times. Cases say the names of saves where there are any to be seen; of preferences,
# which are the database's, memory knows nothing.
IGNORED: Final = ("id", "created_at", "updated_at", "current_at", "last_save", "preferences")


def shown(answer: Any) -> Any:
    """Return *answer* as it can be said and compared: a checkpoint, or an error, in its parts."""
    if isinstance(answer, list):
        return [shown(each) for each in answer]
    if isinstance(answer, CheckpointTuple):
        values = answer.checkpoint["channel_values"]
        return {**answer._asdict(), "checkpoint_id": answer.checkpoint["id"], "values": values}
    if isinstance(answer, psycopg.DataError):
        return psycopg.DataError
    return (type(answer), str(answer)) if isinstance(answer, Exception) else answer


def is_told(answer: Any, said: Any) -> bool:
    """Say whether *answer* is what was *said* of it."""
    if isinstance(said, type):
        return isinstance(answer, said)
    if isinstance(said, list):
        return len(answer) == len(said) and all(map(is_told, answer, said))
    if isinstance(said, Mapping) and not isinstance(answer, Exception):
        parts = shown(answer)
        return all(parts[key] == said[key] for key in said)
    return bool(answer == said)


def has_row(memory: Any, told: Any) -> bool:
    """Say whether memory answers a session's row to a save that left that alone: it may."""
    return told is None and isinstance(memory, dict)


def alike(memory: Any, database: Any) -> bool:
    """Say whether memory answers as the database does, but for ids and times.

    It may answer more columns, and leave out those that are NULL.
    """
    if isinstance(database, list) and isinstance(memory, list):
        return len(memory) == len(database) and all(map(alike, memory, database))
    if has_row(memory, database):
        return True
    ours, theirs = shown(memory), shown(database)
    if not isinstance(theirs, Mapping) or not isinstance(ours, Mapping):
        return bool(ours == theirs)
    columns = [key for key in theirs if key.removeprefix("session_") not in IGNORED]
    return all(ours.get(key) == theirs[key] for key in columns)


# --- Runs, and what they ask --------------------------------------------------------------------


def starts(
    name: str,
    user_id: str = "alice",
    thread_id: str = "t",
    *,
    at: str = "",
    known: bool = False,
    checked: bool = True,
    seen: str | None = None,
    **given: Any,
) -> ActiveRun:
    """Return a run on a thread, from the checkpoint *at*; *name* begins its saves' names."""
    run = outside(user_id, thread_id, known=known, **given)
    run.claim.start(at, addressed=False, checked=checked)
    run.claim.token, run.claim.seen = name, seen
    return run


def outside(
    user_id: str = "alice", thread_id: str = "t", *, known: bool = True, **given: Any
) -> ActiveRun:
    """Return what saves outside a run, such as an update of the state."""
    draft = Session.draft(user_id, thread_id)
    return ActiveRun.start(Request.of(config(user_id=user_id, **given)), draft, known=known)


def place(run: ActiveRun, **more: Any) -> Any:
    """Return a config on the run's thread, in the root graph's namespace."""
    return pin(config(**{"checkpoint_ns": "", **more}), run)


def checkpoint(checkpoint_id: str, version: int = 1, **values: Any) -> Checkpoint:
    """Return a checkpoint whose channels have these values, all of this version."""
    return {
        "v": 4,
        "id": checkpoint_id,
        "ts": "2026-05-01T12:00:00+00:00",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, f"{version:032}.0"),
        "versions_seen": {},
        "updated_channels": None,
    }


def saves(
    run: ActiveRun, saved: Checkpoint, after: str | None = None, ns: str = "", **metadata: Any
) -> SaveCheckpoint:
    """Return what saves a checkpoint of the run's, *after* another one."""
    where = place(run, checkpoint_ns=ns, **({} if after is None else {"checkpoint_id": after}))
    said: Any = {"source": "loop", "step": 1, "parents": {}, **metadata}
    return SaveCheckpoint.of(run, where, saved, said, saved["channel_versions"], SERDE)


def writes(
    run: ActiveRun, checkpoint_id: str, *pairs: tuple[str, Any], task: str = "task", path: str = ""
) -> SaveWrites:
    """Return what saves the writes of a task of the run's."""
    return SaveWrites.of(run, place(run, checkpoint_id=checkpoint_id), pairs, task, path, SERDE)


def loads(run: ActiveRun, **where: Any) -> LoadCheckpoint:
    """Return what loads a checkpoint of the run's thread."""
    return LoadCheckpoint(run, place(run, **where), SERDE)


def lists(run: ActiveRun, where: Mapping[str, Any] | None = None, **filters: Any) -> LoadList:
    """Return what lists the checkpoints there."""
    return LoadList(run, place(run, **(where or {})), SERDE, filters)


def histories(run: ActiveRun, *channels: str, **where: Any) -> LoadHistory:
    """Return what loads the history of channels."""
    return LoadHistory(run, place(run, **where), SERDE, channels=channels)
