"""Every door to a thread, and everybody who comes to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from langgraph_sessions import SessionError, SessionNotFoundError
from tests.doors.conftest import Talks
from tests.doors.house import NOWHERE, SECRET, House, words
from tests.doors.table import DOORS, Door
from tests.doors.visiting import (
    AGENT,
    ANOTHER,
    NATIVE,
    OWNER,
    STRANGERS,
    Visit,
    Visitor,
    leaks,
    outcome,
    ways,
)

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def _as_it_was(house: House) -> Iterator[None]:
    yield
    house.put_back()


def cases(*visitors: Visitor) -> list[Any]:
    """Return every door on every thread, with who comes to it and how."""
    return [
        pytest.param(door, thread, visitor, kind, id=f"{door.name}-{thread}-{visitor.name}-{kind}")
        for door in DOORS
        for thread in door.threads
        for visitor in visitors
        if (thread, visitor) != ("left", AGENT)  # It has no agent yet: it is the user's.
        for kind in ways(visitor, door.kinds)
    ]


@pytest.mark.parametrize(("door", "thread", "visitor", "kind"), cases(OWNER))
def test_a_door_leads_its_owner_in(
    door: Door,
    thread: str,
    visitor: Visitor,
    kind: str,
    house: House,
    talks: Talks,
    runner: asyncio.Runner,
) -> None:
    """She reads her words, or changes what is hers: the door leads somewhere."""
    before = house.of_alice()
    visit = Visit(talks(kind, visitor.agent), visitor, house, thread)
    found = runner.run(outcome(visit, door.use))
    assert found.error is None
    assert SECRET in "".join(words(found.found)) or house.of_alice() != before


@pytest.mark.parametrize(("door", "thread", "visitor", "kind"), cases(*STRANGERS))
def test_a_door_is_shut_to_strangers(
    door: Door,
    thread: str,
    visitor: Visitor,
    kind: str,
    house: House,
    talks: Talks,
    runner: asyncio.Runner,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing of hers is read, said or changed, and they are told what they are of no thread."""
    before = house.of_alice(known=visitor is AGENT)
    talk = talks(kind, visitor.agent)
    found = runner.run(outcome(Visit(talk, visitor, house, thread), door.use))
    assert house.of_alice(known=visitor is AGENT) == before
    assert not leaks(visitor, found, caplog)
    absent = runner.run(outcome(Visit(talk, visitor, house, NOWHERE, like=thread), door.use))
    if isinstance(absent.error, SessionError | ValueError):
        assert found.shown(thread) == absent.shown(NOWHERE)
    else:  # There, it would be a new session's, or a thread of nobody's.
        assert type(found.error) is SessionNotFoundError
        assert (found.error.user_id, found.error.thread_id) == (visitor.asks_as, thread)


@pytest.mark.parametrize("kind", NATIVE)
@pytest.mark.parametrize(
    "door",
    [door for door in DOORS if "_checkpoint" in door.name or "nothing" in door.name],
    ids=lambda door: door.name,
)
def test_a_checkpoint_of_hers_is_none_on_a_strangers_thread(
    door: Door, kind: str, house: House, talks: Talks, runner: asyncio.Runner
) -> None:
    """Who learnt the id of a checkpoint has of it what they have of one that they made up."""
    before, talk = house.of_alice(), talks(kind, None)
    theirs, made_up = house.checkpoints["hers"][-1], "1f000000-0000-6000-8000-000000000000"
    found = runner.run(outcome(Visit(talk, ANOTHER, house, "his", theirs), door.use))
    assert house.of_alice() == before
    assert not leaks(ANOTHER, found)
    house.put_back()
    absent = runner.run(outcome(Visit(talk, ANOTHER, house, "his", made_up), door.use))
    assert type(found.error) is type(absent.error)
    assert str(found.error).replace(theirs, made_up) == str(absent.error)
