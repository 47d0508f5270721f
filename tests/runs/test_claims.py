"""Which runs of a session are refused, and which are not: what a run knows of its thread."""

from __future__ import annotations

from typing import Any

import pytest

from langgraph_sessions import ConcurrentRunError
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.claim import Claim
from langgraph_sessions.runs.request import Request
from langgraph_sessions.sql.saving import GuardThread, PutSession
from tests.plans import session
from tests.support import config


def started(
    at: str = "c2", *, addressed: bool = False, checked: bool = True, seen: str | None = None
) -> Claim:
    """Return the claim of a run that started from the checkpoint *at*."""
    claim = Claim("t", seen=seen)
    claim.start(at, addressed=addressed, checked=checked)
    return claim


# --- Before a save ----------------------------------------------------------------------------

# A save of a checkpoint c2, or of an older or newer one, by a run that started from c2.
TAKES = [
    pytest.param(started(), "c3", False, id="newer than what it started from"),
    pytest.param(started(), "c2", False, id="what it started from, as an update of it"),
    pytest.param(started(""), "c1", False, id="the first of a thread"),
    pytest.param(started(), "c1", True, id="older: another machine's clock is ahead"),
    pytest.param(started(addressed=True), "c1", True, id="older than one that was asked for"),
    pytest.param(started(checked=False), "c1", False, id="older, concurrent_runs='allow'"),
    pytest.param(Claim("t"), "c1", False, id="outside a run"),
]


@pytest.mark.parametrize(("claim", "checkpoint_id", "refused"), TAKES)
def test_a_checkpoint_that_nobody_would_see_is_refused(
    claim: Claim, checkpoint_id: str, refused: bool
) -> None:
    """Only what is older than the run's start is refused, where runs notice each other at all."""
    if refused:
        with pytest.raises(ConcurrentRunError, match="'t'"):
            claim.take(checkpoint_id)
    else:
        claim.take(checkpoint_id)
    assert claim.advanced is not refused


def test_a_run_that_was_overtaken_is_over() -> None:
    """Once refused, whatever the run saves later is refused before anything is asked."""
    claim = started()
    claim.refuse_if_overtaken()
    claim.overtaken = True
    with pytest.raises(ConcurrentRunError):
        claim.refuse_if_overtaken()
    with pytest.raises(ConcurrentRunError):
        claim.take("c3")
    assert not claim.advanced


# --- The names of saves -------------------------------------------------------------------------


def test_a_runs_saves_are_named_one_after_another() -> None:
    """Names are `<run>.<number>`: those of one run begin alike, those of two do not."""
    first, second = started(), started()
    names = [first.next_name(), first.next_name()]
    assert names == [f"{first.token}.0", f"{first.token}.1"]
    assert first.token != second.token


def test_what_is_saved_outside_a_run_has_no_name() -> None:
    """An update of the state is noticed by nobody, and notices nobody."""
    claim = Claim("t")
    assert [claim.next_name(), claim.next_name()] == [None, None]
    assert (claim.checked, claim.base) == (False, None)


def test_a_saved_checkpoint_is_what_the_run_goes_on_from() -> None:
    """It is the newest from then on, whatever had been asked for; writes change only the name."""
    claim = started(addressed=True, seen="other.5")
    claim.saved("mine.0", None)
    assert (claim.seen, claim.base, claim.addressed) == ("mine.0", "c2", True)
    claim.saved("mine.1", "c3")
    assert (claim.seen, claim.base, claim.addressed) == ("mine.1", "c3", False)


# --- What the database is told ------------------------------------------------------------------


def claiming(claim: Claim) -> ActiveRun:
    """Return a run of alice's that has this claim."""
    run = ActiveRun.start(Request.of(config(user_id="alice")), session(), known=True)
    run.claim = claim
    return run


TOLD = [
    pytest.param(
        started(seen="a.1"), {"checked": True, "seen": "a.1", "base": "c2"}, id="the newest"
    ),
    pytest.param(started(""), {"checked": True, "base": ""}, id="a new thread"),
    pytest.param(
        started(addressed=True, seen="a.1"),
        {"checked": True, "seen": "a.1", "base": None},
        id="one that was asked for",
    ),
    pytest.param(
        started(checked=False, seen="a.1"),
        {"checked": False, "seen": "a.1", "base": "c2"},
        id="concurrent_runs='allow'",
    ),
    pytest.param(Claim("t", seen="a.1"), {"checked": False, "seen": "a.1"}, id="outside a run"),
]


@pytest.mark.parametrize(("claim", "told"), TOLD)
def test_what_puts_the_session_says_what_the_run_started_from(
    claim: Claim, told: dict[str, Any]
) -> None:
    """The last save that the run knows of, and its checkpoint, if that was the newest."""
    expected = {"user_id": "alice", "thread_id": "t", "known": True, "save": "mine.0", **told}
    assert claiming(claim).put("mine.0", first=False) == PutSession(**expected)


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_a_guard_says_whether_it_notices_others_and_they_it(checked: bool, named: bool) -> None:
    """What the run started from was checked before, by what made other runs notice it."""
    guard = claiming(started(checked=checked, seen="a.1")).guard("mine.1", named=named)
    where = {"user_id": "alice", "thread_id": "t"}
    assert guard == GuardThread(**where, checked=checked, save="mine.1", named=named)


def test_a_save_without_a_name_notices_nobody() -> None:
    """Such as that of a stop: who has gone on meanwhile is not its business."""
    assert not claiming(started(seen="a.1")).put(None, first=False).checked


def test_a_run_is_made_once_something_of_it_was_saved() -> None:
    """From then on other runs notice it; what is saved outside a run is noticed by nobody."""
    claim = started(seen="a.1")
    assert not claim.is_made
    claim.saved(claim.next_name(), None)
    assert claim.is_made
    claim.saved("another.0", None)
    assert not claim.is_made
    assert Claim("t").is_made
