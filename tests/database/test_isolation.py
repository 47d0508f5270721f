"""Databases whose default is a stricter isolation level."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.graph import START, StateGraph

from langgraph_sessions import AsyncSessionSaver, ConcurrentRunError, SessionSaver
from langgraph_sessions.plans import Fetch, Plan
from tests.answering import answering
from tests.isolation import LEVELS, demand
from tests.support import Chat, config, in_one_moment, psycopg_pool_options, texts

pytestmark = pytest.mark.direct("a pooler lends connections that were made before")


@pytest.fixture(params=LEVELS)
def strict(request: pytest.FixtureRequest, url: str) -> str:
    """A database with that default."""
    with psycopg.connect(url, **psycopg_pool_options()) as db:
        demand(db, db.info.dbname, request.param)
    return url


@pytest.fixture(params=["sync", "async"])
async def chat(request: pytest.FixtureRequest, strict: str) -> AsyncIterator[Chat]:
    """A conversation on such a database."""
    if request.param == "async":
        async with AsyncSessionSaver(strict) as saver:
            yield Chat(saver)
    else:
        with SessionSaver(strict) as sync_saver:
            yield Chat(sync_saver)


class State(TypedDict):
    said: Annotated[list[int], operator.add]


def wide() -> Any:
    """Return a graph of eight nodes side by side, whose writes are saved beside each other."""
    builder = StateGraph(State)
    for number in range(8):
        builder.add_node(str(number), lambda state, number=number: {"said": [number]})
        builder.add_edge(START, str(number))
    return builder


async def test_a_users_turns_succeed(chat: Chat) -> None:
    """Saves of one run that meet each other are tried again by the saver, not by its caller."""
    graph, alice = chat.compile(wide()), config(user_id="alice")
    for turn in range(1, 6):
        state = await chat.call(graph, "invoke", {"said": []}, alice)
        assert state["said"] == [*range(8)] * turn


async def test_first_runs_at_once_make_one_session(chat: Chat) -> None:
    """So are the first runs of several users."""
    graph = chat.compile(wide())
    runs = [
        chat.call(graph, "invoke", {"said": []}, config(user_id=f"user-{number}"))
        for number in range(6)
    ]
    assert [state["said"] for state in await asyncio.gather(*runs)] == [[*range(8)]] * 6


async def test_the_savers_transactions_are_read_committed(chat: Chat) -> None:
    """Whatever the database's default, and so nothing that is right is rolled back."""
    database: Any = chat.saver._database
    answer = database.run(asked_level())
    assert (await answer if chat.is_async else answer) == "read committed"


def asked_level() -> Plan[str]:
    (row,) = yield Fetch("SELECT current_setting('transaction_isolation') AS level")
    return str(row["level"])


async def test_of_runs_at_once_each_succeeds_or_is_refused(chat: Chat) -> None:
    """Runs that meet are told so by name, not by an error of the database's; one succeeds."""
    graph, alice = chat.compile(answering()), config(user_id="alice")
    await chat.call(graph, "invoke", {"messages": ["first"]}, alice)
    given = [{"messages": [str(number)]} for number in range(6)]
    ended = await in_one_moment(chat, graph, given, "sync")
    errors = [each for each in ended if isinstance(each, Exception)]
    assert {type(error) for error in errors} <= {ConcurrentRunError}
    assert len(errors) < len(given)
    state = await chat.call(graph, "get_state", (await chat.current()).config)
    for ended_well in (each for each in ended if not isinstance(each, Exception)):
        assert set(texts(ended_well)) <= set(texts(state))
