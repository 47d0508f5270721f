"""The way back as plans: what is written in which order, and where what was overtaken goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.serde.types import INTERRUPT

from langgraph_sessions import SessionError, SessionNotFoundError, SessionsUnavailableError
from langgraph_sessions.outage.memory import Memory
from langgraph_sessions.outage.state import OUTAGE_LIMIT
from langgraph_sessions.outage.writing import Taken, write
from langgraph_sessions.plans import Call
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.saving import SaveCheckpoint, SaveWrites
from langgraph_sessions.runs.thread_ids import new_thread_id
from langgraph_sessions.sql.functions import IN_USE, NOT_FOUND
from langgraph_sessions.sql.opening import OpenNew
from langgraph_sessions.sql.saving import PutSession
from langgraph_sessions.sql.sessions import (
    CreateSession,
    DeactivateSessions,
    GetSession,
    SwitchSession,
    UpdateSession,
)
from langgraph_sessions.sql.upkeep import CopySession
from tests.outage.backends import Step as Asks
from tests.outage.backends import asked, checkpoint, lists, loads, saves, starts, writes
from tests.plans import Refused, play, session_row


def factory(user_id: str) -> str:
    """Stand for `thread_id_factory`: what it returns is an answer of each case."""
    raise AssertionError


ASKS_FACTORY = Call(new_thread_id, (factory, "alice"))
COPY = CopySession(source="t", target="new", user_id="alice", checkpoint_id="c0")


def memory(*questions: Any) -> Memory:
    """Return a memory that was asked these."""
    held = Memory(OUTAGE_LIMIT)
    answers = asked(held.answer, lambda: [Asks(question, None) for question in questions])
    assert not any(isinstance(answer, Exception) for answer in answers)
    return held


def under_way(name: str = "a") -> ActiveRun:
    """Return a run whose session, and whose checkpoint c0, are in the database."""
    return starts(name, at="c0", known=True, seen="z.0")


def following(run: ActiveRun) -> list[Any]:
    """Return what such a run saves: a task's writes, then the next checkpoint."""
    return [
        writes(run, "c0", ("topic", "x")),
        saves(run, checkpoint("c1", 2, topic="x"), "c0"),
    ]


def first(held: Memory) -> Any:
    """Return what is to be written next."""
    entry = held.next()
    assert entry is not None
    return entry.item


def drained(held: Memory) -> list[Any]:
    """Return all that is to be written, as if each was."""
    items = []
    while (entry := held.next()) is not None:
        items.append(entry.item)
        held.journal.drop_first()
    return items


def thread_of(item: Any) -> str:
    """Return the thread to which something is written: what it saves goes with its session."""
    if not isinstance(item, SaveCheckpoint | SaveWrites):
        return str(item.thread_id)
    assert item.session is not None
    assert item.session.thread_id == item.config["configurable"]["thread_id"]
    return item.session.thread_id


# --- In order -----------------------------------------------------------------------------------


def test_what_was_said_is_written_in_its_order() -> None:
    """Each once, as it was when it was said; then there is nothing more."""
    run = starts("a")
    made = saves(run, checkpoint("c1", topic="x"))
    rename = UpdateSession(user_id="alice", thread_id="t", title="New")
    later = saves(run, checkpoint("c2", 2, topic="y"), "c1")
    held = memory(made, rename, later)
    items = drained(held)
    assert [item.checkpoint["id"] for item in (items[0], items[2])] == ["c1", "c2"]
    assert items[1] == rename
    assert [item.session.known for item in (items[0], items[2])] == [False, True]
    assert [item.session.first for item in (items[0], items[2])] == [True, False]
    assert held.next() is None


def test_what_a_node_changes_afterwards_is_not_written() -> None:
    """Values are held as the bytes that they were, metadata as a copy."""
    run, words, tags = starts("a"), ["a"], {"a": 1}
    save = saves(run, checkpoint("c1", words=words), tags=tags)
    held = memory(save)
    words.append("b")
    tags["a"] = 2
    item = first(held)
    dumped = item.checkpoint["channel_values"]["words"]
    assert item.serde.loads_typed(dumped) == ["a"]
    assert item.metadata["tags"] == {"a": 1}


def test_what_waited_for_a_save_that_memory_holds_is_held_behind_it() -> None:
    """It was written when the database was there, before what makes the session."""
    run = starts("a")
    waits = writes(run, "c1", (INTERRUPT, "Where to?"))
    play(waits.plan())
    held = memory(saves(run, checkpoint("c1", topic="x")))
    found = held.answer(loads(run))
    assert found.pending_writes == [("task", INTERRUPT, "Where to?")]
    made, asks = drained(held)
    assert (type(made), type(asks)) == (SaveCheckpoint, SaveWrites)
    assert (len(made.saved()), len(asks.saved())) == (1, 1)
    assert (made.session.known, asks.session.known) == (False, False)
    assert run.unsaved == []


@pytest.mark.parametrize(("answer", "fails"), [(session_row(), False), ([], True)])
def test_a_change_that_finds_no_session_is_told(answer: Any, fails: bool) -> None:
    """Its session is gone; what a run saves says so by itself."""
    played = play(write(SwitchSession("alice", "t")), [answer] if answer else [])
    assert isinstance(played.error, SessionError) is fails


@pytest.mark.parametrize("save", following(under_way()))
def test_a_save_is_asked_as_it_is_held(save: Any) -> None:
    """Its answer is not looked at: what is refused is raised."""
    played = play(write(save), None)
    assert (played.asked, played.error) == ([save], None)
    refused = Refused("23505")
    assert play(write(save), refused).error is refused


# --- Overtaken ----------------------------------------------------------------------------------


def test_a_run_that_was_overtaken_goes_to_a_fork_of_what_it_knew() -> None:
    """A new thread, copied up to the run's checkpoint; all that it saves goes there unchecked."""
    run, other = under_way(), under_way("b")
    held = memory(*following(run), *following(other))
    played = play(held.move(first(held), factory), "new", [session_row()])
    assert (played.asked, played.error) == ([ASKS_FACTORY, COPY], None)
    items = drained(held)
    assert [thread_of(item) for item in items] == ["new", "new", "t", "t"]
    assert [item.session.checked for item in items] == [False, False, True, True]
    assert all(item.session.known for item in items)


@pytest.mark.parametrize("untitled", [True, False])
def test_a_session_without_a_checkpoint_moves_with_its_title(untitled: bool) -> None:
    """There is nothing to fork: what is made is called so, and titled by what was said or not."""
    run = starts("a", at="", known=True, seen="z.0")
    run.session = replace(run.session, title="Mine")
    run.words.untitled = untitled
    held = memory(saves(run, checkpoint("c1", topic="x")))
    play(held.move(first(held), factory), "new")
    session = first(held).session
    assert (session.thread_id, session.known, session.default_title) == ("new", False, "Mine")
    assert session.title == (None if untitled else "Mine")


def test_a_thread_that_was_begun_in_memory_moves_as_a_whole() -> None:
    """There is nothing to copy; its first save makes the session, and changes of it go along."""
    run = starts("a")
    later = starts("b", at="c1", known=True, seen="a.0")
    held = memory(
        saves(run, checkpoint("c1", topic="x")),
        UpdateSession(user_id="alice", thread_id="t", title="New"),
        saves(later, checkpoint("c2", 2, topic="y"), "c1"),
        DeactivateSessions("alice", "t"),
    )
    played = play(held.move(first(held), factory), "new")
    assert (played.asked, played.error) == ([ASKS_FACTORY], None)
    items = drained(held)
    assert [thread_of(item) for item in items] == ["new"] * 4
    assert [item.session.known for item in (items[0], items[2])] == [False, True]


def test_of_two_users_on_one_id_each_sees_and_moves_their_own() -> None:
    """As where a factory names one thread for all, and one user's run was under way on it."""
    hers, his = starts("a"), starts("b", "bob")
    held = memory(
        OpenNew(user_id="bob", thread_id="t"),
        saves(hers, checkpoint("c1", topic="hers")),
        saves(his, checkpoint("c2", topic="his")),
        UpdateSession(user_id="bob", thread_id="t", title="His"),
    )
    for run, topic in ((hers, "hers"), (his, "his")):
        assert held.answer(loads(run)).checkpoint["channel_values"] == {"topic": topic}
        assert len(held.answer(lists(run))) == 1
    play(held.move(first(held), factory), "new")
    assert [thread_of(item) for item in drained(held)] == ["new", "t", "t"]


def test_other_users_and_other_threads_stay_where_they_are() -> None:
    """Nothing but what was overtaken moves."""
    held = memory(
        saves(starts("a"), checkpoint("c1", topic="x")),
        saves(starts("b", thread_id="u"), checkpoint("c1", topic="x")),
        saves(starts("c", "bob", "v"), checkpoint("c1", topic="x")),
    )
    play(held.move(first(held), factory), "new")
    assert [thread_of(item) for item in drained(held)] == ["new", "u", "v"]


def test_a_run_moves_again_where_somebody_saved_to_its_fork() -> None:
    """To a fork of that, at the checkpoint that is to be followed; a try that broke is repeated."""
    held = memory(*following(under_way()))
    play(held.move(first(held), factory), "new", [session_row()])
    broken = play(held.move(first(held), factory), BROKEN)
    again = play(held.move(first(held), factory), Refused(IN_USE), [session_row()])
    assert again.error is None
    (copy,) = broken.asked
    assert again.asked == [copy, GetSession("alice", copy.target)]
    assert (copy.source, copy.checkpoint_id) == ("new", "c0")
    assert {thread_of(item) for item in drained(held)} == {copy.target}
    assert copy.target.startswith("alice_")


def test_a_session_moves_whose_id_somebody_has_taken() -> None:
    """One that was made here, and what was said in it; by a run, or before one."""
    create = CreateSession(user_id="alice", thread_id="t", title="T", title_source="user")
    held = memory(create, saves(starts("a"), checkpoint("c1", topic="x")))
    assert isinstance(play(write(first(held)), [], []).error, Taken)
    play(held.move(first(held), factory))
    (target,) = {thread_of(item) for item in drained(held)}
    assert target.startswith("alice_")
    held = memory(saves(starts("a"), checkpoint("c1", topic="x")))
    gone = SessionNotFoundError("alice", "t")
    assert isinstance(play(write(first(held)), gone).error, Taken)
    play(held.move(first(held), factory), "new")
    assert [thread_of(item) for item in drained(held)] == ["new"]
    put = PutSession(user_id="alice", thread_id="t")
    held = memory(put)
    assert isinstance(play(write(put), Refused(NOT_FOUND)).error, Taken)
    play(held.move(first(held), factory))
    assert thread_of(first(held)).startswith("alice_")


def test_a_session_that_was_deleted_does_not_move() -> None:
    """The database had it when the run began: somebody has deleted it since."""
    held = memory(*following(under_way()))
    gone = SessionNotFoundError("alice", "t")
    assert play(write(first(held)), gone).error is gone


def test_a_factory_that_returns_the_same_id_again_is_not_followed() -> None:
    """Such as one that gives each user one conversation: the default's id is taken."""
    held = memory(*following(under_way()))
    played = play(held.move(first(held), factory), "t", [session_row()])
    (target,) = {thread_of(item) for item in drained(held)}
    assert target.startswith("alice_")
    assert played.asked[1].target == target


def test_what_the_factory_raises_is_raised_and_nothing_moves() -> None:
    """It is asked again the next time."""
    held = memory(*following(under_way()))
    error = LookupError("no such tenant")
    assert play(held.move(first(held), factory), error).error is error
    assert thread_of(first(held)) == "t"
    assert play(held.move(first(held), factory), "new", [session_row()]).error is None


def test_a_run_in_a_subgraph_moves_again_to_where_its_root_graph_was() -> None:
    """Nothing is lost of it: a subgraph's checkpoint is none that a fork can be made at."""
    run = under_way()
    held = memory(*following(run), saves(run, checkpoint("s1", topic="y"), ns="sub:1"))
    play(held.move(first(held), factory), "new", [session_row()])
    for _ in following(under_way()):
        held.journal.drop_first()
    (copy,) = play(held.move(first(held), factory), [session_row()]).asked
    assert (copy.source, copy.checkpoint_id) == ("new", "c1")
    assert {thread_of(item) for item in drained(held)} == {copy.target}


# --- A copy whose answer was lost ---------------------------------------------------------------

BROKEN = psycopg.OperationalError("gone")


def test_a_copy_that_succeeded_although_its_connection_broke_is_gone_on_with() -> None:
    """The next try asks for the same thread, without the factory, and finds it in use."""
    held = memory(*following(under_way()))
    assert play(held.move(first(held), factory), "new", BROKEN).error is BROKEN
    assert thread_of(first(held)) == "t"
    again = play(held.move(first(held), factory), Refused(IN_USE), [session_row()])
    assert (again.asked, again.error) == ([COPY, GetSession("alice", "new")], None)
    assert {thread_of(item) for item in drained(held)} == {"new"}


@pytest.mark.parametrize("tries", [1, 2])
def test_a_thread_that_somebody_else_has_is_not_moved_to(tries: int) -> None:
    """Where the factory's id is in use, and not by a copy made before, it is the default one."""
    held = memory(*following(under_way()))
    answers: list[Any] = ["new", Refused(IN_USE), [session_row()]]
    if tries == 2:
        play(held.move(first(held), factory), "new", BROKEN)
        answers = [Refused(IN_USE), [], [session_row()]]
    played = play(held.move(first(held), factory), *answers)
    assert played.error is None
    (target,) = {thread_of(item) for item in drained(held)}
    assert target.startswith("alice_")
    assert played.asked[-1].target == target


def test_a_copy_that_did_not_succeed_is_made_by_the_next_try() -> None:
    """The same thread is asked for, and is free."""
    held = memory(*following(under_way()))
    play(held.move(first(held), factory), "new", BROKEN)
    again = play(held.move(first(held), factory), [session_row()])
    assert (again.asked, again.error) == ([COPY], None)


@pytest.mark.parametrize("tries", [1, 2])
def test_another_refusal_of_the_copy_is_raised(tries: int) -> None:
    """A full disk is nobody's thread."""
    held = memory(*following(under_way()))
    if tries == 2:
        play(held.move(first(held), factory), "new", BROKEN)
    refused = Refused("53100")
    answers = ["new", refused] if tries == 1 else [refused]
    assert play(held.move(first(held), factory), *answers).error is refused


# --- What may be gone on with -------------------------------------------------------------------


def test_a_subgraph_begins_in_memory_where_its_task_did() -> None:
    """A task of a checkpoint that the run itself made has nothing in the database."""
    run = under_way()
    held = Memory(OUTAGE_LIMIT)
    with pytest.raises(SessionsUnavailableError):
        held.answer(loads(run, checkpoint_ns="sub:1"))
    for question in following(run):
        held.answer(question)
    assert held.answer(loads(run, checkpoint_ns="sub:1")) is None
    with pytest.raises(SessionsUnavailableError):
        held.answer(loads(run, checkpoint_ns="memory"))
    with pytest.raises(SessionsUnavailableError):
        held.answer(loads(run))
