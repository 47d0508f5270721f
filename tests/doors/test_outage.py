"""The same doors while the database is away: what memory holds is its own user's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from langgraph_sessions import (
    AsyncSessionSaver,
    SessionNotFoundError,
    SessionSaver,
    SessionsUnavailableError,
)
from tests.doors.house import SECRET
from tests.doors.managers import MANAGERS
from tests.doors.table import DOORS, Door
from tests.doors.visiting import (
    ANOTHER,
    FORGER,
    NATIVE,
    NOBODY,
    SIGNED_IN,
    Talk,
    Visit,
    Visitor,
    leaks,
    outcome,
)
from tests.support import config, texts

pytestmark = pytest.mark.server

HELD = "held-5"
MADE_UP = "1f000000-0000-6000-8000-000000000000"
REFUSED = (SessionNotFoundError, SessionsUnavailableError, ValueError)


class NoHouse:
    """What doors ask of a house, where there is no database."""

    checkpoints = dict.fromkeys([HELD, "hers"], [MADE_UP] * 3)
    below = "node:1"


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of all the module's visits."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def talk(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Iterator[Talk]:
    """A saver whose database was never there, and in whose memory alice has talked."""
    options: dict[str, Any] = {"retry_for": 0, "thread_id_factory": lambda it: f"held-{len(it)}"}

    async def begin() -> Talk:
        kind = AsyncSessionSaver if request.param == "async" else SessionSaver
        talk = Talk(kind("host=/nonexistent user=nobody", **options), request.param)
        await talk.say(f"one {SECRET}", user_id="alice", title=f"Title {SECRET}")
        return talk

    talk = runner.run(begin())
    yield talk
    closing = talk.saver.close()
    if closing is not None:
        runner.run(closing)


async def of_alice(talk: Talk) -> Any:
    """Return what she has in memory."""
    hers = config(user_id="alice", thread_id=HELD)
    history = await talk.call(talk.graph, "get_state_history", hers)
    session = await talk.session("get_current_user_session", "alice")
    assert texts(history[0])[0] == f"one {SECRET}"
    return [state.config["configurable"]["checkpoint_id"] for state in history], dict(session)


def cases() -> list[Any]:
    """Return every door, with who comes to it and how; to a manager comes who is named."""
    return [
        pytest.param(kind, door, visitor, id=f"{door.name}-{visitor.name}-{kind}")
        for kind in NATIVE
        for door in (*DOORS, *MANAGERS)
        if kind in door.kinds
        for visitor in (ANOTHER, NOBODY, *((SIGNED_IN, FORGER) if door in DOORS else ()))
    ]


@pytest.mark.parametrize(("talk", "door", "visitor"), cases(), indirect=["talk"])
def test_memory_is_shut_to_strangers(
    talk: Talk, door: Door, visitor: Visitor, runner: asyncio.Runner
) -> None:
    """Nothing that she said in the outage is read or changed by another, whatever they name."""
    before = runner.run(of_alice(talk))
    visit = Visit(talk, visitor, NoHouse(), HELD)  # type: ignore[arg-type]
    found = runner.run(outcome(visit, door.use))
    assert runner.run(of_alice(talk)) == before
    assert not leaks(visitor, found)
    if door in DOORS:  # Without a user, memory has no part in it.
        allowed = (psycopg.OperationalError,) if visitor.user_id is None else ()
        assert isinstance(found.error, (*REFUSED, *allowed))
