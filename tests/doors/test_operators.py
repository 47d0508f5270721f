"""An operator's calls, which go by thread ids alone, touch what they name and open nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from langgraph_sessions import SessionNotFoundError
from tests.doors.conftest import Talks
from tests.doors.house import NOWHERE, House
from tests.doors.table import get_state
from tests.doors.visiting import ANOTHER, KINDS, NOBODY, OWNER, Talk, Visit, leaks, outcome

pytestmark = pytest.mark.server

Call = Callable[[Talk], Coroutine[Any, Any, Any]]

BESIDE_HERS: dict[str, Call] = {
    "delete_thread, another's": lambda talk: talk.call(talk.saver, "delete_thread", "his"),
    "delete_thread, nobody's": lambda talk: talk.call(talk.saver, "delete_thread", "nobodys"),
    "delete_thread, none": lambda talk: talk.call(talk.saver, "delete_thread", NOWHERE),
    "prune": lambda talk: talk.call(talk.saver, "prune", ["his", NOWHERE]),
    "prune, deleting": lambda talk: talk.call(talk.saver, "prune", ["his"], strategy="delete"),
    "copy_thread": lambda talk: talk.call(talk.saver, "copy_thread", "his", "his-copy"),
    "copy_thread, none": lambda talk: talk.call(talk.saver, "copy_thread", NOWHERE, "copy"),
    "delete_for_runs": lambda talk: talk.call(talk.saver, "delete_for_runs", ["no run", "%"]),
}


@pytest.fixture(autouse=True)
def _as_it_was(house: House) -> Iterator[None]:
    yield
    house.put_back()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", BESIDE_HERS.values(), ids=BESIDE_HERS)
def test_what_names_another_thread_leaves_hers(
    call: Call, kind: str, house: House, talks: Talks, runner: asyncio.Runner
) -> None:
    """Deleting, pruning and copying stop at the threads, and runs, that were named."""
    before = house.of_alice()
    runner.run(call(talks(kind, None)))
    assert house.of_alice() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["hers", "left"])
def test_a_copy_is_its_sources_owners(
    source: str, kind: str, house: House, talks: Talks, runner: asyncio.Runner
) -> None:
    """Who knows the copy's thread id has no more of it than of the source."""
    talk = talks(kind, None)
    runner.run(talk.call(talk.saver, "copy_thread", source, "copy"))
    for visitor in (ANOTHER, NOBODY):
        found = runner.run(outcome(Visit(talk, visitor, house, "copy"), get_state))
        assert isinstance(found.error, SessionNotFoundError)
        assert not leaks(visitor, found)
    assert runner.run(outcome(Visit(talk, OWNER, house, "copy"), get_state)).error is None


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_copied_over_hers(
    kind: str, house: House, talks: Talks, runner: asyncio.Runner
) -> None:
    """A thread that is there is no target, whoever copies what."""
    before, talk = house.of_alice(), talks(kind, None)
    for target in ("hers", "left"):
        with pytest.raises(ValueError, match="is in use"):
            runner.run(talk.call(talk.saver, "copy_thread", "his", target))
    assert house.of_alice() == before
