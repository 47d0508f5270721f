"""How much is held, for whom, and which errors of a connection are no outage."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from langgraph_sessions import SessionsUnavailableError
from langgraph_sessions.outage.journal import Entry, Journal
from langgraph_sessions.outage.sessions import THREAD_SIZE, HeldSessions
from langgraph_sessions.sql.opening import OpenNew
from langgraph_sessions.sql.sessions import SwitchSession
from tests.outage.talking import chatting, conversations, returned, warnings_in
from tests.servers import Server, until
from tests.support import Chat, texts


def test_what_was_written_counts_until_the_outage_is_over() -> None:
    """It can still be read in memory, so a way back that is broken off makes no room."""
    journal = Journal(100)
    journal.append(said(40))
    journal.drop_first()
    with pytest.raises(SessionsUnavailableError, match="outage_limit, 100 bytes"):
        journal.append(said(40))


def said(size: int, user_id: str = "alice") -> Entry:
    """Return an entry of a user's."""
    return Entry(size, SwitchSession(user_id, "t"), user_id)


def test_nobody_may_hold_more_than_is_left_for_others() -> None:
    """One user alone holds a half at most; then who comes finds room, and who has too much none."""
    journal = Journal(100)
    journal.append(said(50))
    with pytest.raises(SessionsUnavailableError, match="share"):
        journal.append(said(1))
    journal.append(said(25, "bob"))
    with pytest.raises(SessionsUnavailableError, match="share"):
        journal.append(said(1, "bob"))
    journal.append(said(12, "carol"))
    assert len(journal) == 3


def test_threads_that_are_begun_and_never_said_anything_in_count() -> None:
    """Else who asks for one new session after another would fill the memory without a word."""
    held = HeldSessions(Journal(10 * THREAD_SIZE))
    for number in range(5):
        held.answer(OpenNew(user_id="alice", thread_id=f"t{number}"))
    with pytest.raises(SessionsUnavailableError, match="share"):
        held.answer(OpenNew(user_id="alice", thread_id="one more"))
    held.answer(OpenNew(user_id="alice", thread_id="t0"))
    held.answer(OpenNew(user_id="bob", thread_id="b"))


async def test_past_the_limit_it_says_so_and_keeps_what_was_held(
    kind: str, server: Server, place: str
) -> None:
    """What is held is bounded; what fits is written, and later turns work."""
    async with chatting(kind, place, outage_limit=40_000) as chat:
        await chat.say("before", user_id="alice")
        server.stop()
        said = await chat.say("small", user_id="alice")
        with pytest.raises(SessionsUnavailableError, match="outage_limit"):
            await chat.say("x" * 40_000, user_id="bob")
        server.start()
        await returned(chat)
        assert await conversations(place) == [["before", "1 so far"], texts(said)]
        assert texts(await chat.say("on", user_id="alice"))[:2] == texts(said)
        assert texts(await chat.say("on", user_id="bob"))[-1] == "1 so far"


async def test_who_talks_without_end_takes_nobodys_room(
    kind: str, server: Server, place: str
) -> None:
    """One user's share is full; another's conversation goes on, and both are written."""
    async with chatting(kind, place, outage_limit=100_000) as chat:
        server.stop()
        turns = 0
        with suppress(SessionsUnavailableError):
            while True:
                await chat.say("again", user_id="mallory")
                turns += 1
        for _ in range(3):
            await chat.say("hello", user_id="alice")
        with pytest.raises(SessionsUnavailableError, match="share of outage_limit"):
            await chat.say("again", user_id="mallory")
        server.start()
        await returned(chat)
        assert turns > 0
        (hers,) = await conversations(place)
        assert len(hers) == 6
        (theirs,) = await conversations(place, "mallory")
        assert len(theirs) >= 2 * turns


async def test_an_outage_is_raised_if_that_is_asked_for(
    kind: str, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With `on_outage="raise"` psycopg's error surfaces, and the saver works when it is back."""
    async with chatting(kind, place, on_outage="raise") as chat:
        await chat.say("before", user_id="alice")
        server.stop()
        for user_id in ("alice", "bob"):
            with pytest.raises(psycopg.OperationalError):
                await chat.say("away", user_id=user_id)
        with pytest.raises(psycopg.OperationalError):
            await chat.session("create_user_session", "alice")
        assert chat.saver.durable
        server.start()
        said = await chat.say("after", user_id="alice")
        assert texts(said) == ["before", "1 so far", "after", "3 so far"]
    assert warnings_in(caplog) == []


async def test_runs_without_a_user_get_psycopgs_error(
    chat: Chat, server: Server, place: str
) -> None:
    """Without `user_id` it is as with `PostgresSaver`, before and after an outage is noticed."""
    await chat.say("before", thread_id="plain")
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        await chat.say("away", thread_id="plain")
    await chat.say("away", user_id="alice")
    with pytest.raises(psycopg.OperationalError):
        await chat.say("away", thread_id="plain")
    server.start()
    await returned(chat)
    said = await chat.say("after", thread_id="plain")
    assert texts(said) == ["before", "1 so far", "after", "3 so far"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that asks for a password."""
    server = Server(auth="scram-sha-256")
    try:
        server.start()
        server.execute("CREATE ROLE reader LOGIN PASSWORD 'secret'")
        server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        yield server
    finally:
        server.remove()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"dbname": "nosuch"}, "does not exist"),
        ({"user": "nosuch"}, "password authentication failed"),
        ({"user": "reader"}, "permission denied"),
    ],
    ids=["password", "database", "user", "rights"],
)
async def test_what_lets_nobody_in_is_no_outage(
    kind: str, guarded: Server, wrong: dict[str, str], error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password, an unknown database and missing rights raise at once."""
    url = make_conninfo(guarded.conninfo, **wrong)
    # Tried again, it would take the rest of the day.
    async with chatting(kind, url, retry_for=86400.0) as chat, asyncio.timeout(20):
        with pytest.raises(psycopg.Error, match=error):
            await chat.say("hello", user_id="alice")
        with pytest.raises(psycopg.Error, match=error):
            await chat.session("create_user_session", "alice")
        assert chat.saver.durable
    assert warnings_in(caplog) == []


@pytest.mark.one_server("the rules of who may connect are a server's own")
async def test_a_server_that_is_back_but_refuses_is_told_and_waited_for(
    kind: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once that nothing can be written yet, and why; what is held is written later."""
    rules = server.data / "pg_hba.conf"
    good = rules.read_text()
    with server.database() as url:
        server.stop()
        async with chatting(kind, url) as chat:
            said = await chat.say("away", user_id="alice")
            try:
                rules.write_text(f"local {conninfo_to_dict(url)['dbname']} all reject\n{good}")
                server.start()
                await until(lambda: len(warnings_in(caplog)) == 2)
                assert "nothing can be written yet" in warnings_in(caplog)[1]
                assert texts(await chat.say("more", user_id="alice"))[:2] == texts(said)
            finally:
                rules.write_text(good)
            assert server.process is not None
            server.process.send_signal(signal.SIGHUP)
            await returned(chat)
            assert len(warnings_in(caplog)) == 2
        assert [len(each) for each in await conversations(url)] == [4]
