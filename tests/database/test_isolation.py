"""Databases whose default is a stricter isolation level."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.graph import START, StateGraph
from psycopg import sql

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.support import Chat, config, psycopg_pool_options

pytestmark = pytest.mark.direct("a pooler lends connections that were made before")


@pytest.fixture(params=["repeatable read", "serializable"])
def strict(request: pytest.FixtureRequest, url: str) -> str:
    """A database with that default."""
    with psycopg.connect(url, **psycopg_pool_options()) as db:
        name, level = sql.Identifier(db.info.dbname), sql.Literal(request.param)
        statement = "ALTER DATABASE {} SET default_transaction_isolation = {}"
        db.execute(sql.SQL(statement).format(name, level))
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
