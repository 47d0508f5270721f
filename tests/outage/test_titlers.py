"""Titlers and a database that is away: nobody's title is lost for good."""

from __future__ import annotations

import asyncio

import pytest

from tests.outage.talking import chatting, returned
from tests.servers import Server, until
from tests.titles.titlers import Titler


async def test_what_was_said_in_an_outage_is_titled_with_the_next_turn(
    kind: str, place: str, server: Server
) -> None:
    """No titler is called meanwhile: nothing could be claimed."""
    model = Titler()
    async with chatting(kind, place, titler=model) as chat:
        server.stop()
        await chat.say("one", user_id="alice")
        server.start()
        await returned(chat)
        assert model.asked == []
        assert (await chat.current()).title == "one"
        await chat.say("two", user_id="alice")
        await model.is_asked()
    async with chatting(kind, place) as chat:
        assert (await chat.current()).title == "By the model"


async def test_a_title_that_came_in_an_outage_is_asked_for_again(
    kind: str, place: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot be set, which is a try; after minutes, with a turn, there is another."""
    model = Titler(waits=True)
    async with chatting(kind, place, titler=model) as chat:
        await chat.say("one", user_id="alice")
        await model.is_asked()
        server.stop()
        await chat.say("two", user_id="alice")  # Which notices that it is away.
        model.go_on.set()
        await until(lambda: "a titler failed" in caplog.text)
        server.start()
        await returned(chat)
        sessions = await chat.sessions()
        assert {session.title for session in sessions} <= {"one", "two"}
        age = "UPDATE user_sessions SET titler_called = now() - interval '1 hour'"
        await asyncio.to_thread(server.execute, age)
        first = min(sessions, key=lambda session: session.id)
        await chat.say("three", user_id="alice", thread_id=first.thread_id)
        await until(lambda: len(model.asked) == 2)
    async with chatting(kind, place) as chat:
        assert (await chat.session("get_session", "alice", first.thread_id)).title == "By the model"
