"""A run that begins while something is being saved to its thread loads that, too."""

from __future__ import annotations

from typing import Any

import pytest

from langgraph_sessions.plans import Call, Done, proceed
from langgraph_sessions.runs.underway import TRIES
from tests.plans import opened, play, session_row
from tests.runs.saves import save_in
from tests.savers.planned import HERE, Saver, runs, stored
from tests.support import config


def test_a_run_waits_for_saves_under_way_and_loads_again() -> None:
    """What a stopped run was still saving is what the next one goes on from."""
    saver = Saver()
    before, after = opened(session_row(), **stored()), opened(session_row(), **stored("c2"))
    under_way = saver._under_way
    save = under_way._enter("t")
    plan = saver._get_tuple(runs(user_id="alice"))
    opens = proceed(plan)
    waits = proceed(plan, [before])
    assert waits == Call(saver._await_saves, ([save.end],))
    under_way._leave("t", save)
    assert proceed(plan, None) == opens
    done = proceed(plan, [after])
    assert isinstance(done, Done)
    assert done.value.checkpoint["id"] == "c2"


def test_a_run_that_loaded_while_a_save_ended_loads_again() -> None:
    """It may have read what was there before."""
    saver = Saver()
    plan = saver._get_tuple(runs(user_id="alice"))
    opens = proceed(plan)
    save_in(saver._under_way, config(thread_id="t"), lambda: None)
    assert proceed(plan, [HERE]) == Call(saver._await_saves, ([],))
    assert proceed(plan, None) == opens
    assert isinstance(proceed(plan, [HERE]), Done)


def test_a_run_that_has_not_ended_is_given_time_for_its_next_save() -> None:
    """It may have been stopped between two; when it has ended, nobody waits for it."""
    saver = Saver()
    first, second = runs(user_id="alice"), runs(user_id="alice")
    play(saver._get_tuple(first), [HERE])
    plan = saver._get_tuple(second)
    opens = proceed(plan)
    assert proceed(plan, [HERE]) == Call(saver._await_saves, ([],))
    save_in(saver._under_way, first, lambda: None)
    assert proceed(plan, None) == opens
    assert isinstance(proceed(plan, [HERE]), Done)
    first.clear()
    second.clear()
    plan = saver._get_tuple(runs(user_id="alice"))
    proceed(plan)
    assert isinstance(proceed(plan, [HERE]), Done)


def test_saves_to_other_threads_are_not_waited_for() -> None:
    """Of the user's other sessions, and of other users'."""
    saver = Saver()
    saver._under_way._enter("u")
    plan = saver._get_tuple(runs(user_id="alice"))
    proceed(plan)
    save_in(saver._under_way, config(thread_id="v"), lambda: None)
    assert isinstance(proceed(plan, [HERE]), Done)


NOBODYS = opened(asked_thread_id="t", **stored())


@pytest.mark.parametrize("given", [config(user_id="alice"), runs(thread_id="t")])
def test_who_only_reads_waits_for_nobody(given: Any) -> None:
    """Nor does a run without a user, of which nobody is refused."""
    saver = Saver()
    saver._under_way._enter("t")
    play(saver._get_tuple(given), [HERE if "user_id" in given["configurable"] else NOBODYS])


def test_a_run_does_not_wait_for_ever() -> None:
    """While another run of the thread saves and saves, it begins in the end, and is told then."""
    saver = Saver()
    plan = saver._get_tuple(runs(user_id="alice"))
    proceed(plan)
    for number in range(TRIES):
        save = saver._under_way._enter("t")
        assert proceed(plan, [HERE]) == Call(saver._await_saves, ([save.end],))
        saver._under_way._leave("t", save)
        step = proceed(plan, None)
        assert isinstance(step, Done) is (number == TRIES - 1)


def test_a_save_that_does_not_end_while_it_is_waited_for_is_not_waited_for_again() -> None:
    """It may need the very thread that waits: the run begins with what is there."""
    saver = Saver()
    saver._under_way._enter("t")
    played = play(saver._get_tuple(runs(user_id="alice")), [HERE], None)
    assert played.result is not None
