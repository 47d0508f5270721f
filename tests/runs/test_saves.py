"""What runs save, as plans: what is sent together, and what each refusal leads to."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_sessions import ConcurrentRunError, SessionNotFoundError
from langgraph_sessions.plans import Batch, Execute, ExecuteMany
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.saving import (
    SaveCheckpoint,
    SavePlainCheckpoint,
    SavePlainWrites,
    SaveWrites,
)
from langgraph_sessions.sql.functions import CONFLICT, IN_USE, NOT_FOUND
from langgraph_sessions.sql.saving import FindSaved, GuardThread, PutSession
from tests.plans import Refused, play, session, session_row
from tests.support import config

SERDE = JsonPlusSerializer()
METADATA: Any = {"source": "loop", "step": 1, "parents": {}}


def running() -> ActiveRun:
    """Return a run of alice's, under way on her session, that notices others."""
    run = ActiveRun.start(Request.of(config(user_id="alice")), session(), known=True)
    run.claim.start("", addressed=False, checked=True)
    return run


def place(run: ActiveRun | None = None, **more: Any) -> Any:
    """Return the config of a save to the thread."""
    user = {} if run is None else {"user_id": run.user_id}
    return config(**{**user, "thread_id": "t", "checkpoint_ns": "", **more})


def checkpoint(checkpoint_id: str = "c1", **values: Any) -> Checkpoint:
    """Return a checkpoint of these values, all of them new."""
    versions: dict[str, str | int | float] = dict.fromkeys(values, "1")
    return {
        **empty_checkpoint(),
        "id": checkpoint_id,
        "channel_values": values,
        "channel_versions": versions,
    }


def save(run: ActiveRun, saved: Checkpoint, **more: Any) -> SaveCheckpoint:
    """Return what *run* is about to save."""
    return SaveCheckpoint.of(
        run, place(run, **more), saved, METADATA, saved["channel_versions"], SERDE
    )


def wrote(run: ActiveRun, *writes: tuple[str, Any], **more: Any) -> SaveWrites:
    """Return what a task of *run* is about to write to the checkpoint c1."""
    return SaveWrites.of(run, place(run, checkpoint_id="c1", **more), writes, "task", "", SERDE)


# --- Together, or not at all --------------------------------------------------------------------


def test_a_checkpoint_is_sent_at_once_with_its_session() -> None:
    """Blobs, the checkpoint and the session are one batch, which answers with the session's row."""
    run = running()
    row = session_row()
    played = play(save(run, checkpoint(words=["a"])).plan(), [row])
    (batch,) = played.asked
    blobs, parent, put = batch.statements
    assert isinstance(blobs, ExecuteMany)
    assert isinstance(parent, Execute)
    assert put == run.put(f"{run.claim.token}.0", "c1")
    assert played.result == row


def test_primitive_values_take_no_statement_of_their_own() -> None:
    """As the parent has it, they stand in the checkpoint."""
    (batch,) = play(save(running(), checkpoint(topic="x")).plan(), [session_row()]).asked
    assert [type(each) for each in batch.statements] == [Execute, PutSession]


def test_writes_are_sent_at_once_with_what_guards_them() -> None:
    """A task's writes stand beside the guard of the thread."""
    run = running()
    played = play(wrote(run, ("topic", "x")).plan(), [])
    (batch,) = played.asked
    writes, guard = batch.statements
    assert isinstance(writes, ExecuteMany)
    assert guard == run.guard(f"{run.claim.token}.0")
    assert played.result is None


PLAIN_CHECKPOINT = SavePlainCheckpoint(place(), (checkpoint(), METADATA, {}), SERDE)
PLAIN_WRITES = SavePlainWrites(place(checkpoint_id="c1"), ([("topic", "x")], "task", ""), SERDE)
PLAIN = [
    pytest.param(PLAIN_CHECKPOINT, [Execute], id="checkpoint"),
    pytest.param(PLAIN_WRITES, [ExecuteMany], id="writes"),
]


@pytest.mark.parametrize(("plain", "sent"), PLAIN)
def test_nobodys_save_is_guarded_too(plain: Any, sent: list[type]) -> None:
    """Without a user, what the parent saves is refused where the thread is somebody's."""
    (batch,) = play(plain.plan(), []).asked
    *saved, guard = batch.statements
    assert [type(each) for each in saved] == sent
    assert guard == GuardThread(user_id=None, thread_id="t")
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
    assert isinstance(first, Batch)
    assert first.statements[-1] == second.statements[-1]


# --- Saved --------------------------------------------------------------------------------------


def test_what_is_saved_is_what_the_run_goes_on_from() -> None:
    """A root checkpoint moves the run on; a subgraph's, and writes, change the last name alone."""
    run = running()
    root, below = save(run, checkpoint()), save(run, checkpoint("s1"), checkpoint_ns="sub:1")
    writes = wrote(run, ("topic", "x"))
    assert root.done(session_row(title="New")).title == "New"
    assert (run.claim.base, run.claim.seen) == ("c1", root.name)
    below.done(session_row())
    assert (run.claim.base, run.claim.seen) == ("c1", below.name)
    writes.done()
    assert (run.claim.base, run.claim.seen) == ("c1", writes.name)
    assert len({root.name, below.name, writes.name}) == 3


def test_a_save_returns_the_config_that_goes_on_from_it() -> None:
    """It names the user, the thread and the checkpoint, and nothing of the run."""
    saved = save(running(), checkpoint(), checkpoint_ns="sub:1")
    place = {"user_id": "alice", "thread_id": "t", "checkpoint_ns": "sub:1", "checkpoint_id": "c1"}
    assert saved.saved_config == config(**place)


def test_a_save_settled_in_memory_is_sent_as_it_was_then() -> None:
    """What an outage held is what is sent, however the run went on."""
    run = running()
    then, guard = run.put("mine.7", "c1"), run.guard("mine.8")
    held = SaveCheckpoint(
        run, place(run), checkpoint(), METADATA, {}, SERDE, "mine.7", session=then
    )
    run.note_saved(session_row())
    assert held.put_session() is then
    writes = SaveWrites(
        run, place(run, checkpoint_id="c1"), [], "task", "", SERDE, "mine.8", session=guard
    )
    assert writes.guard_thread() is guard


# --- For the title ------------------------------------------------------------------------------


def test_what_a_human_said_is_in_the_save_that_says_it() -> None:
    """The first words of the root graph title the session; a subgraph's prompts are its own."""
    run = running()
    below = save(run, checkpoint("s1", messages=[HumanMessage("A prompt")]), checkpoint_ns="sub:1")
    assert below.put_session().message_title is None
    root = save(run, checkpoint(messages=[HumanMessage("Plan a trip")]))
    assert root.put_session().message_title == "Plan a trip"
    later = save(run, checkpoint("c2", messages=[HumanMessage("And back")]))
    assert later.put_session().message_title == "Plan a trip"


def test_a_models_answer_counts_once_it_is_saved() -> None:
    """A titler may be called after a save that has the answer, or one after writes with it."""
    run = running()
    writes = wrote(run, ("messages", AIMessage("Rome")))
    assert run.words.answered is None
    writes.done()
    assert run.words.answered == "c1"
