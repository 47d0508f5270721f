"""A titler that fails is tried again with the next turn, three times at most for a session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage

from tests.graphs import DURABILITIES, chain, says
from tests.servers import until
from tests.support import Chat, config
from tests.titles.titlers import Titler, title

Connection = psycopg.Connection[Any]
Open = Callable[..., Any]

ALICE = config(user_id="alice")
TRIES = "SELECT max(titler_tries) AS tries, bool_or(titler_called IS NOT NULL) AS at_work"
FAILURE = ZeroDivisionError("no")


def tries(db: Connection) -> int:
    """Return how often a titler was called for alice's session; -1 while one is at work."""
    (row,) = db.execute(f"{TRIES} FROM user_sessions".encode()).fetchall()
    return -1 if row["at_work"] else int(row["tries"])


async def turn(chat: Chat, db: Connection, count: int, **durability: Any) -> None:
    """Take a turn, and wait until titlers were called so often for the session."""
    await chat.call(chat.graph, "invoke", {"messages": ["one"]}, ALICE, **durability)
    await until(lambda: tries(db) == count)


@pytest.mark.parametrize("wrong", [FAILURE, None, 5, "", " \n", "<think>Hm"], ids=repr)
async def test_a_titler_that_fails_is_tried_three_times(
    open_chat: Open, db: Connection, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No run fails for it, each failure is logged, and an answer without a title is one."""
    model = Titler(wrong)
    with caplog.at_level(logging.WARNING, "langgraph_sessions"):
        async with open_chat(model) as chat:
            for count in (1, 2, 3, 3, 3):
                await turn(chat, db, count)
    assert (title(db), len(model.asked)) == (("one", "message"), 3)
    logged = [record for record in caplog.records if record.name == "langgraph_sessions"]
    assert len(logged) == 3
    assert all(record.levelno == logging.WARNING for record in logged)


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_what_failed_once_titles_the_next_turn(
    open_chat: Open, db: Connection, durability: str
) -> None:
    """And is asked no more."""
    model = Titler(FAILURE)
    async with open_chat(model) as chat:
        await turn(chat, db, 1, durability=durability)
        model.title = "By the model"
        for _ in range(2):
            await turn(chat, db, 2, durability=durability)
    assert (title(db), len(model.asked)) == (("By the model", "model"), 2)


async def test_it_is_tried_once_in_a_turn(open_chat: Open, db: Connection) -> None:
    """Also where it has failed before the turn is over."""
    model = Titler(FAILURE)

    async def awaits(state: Any) -> dict[str, Any]:
        await until(lambda: tries(db) == 1)
        return {"messages": [AIMessage("two")]}

    def waits(state: Any) -> dict[str, Any]:
        return asyncio.run(awaits(state))

    async with open_chat(model) as chat:
        wait = awaits if chat.is_async else waits
        graph = chat.compile(chain(first=says("one"), wait=wait, last=says("three")))
        given = {"messages": ["Plan a trip"]}
        await chat.call(graph, "invoke", given, ALICE, durability="sync")
    assert (tries(db), len(model.asked)) == (1, 1)


async def test_tries_are_counted_over_restarts(open_chat: Open, db: Connection) -> None:
    """Each turn is another process's, as it were."""
    models = [Titler(FAILURE) for _ in range(5)]
    for model, count in zip(models, (1, 2, 3, 3, 3), strict=True):
        async with open_chat(model) as chat:
            await turn(chat, db, count)
    assert [len(model.asked) for model in models] == [1, 1, 1, 0, 0]


async def test_a_titler_whose_process_died_is_tried_again_in_time(
    open_chat: Open, db: Connection
) -> None:
    """It may be at work yet; of one of which nothing was heard for minutes, nothing will be."""
    async with open_chat(None) as chat:
        await chat.say("one", user_id="alice")
    db.execute("UPDATE user_sessions SET titler_tries = 1, titler_called = now()")
    model = Titler()
    async with open_chat(model) as chat:
        await chat.say("two", user_id="alice")
    assert (title(db), model.asked) == (("one", "message"), [])
    db.execute("UPDATE user_sessions SET titler_called = now() - interval '6 minutes'")
    async with open_chat(model) as chat:
        await chat.say("three", user_id="alice")
    assert (title(db), tries(db)) == (("By the model", "model"), 2)


# --- Forks --------------------------------------------------------------------------------------


async def copied(chat: Chat, how: str) -> str:
    """Fork, or copy, alice's session; return the thread of what was made."""
    source = (await chat.current()).thread_id
    if how == "fork_session":
        return str((await chat.session(how, "alice", source)).thread_id)
    await chat.call(chat.saver, "copy_thread", source, "copy")
    return "copy"


@pytest.mark.parametrize("how", ["fork_session", "copy_thread"])
@pytest.mark.parametrize("source", ["model", "user"])
async def test_a_fork_of_a_titled_session_keeps_its_title(
    open_chat: Open, db: Connection, how: str, source: str
) -> None:
    """What somebody or a model gave: neither a message nor a model replaces it there."""
    model, second = Titler(), Titler("Another")
    async with open_chat(model) as chat:
        await chat.say("one", user_id="alice")
        await model.is_asked()
    async with open_chat(second) as chat:
        if source == "user":
            await chat.session("update_session", "alice", {"title": "Mine"})
        thread_id = await copied(chat, how)
        for text in ("two", "three"):
            await chat.say(text, user_id="alice", thread_id=thread_id)
    rows = db.execute("SELECT DISTINCT title, title_source FROM user_sessions").fetchall()
    kept = "By the model" if source == "model" else "Mine"
    assert rows == [{"title": kept, "title_source": source}]
    assert second.asked == []


@pytest.mark.parametrize("how", ["fork_session", "copy_thread"])
async def test_a_fork_goes_on_with_its_tries(open_chat: Open, db: Connection, how: str) -> None:
    """A titler that is at work titles the source; the copy has what is left of the tries."""
    model = Titler(FAILURE)
    async with open_chat(model) as chat:
        await turn(chat, db, 1)
        await turn(chat, db, 2)
        db.execute("UPDATE user_sessions SET titler_called = now()")
        where = {"thread_id": await copied(chat, how)}
        db.execute("UPDATE user_sessions SET titler_called = NULL")
        for _ in range(3):
            await chat.say("three", user_id="alice", **where)
            await until(lambda: tries(db) == 3)
    assert len(model.asked) == 3
    rows = db.execute("SELECT titler_tries FROM user_sessions ORDER BY id").fetchall()
    assert [row["titler_tries"] for row in rows] == [2, 3]
