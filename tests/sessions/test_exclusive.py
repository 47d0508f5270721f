"""`exclusive`: runs that wait for each other, and when they are let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import wait
from typing import Any

import pytest

from langgraph_sessions import Session, SessionNotFoundError
from tests.answering import apart
from tests.sessions.at_a_time import Connection, connections, held, holder, in_line, waiting
from tests.support import PATIENCE, Chat, config, until


@pytest.mark.parametrize("known", [False, True], ids=["new session", "known session"])
def test_a_holder_killed_frees_the_session(url: str, db: Connection, known: bool) -> None:
    """When the process that has a session is killed with -9, one that waits gets it."""
    if known:
        apart(url, "Hello")
    with holder(url) as (first, told), holder(url) as (second, told_too):
        ready = wait([told, told_too], PATIENCE)
        until(lambda: waiting(db) == 1)
        one, mine, other = (first, told, told_too) if told in ready else (second, told_too, told)
        thread_id = held(mine)
        one.kill()
        assert held(other) == thread_id


@asynccontextmanager
async def exclusive(chat: Chat, *args: Any, **kwargs: Any) -> AsyncIterator[Session]:
    """Have a session to oneself, by either manager."""
    block: Any = chat.saver.sessions.exclusive(*args, **kwargs)
    if chat.is_async:
        async with block as session:
            yield session
    else:
        session = await asyncio.to_thread(block.__enter__)
        try:
            yield session
        finally:
            await asyncio.to_thread(block.__exit__, None, None, None)


async def test_a_wait_that_takes_too_long_ends(chat: Chat, db: Connection) -> None:
    """Who gives a timeout gets `TimeoutError`, and the session once it is free."""
    async with exclusive(chat, "alice") as session:
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match=session.thread_id):
                async with exclusive(chat, "alice", timeout=timeout):
                    raise AssertionError
    async with exclusive(chat, "alice", timeout=0) as again:
        assert again.thread_id == session.thread_id
    until(lambda: connections(db) == 0)


async def test_another_users_session_cannot_be_had(chat: Chat) -> None:
    """Another user's thread looks like none, and is not waited for."""
    await chat.say(user_id="bob", thread_id="bobs")
    async with exclusive(chat, "bob"):
        with pytest.raises(SessionNotFoundError):
            async with exclusive(chat, "alice", "bobs"):
                raise AssertionError


async def test_a_thread_that_nothing_has_can_be_had(chat: Chat) -> None:
    """A session is the holder's before it is made, and made by the run in the block."""
    async with exclusive(chat, "alice", "new") as session:
        assert session.config == config(user_id="alice", thread_id="new")
        with pytest.raises(TimeoutError):
            async with exclusive(chat, "alice", "new", timeout=0):
                raise AssertionError
        assert await chat.sessions() == []
        await chat.call(chat.graph, "invoke", {"messages": ["Hello"]}, session.config)
    assert [session.thread_id for session in await chat.sessions()] == ["new"]


async def test_sessions_do_not_wait_for_each_other(chat: Chat) -> None:
    """Another session of the user, and another user's, can be had meanwhile."""
    async with (
        exclusive(chat, "alice", "one"),
        exclusive(chat, "alice", "two", timeout=0),
        exclusive(chat, "bob", "three", timeout=0),
    ):
        pass


async def test_who_waits_gets_what_is_current_then(chat: Chat) -> None:
    """When another session became current during the wait for it, that is the one to be had."""
    await chat.say(user_id="alice", thread_id="one")

    async def have() -> str:
        async with exclusive(chat, "alice") as session:
            return session.thread_id

    async with exclusive(chat, "alice", "one"):
        waits = asyncio.create_task(have())
        await asyncio.to_thread(until, lambda: in_line() == 1)
        await chat.say(user_id="alice", thread_id="two")
    assert await asyncio.wait_for(waits, PATIENCE) == "two"
    async with exclusive(chat, "alice", "one", timeout=0):
        pass


async def test_a_block_that_raises_frees_the_session(chat: Chat) -> None:
    """An error in the block passes, and the session is free."""
    with pytest.raises(ZeroDivisionError):
        async with exclusive(chat, "alice", "one"):
            raise ZeroDivisionError
    async with exclusive(chat, "alice", "one", timeout=0):
        pass
