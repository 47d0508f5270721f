"""Every method of the session managers, and everybody who calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doors.conftest import Talks
from tests.doors.house import NOWHERE, SECRET, House, words
from tests.doors.managers import MANAGERS
from tests.doors.table import Door
from tests.doors.visiting import AGENT, CALLERS, NATIVE, NOBODY, OWNER, Visit, leaks, outcome
from tests.doors.visiting import Visitor as Caller

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def _as_it_was(house: House) -> Iterator[None]:
    yield
    house.put_back()


def cases(*callers: Caller) -> list[Any]:
    """Return every method's door, with who comes to it, and of which manager it is."""
    return [
        pytest.param(door, door.threads[0], caller, kind, id=f"{door.name}-{caller.name}-{kind}")
        for door in MANAGERS
        for caller in callers
        if caller.name not in door.open_to
        if (door.threads[0], caller) != ("left", AGENT)
        for kind in NATIVE
    ]


@pytest.mark.parametrize(("door", "thread", "caller", "kind"), cases(OWNER))
def test_a_method_serves_its_owner(
    door: Door,
    thread: str,
    caller: Caller,
    kind: str,
    house: House,
    talks: Talks,
    runner: asyncio.Runner,
) -> None:
    """She reads what is hers, or changes it; only the thread id of a new session is in use."""
    before = house.of_alice()
    found = runner.run(outcome(Visit(talks(kind, None), caller, house, thread), door.use))
    if door.tells is ValueError:
        assert "is in use" in str(found.error)
        return
    assert found.error is None
    told = "".join(words(found.found))
    assert SECRET in told or found.found or house.of_alice() != before


@pytest.mark.parametrize(("door", "thread", "caller", "kind"), cases(*CALLERS))
def test_a_method_serves_no_stranger(
    door: Door,
    thread: str,
    caller: Caller,
    kind: str,
    house: House,
    talks: Talks,
    runner: asyncio.Runner,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing of hers is read, said or changed, and they are told what they are of no thread."""
    before = house.of_alice(known=caller is AGENT)
    talk = talks(kind, caller.agent)
    found = runner.run(outcome(Visit(talk, caller, house, thread), door.use))
    assert house.of_alice(known=caller is AGENT) == before
    assert not leaks(caller, found, caplog)
    if caller is NOBODY:
        assert type(found.error) is TypeError
        assert "user" in str(found.error)
    house.put_back()
    absent = runner.run(outcome(Visit(talk, caller, house, NOWHERE, like=thread), door.use))
    if door.tells and caller is not NOBODY:  # The thread would be a new session's.
        assert type(found.error) is door.tells
        assert absent.error is None
    else:
        assert found.shown(thread) == absent.shown(NOWHERE)
