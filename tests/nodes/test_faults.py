"""Nodes are killed under turns, and start again."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import psycopg
import pytest

from langgraph_sessions import (
    AsyncSessionSaver,
    ConcurrentRunError,
    SessionError,
    SessionSaver,
    SessionsUnavailableError,
)
from tests import citus
from tests.nodes.cluster import down, halves, loose, may_stop, node_of, nodes, port_of
from tests.nodes.talking import USERS, Talk
from tests.servers import until
from tests.support import Chat, asking

pytestmark = may_stop


@pytest.fixture(params=["sync", "async"])
async def chat(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Chat]:
    """A conversation that does not wait long for who is away."""
    async with AsyncExitStack() as stack:
        if request.param == "sync":
            yield Chat(stack.enter_context(SessionSaver(url, retry_for=0.5)))
        else:
            yield Chat(await stack.enter_async_context(AsyncSessionSaver(url, retry_for=0.5)))


async def test_with_a_worker_killed_the_users_of_others_go_on_and_its_own_are_told(
    chat: Chat, direct_url: str
) -> None:
    """No error for who lives elsewhere; for the rest one, till it is back; nothing is lost."""
    with psycopg.connect(direct_url, autocommit=True) as conn:
        async with Talk(chat) as talk:
            victim = node_of(conn, "user_sessions", USERS[0])
            threads = conn.execute("SELECT user_id, thread_id FROM user_sessions").fetchall()
            hit = {user for user, id in threads if port_of(conn, "checkpoints", id) == victim.port}
            hit |= {user for user in USERS if port_of(conn, "user_sessions", user) == victim.port}
            others = sorted(set(USERS) - hit)
            with down(victim):
                await talk.some_errors_of(sorted(hit))
                await talk.some_turns_of(others)
                assert chat.saver.durable
            await talk.some_turns_of(USERS)
        for user in USERS:
            assert {type(each) for each in talk.errors[user]} <= {SessionsUnavailableError}
            assert all(isinstance(each.__cause__, psycopg.Error) for each in talk.errors[user])
        assert [user for user in others if talk.errors[user]] == []
        assert await talk.lost() == []
        assert halves(conn) == loose(conn) == []


async def test_with_the_coordinator_killed_memory_goes_on_and_is_written(
    chat: Chat, server: str
) -> None:
    """It is an outage as of one PostgreSQL: nobody is told, and nothing is lost."""
    async with Talk(chat) as talk:
        with down(nodes(server)[0]):
            await until(lambda: not chat.saver.durable)
            await talk.some_turns_of(USERS[:2])
        await until(lambda: chat.saver.durable)
        await talk.some_turns_of(USERS)
    assert await talk.lost() == []


async def test_a_session_is_exclusive_although_its_worker_is_killed(
    chat: Chat, direct_url: str
) -> None:
    """Who holds it goes on holding it."""
    session = await chat.session("create_user_session", "alice")
    with (
        SessionSaver(direct_url) as other,
        other.sessions.exclusive("alice"),
        psycopg.connect(direct_url, autocommit=True) as conn,
    ):
        with down(node_of(conn, "session_threads", session.thread_id)):
            pass
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(_enter, direct_url)


def _enter(url: str) -> None:
    with SessionSaver(url) as saver, saver.sessions.exclusive("alice", timeout=1):
        pass


ROUNDS = pytest.mark.parametrize(
    "rounds", [4, pytest.param(30, marks=pytest.mark.long)], ids=["short", "long"]
)


@ROUNDS
async def test_workers_killed_at_any_moment_leave_both_halves_or_neither(
    chat: Chat, server: str, direct_url: str, rounds: int
) -> None:
    """Of first saves, titles, questions, deletions, transfers and erasures."""
    workers, moments = nodes(server)[1:], random.Random(rounds)
    over = False

    async def meddle(number: int) -> None:
        chosen = random.Random(number)
        for turn in itertools.count():
            for act in [_first, *chosen.choices(ACTS, k=3)]:
                with suppress(SessionError, psycopg.Error):
                    await act(chat, f"user-{number}-{turn}")
                if over:
                    return

    tasks = [asyncio.create_task(meddle(number)) for number in range(6)]
    for number in range(rounds):
        await asyncio.sleep(moments.random())
        with down(workers[number % len(workers)]):
            await asyncio.sleep(moments.random() / 4)
    over = True
    await asyncio.gather(*tasks)
    with citus.everywhere(direct_url) as connections:
        for each in connections:
            each.execute("SELECT recover_prepared_transactions()")
        assert halves(connections[0]) == loose(connections[0]) == []


async def _first(chat: Chat, user: str) -> None:
    await chat.say("one", user_id=user)


async def _titled(chat: Chat, user: str) -> None:
    await chat.say("two", user_id=user, title="Title")


async def _asks(chat: Chat, user: str) -> None:
    await chat.say("?", chat.compile(asking()), user_id=user, new_session=True)


async def _overlapping(chat: Chat, user: str) -> None:
    runs = [chat.say(str(number), user_id=user) for number in range(3)]
    for outcome in await asyncio.gather(*runs, return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, ConcurrentRunError):
            raise outcome


async def _deletes(chat: Chat, user: str) -> None:
    for session in await chat.sessions(user):
        await chat.session("delete_session", user, session.thread_id)


def _calls(method: str, *args: Any) -> Callable[[Chat, str], Any]:
    return lambda chat, user: chat.session(method, user, *args)


ACTS = [
    *(_titled, _asks, _overlapping, _deletes),
    _calls("create_user_session"),
    _calls("update_session", {"title": "Other"}),
    _calls("transfer_sessions", "somebody"),
    _calls("delete_user"),
]
