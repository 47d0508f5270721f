"""What runs save, as plans: what is sent together, and what each refusal leads to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from langgraph_sessions import ConcurrentRunError, SessionNotFoundError
from langgraph_sessions.plans import Execute, ExecuteMany
from langgraph_sessions.runs.guarding import guarded
from langgraph_sessions.runs.plain import SavePlainCheckpoint, SavePlainWrites
from langgraph_sessions.runs.saving import SaveCheckpoint, SaveWrites
from langgraph_sessions.sql.functions import CONFLICT, IN_USE, NOT_FOUND
from langgraph_sessions.sql.saving import (
    MOST_ROWS,
    Beside,
    FindSaved,
    GuardPlainThread,
    LockNewThread,
    LockThread,
)
from tests.plans import Refused, play, session_row
from tests.runs.saves import METADATA, SERDE, checkpoint, made, place, running, save, wrote
from tests.support import config

# --- Together, or not at all --------------------------------------------------------------------


def test_a_checkpoint_is_one_statement_with_its_session() -> None:
    """Blobs and the checkpoint are made beside the session, whose row is the answer."""
    run = running()
    row = session_row()
    played = play(save(run, checkpoint(words=["a"])).plan(), [row])
    (beside,) = played.asked
    assert [type(each) for each in beside.saved] == [ExecuteMany, Execute]
    assert beside.guard == run.put(f"{run.claim.token}.0", first=True, own="c1", idle=True)
    assert played.result == row


def test_primitive_values_take_no_statement_of_their_own() -> None:
    """As the parent has it, they stand in the checkpoint."""
    (beside,) = play(save(running(), checkpoint(topic="x")).plan(), [session_row()]).asked
    assert [type(each) for each in beside.saved] == [Execute]


def test_writes_are_one_statement_with_what_guards_them() -> None:
    """A task's writes are made beside the guard of the thread, which has no row to answer."""
    run = made()
    played = play(wrote(run, ("topic", "x")).plan(), [])
    (beside,) = played.asked
    assert [type(each) for each in beside.saved] == [ExecuteMany]
    assert beside.guard == run.guard(f"{run.claim.token}.1", named=False)
    assert played.result is None


@pytest.mark.parametrize("kind", [INTERRUPT, ERROR, RESUME, "topic"])
def test_what_is_too_much_for_one_statement_is_locked_sent_and_guarded(kind: str) -> None:
    """Many rows, or some that may meet each other, are statements of one batch."""
    many = 2 if kind != "topic" else MOST_ROWS + 1
    asks = wrote(made(), *[(kind, "x")] * many)
    (batch,) = play(asks.plan(), [session_row()]).asked
    lock, *saved, last = batch.statements
    assert (lock, last.saved) == (LockThread("t"), ())
    assert [len(each.rows) for each in saved] == [many]
    assert last.guard == (asks.guard_thread() or asks.put_session())


def test_a_thread_that_becomes_a_users_is_locked_before_its_row() -> None:
    """As `user_sessions_put` locks the two: in another order, two savers wait for each other."""
    guard = replace(running().put("save", first=True), known=False)
    many = Execute("INSERT …"), ExecuteMany("INSERT … DO UPDATE", [[1]] * 2)
    (batch,) = play(guarded(guard, many), [session_row()]).asked
    assert batch.statements[:2] == [LockNewThread("t"), LockThread("t")]


PLAIN_CHECKPOINT = SavePlainCheckpoint(place(), (checkpoint(), METADATA, {}), SERDE)
PLAIN_WRITES = SavePlainWrites(place(checkpoint_id="c1"), ([("topic", "x")], "task", ""), SERDE)
PLAIN = [
    pytest.param(PLAIN_CHECKPOINT, [Execute], id="checkpoint"),
    pytest.param(PLAIN_WRITES, [ExecuteMany], id="writes"),
]


@pytest.mark.parametrize(("plain", "sent"), PLAIN)
def test_nobodys_save_is_guarded_too(plain: Any, sent: list[type]) -> None:
    """Without a user, what the parent saves is refused where the thread is somebody's."""
    (beside,) = play(plain.plan(), []).asked
    assert [type(each) for each in beside.saved] == sent
    assert beside.guard == GuardPlainThread("t")
    assert not plain.holdable


# --- Refused ------------------------------------------------------------------------------------


# What may be refused, and who is told.
REFUSABLE = [
    pytest.param(lambda: save(running(), checkpoint()), "alice", id="checkpoint"),
    pytest.param(lambda: wrote(running(), ("topic", "x")), "alice", id="writes"),
    pytest.param(lambda: PLAIN_CHECKPOINT, None, id="nobody's checkpoint"),
    pytest.param(lambda: PLAIN_WRITES, None, id="nobody's writes"),
]


@pytest.mark.parametrize(("about", "user_id"), REFUSABLE)
def test_a_thread_that_is_not_the_runs_is_not_found(about: Any, user_id: str | None) -> None:
    """The database's refusal names who asked and for what."""
    error = play(about().plan(), Refused(NOT_FOUND)).error
    assert isinstance(error, SessionNotFoundError)
    assert (error.user_id, error.thread_id) == (user_id, "t")


@pytest.mark.parametrize("sqlstate", ["23505", IN_USE, "08006"])
@pytest.mark.parametrize(("about", "user_id"), REFUSABLE)
def test_any_other_error_is_the_databases(about: Any, user_id: str | None, sqlstate: str) -> None:
    """It is raised as it is, and nothing more is asked."""
    refused = Refused(sqlstate)
    assert play(about().plan(), refused).error is refused


def test_writes_of_a_run_that_was_overtaken_are_refused() -> None:
    """Another run saved meanwhile: nothing was saved, and the error names the session."""
    error = play(wrote(running(), ("topic", "x")).plan(), Refused(CONFLICT)).error
    assert isinstance(error, ConcurrentRunError)
    assert error.thread_id == "t"


def test_a_checkpoint_of_a_run_that_was_overtaken_is_refused_and_the_run_is_over() -> None:
    """It is looked for once; what the run saves later is refused before it is asked for."""
    run = running()
    played = play(save(run, checkpoint()).plan(), Refused(CONFLICT), [])
    assert played.asked[-1] == FindSaved("alice", "t", "", "c1")
    assert isinstance(played.error, ConcurrentRunError)
    for again in (lambda: save(run, checkpoint("c2")), lambda: wrote(run, ("topic", "x"))):
        with pytest.raises(ConcurrentRunError):
            again()


def test_a_checkpoint_that_a_lost_try_saved_is_saved() -> None:
    """The refusal may be by the run's own try whose connection broke: then all is well."""
    run = running()
    row = session_row(last_save="mine.0")
    played = play(save(run, checkpoint()).plan(), Refused(CONFLICT), [row])
    assert played.result == row
    assert not run.claim.overtaken


def test_each_try_asks_the_same_of_the_same_save() -> None:
    """A save that is sent again has the name that it had, so that it is not its own rival."""
    run = running()
    saved = save(run, checkpoint())
    first, second = (play(saved.plan(), [session_row()]).asked[0] for _ in range(2))
    assert isinstance(first, Beside)
    assert first.guard == second.guard


# --- Saved --------------------------------------------------------------------------------------


def test_what_is_saved_is_what_the_run_goes_on_from() -> None:
    """A root checkpoint moves the run on; a subgraph's, and writes, change the last name alone."""
    run = running()
    root, below = save(run, checkpoint()), save(run, checkpoint("s1"), checkpoint_ns="sub:1")
    writes = wrote(run, (INTERRUPT, "x"))
    root.done(session_row())
    assert (run.claim.base, run.claim.seen) == ("c1", root.name)
    below.done(None)
    assert (run.claim.base, run.claim.seen) == ("c1", below.name)
    writes.done(session_row())
    assert (run.claim.base, run.claim.seen) == ("c1", writes.name)
    assert len({root.name, below.name, writes.name}) == 3


def test_writes_that_nobody_notices_are_not_what_the_run_has_seen() -> None:
    """The thread's last save is still the one before."""
    run = made()
    seen = run.claim.seen
    wrote(run, ("topic", "x")).done(None)
    assert run.claim.seen == seen


def test_a_save_returns_the_config_that_goes_on_from_it() -> None:
    """It names the user, the thread and the checkpoint, and nothing of the run."""
    saved = save(running(), checkpoint(), checkpoint_ns="sub:1")
    place = {"user_id": "alice", "thread_id": "t", "checkpoint_ns": "sub:1", "checkpoint_id": "c1"}
    assert saved.saved_config == config(**place)


def test_a_save_settled_in_memory_is_sent_as_it_was_then() -> None:
    """What an outage held is what is sent, with the session, however the run went on."""
    run = running()
    then = run.put("mine.7", first=True, own="c1", idle=True)
    args = (run, place(run, checkpoint_id="c1"))
    saves = SaveCheckpoint(*args, SERDE, "mine.7", checkpoint(), METADATA, {}, session=then)
    writes = SaveWrites(*args, SERDE, "mine.8", [("topic", "x")], "task", "", session=then)
    run.note_saved(session_row())
    for held in (saves, writes):
        (beside,) = play(held.plan(), [session_row()]).asked
        assert beside.guard is then


# --- For the title ------------------------------------------------------------------------------


def test_a_models_answer_counts_once_it_is_saved() -> None:
    """A titler may be called after a save that has the answer, or one after writes with it."""
    run = running()
    run.words.has_titler = True
    writes = wrote(run, ("messages", AIMessage("Rome")))
    assert run.words.answered is None
    writes.done(None)
    assert run.words.answered == "c1"
