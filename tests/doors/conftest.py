"""A house for a module's tests, and its savers in the event loop that the module has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.conftest import _database
from tests.doors.house import House, furnish
from tests.doors.visiting import Talk
from tests.support import psycopg_pool_options

Talks = Callable[[str, str | None], Talk]


@pytest.fixture(scope="module")
def house(server: str, template: str, through: Callable[[str], str]) -> Iterator[House]:
    """Alice's and bob's things, in a database of the module's."""
    for direct in _database(server, template):
        with psycopg.connect(direct, **psycopg_pool_options()) as db:
            yield furnish(through(direct), db)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of all the module's visits."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def talks(house: House, runner: asyncio.Runner) -> Iterator[Talks]:
    """Return a saver used in one of the ways, of an agent or none: made once."""
    savers: dict[Any, Any] = {}
    with ExitStack() as stack:

        async def make(is_async: bool, agent: str | None) -> SessionSaver | AsyncSessionSaver:
            options: dict[str, Any] = {"agent": agent, "pool_size": 3}
            return (AsyncSessionSaver if is_async else SessionSaver)(house.url, **options)

        def talk(kind: str, agent: str | None) -> Talk:
            is_async = kind in ("async", "from threads")
            if (is_async, agent) not in savers:
                saver = runner.run(make(is_async, agent))
                savers[is_async, agent] = saver
                stack.callback(lambda: runner.run(saver.close()) if is_async else saver.close())
            return Talk(savers[is_async, agent], kind)

        yield talk
