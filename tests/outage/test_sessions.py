"""The session manager in an outage: what goes on in memory, and what says that it cannot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    SessionsUnavailableError,
)
from tests.outage.talking import chatting, conversations, returned, warnings_in
from tests.servers import Server, until
from tests.support import Chat, texts


async def test_instructions_given_in_an_outage_hold(chat: Chat, server: Server) -> None:
    """Titles, new sessions and deactivations are as they would be without an outage."""
    server.stop()
    await chat.say("the first words", user_id="alice")
    await chat.say("x", user_id="alice", new_session=True, title="Given")
    await chat.say("y", user_id="alice", title="Renamed")
    await chat.say("z", user_id="alice", new_session=True, is_active=False, title="Closed")
    assert texts(await chat.say("on", user_id="alice"))[0] == "x"
    server.start()
    await returned(chat)
    found = {session.title: session for session in await chat.sessions()}
    assert set(found) == {"the first words", "Renamed", "Closed"}
    assert [found[title].is_active for title in found] == [True, False, True]
    assert [*found] == ["Renamed", "Closed", "the first words"]
    assert await chat.history(found["Renamed"]) == [
        *("x", "1 so far", "y", "3 so far", "on", "5 so far")
    ]
    assert (await chat.current()).title == "Renamed"
    reactivated = await chat.say("again", user_id="alice", thread_id=found["Closed"].thread_id)
    assert texts(reactivated)[0] == "z"
    assert (await chat.current()).is_active


async def test_a_default_title_holds_in_an_outage(kind: str, place: str, server: Server) -> None:
    """Sessions begun in memory are called by it, and titled by what is said to them."""
    async with chatting(kind, place, default_title="Untitled") as chat:
        server.stop()
        await chat.say(AIMessage("Welcome!"), user_id="alice")
        made = await chat.session("create_user_session", "bob")
        assert ((await chat.current()).title, made.title) == ("Untitled", "Untitled")
        await chat.session("create_user_session", "carol", "Untitled")
        await chat.say("Plan a trip", user_id="carol")
        server.start()
        await returned(chat)
        titles = {session.user_id: session.title for session in await chat.sessions(None)}
        assert titles == {"alice": "Untitled", "bob": "Untitled", "carol": "Plan a trip"}
        await chat.say("Pack a bag", user_id="alice")
        assert (await chat.current()).title == "Pack a bag"


async def test_sessions_begun_in_an_outage_are_managed(chat: Chat, server: Server) -> None:
    """What the manager does with what was begun in memory holds afterwards."""
    server.stop()
    made = await chat.session("create_user_session", "alice", "Made", metadata={"a": 1})
    assert await chat.session("get_or_create_user_session", "alice") == made
    assert await chat.session("get_current_user_session", "alice") == made
    assert await chat.session("get_session", "alice", made.thread_id) == made
    assert await chat.session("has_session", "alice")
    got = await chat.session("get_or_create_user_session", "bob", "Bob's")
    assert (got.user_id, got.title) == ("bob", "Bob's")
    other = await chat.session("create_user_session", "alice", "Other")
    closed = await chat.session("create_user_session", "alice", "Closed")
    assert await chat.session("deactivate_session", "alice", thread_id=closed.thread_id) == 1
    assert await chat.session("deactivate_session", "alice", thread_id=closed.thread_id) == 0
    assert (await chat.session("switch_session", "alice", made.thread_id)).title == "Made"
    changes = {"title": "New", "metadata": {"b": 2}}
    changed = await chat.session("update_session", "alice", changes)
    assert (changed.title, changed.metadata) == ("New", {"a": 1, "b": 2})
    await chat.session("update_session", "alice", {"metadata": {"c": 3}}, thread_id=other.thread_id)
    assert texts(await chat.say("said", user_id="alice")) == ["said", "1 so far"]
    server.start()
    await returned(chat)
    found = {session.title: session for session in await chat.sessions()}
    assert set(found) == {"New", "Other", "Closed"}
    assert found["New"].metadata == {"a": 1, "b": 2}
    assert found["Other"].metadata == {"c": 3}
    assert [found[title].is_active for title in ("New", "Other", "Closed")] == [True, True, False]
    assert all(session.id > 0 for session in found.values())
    assert (await chat.current()).thread_id == made.thread_id
    assert await chat.history(found["New"]) == ["said", "1 so far"]
    assert [session.title for session in await chat.sessions("bob")] == ["Bob's"]


async def test_what_takes_the_database_says_that_it_is_away(
    chat: Chat, server: Server, place: str
) -> None:
    """All other methods raise `SessionsUnavailableError`, from the first one on."""
    await chat.say("before", user_id="alice")
    old = (await chat.current()).thread_id
    await chat.session("clear_memory_cache")
    server.stop()
    calls: list[tuple[Any, ...]] = [
        ("get_current_user_session", "alice"),
        ("get_session", "alice", old),
        ("update_session", "alice", {"title": "New"}),
        ("switch_session", "alice", old),
        ("deactivate_session", "alice"),
        ("has_session", "alice"),
        ("list_active_sessions", "alice"),
        ("list_sessions", "alice"),
        ("count_sessions", "alice"),
        ("fork_session", "alice", old),
        ("list_checkpoints", "alice", old),
        ("transfer_sessions", "alice", "bob"),
        ("delete_session", "alice", old),
        ("delete_user", "alice"),
        ("purge_sessions",),
        ("adopt_session", "alice", old),
        ("backfill",),
        ("get_preferences", "alice"),
        ("update_preferences", "alice", {"a": 1}),
    ]
    for method, *arguments in calls:
        options = {"active": True} if method == "purge_sessions" else {}
        with pytest.raises(SessionsUnavailableError):
            await chat.session(method, *arguments, **options)
    await chat.say("meanwhile", user_id="bob")
    held = await chat.session("get_current_user_session", "bob")
    for user, thread in (("alice", old), ("bob", held.thread_id)):
        with pytest.raises(SessionsUnavailableError):
            await chat.session("get_messages", user, thread)
    with pytest.raises(SessionsUnavailableError):
        await chat.session("deactivate_session", "alice", thread_id=old)
    with pytest.raises(SessionsUnavailableError):
        await chat.session("update_session", "alice", {"title": "New"}, thread_id=old)
    for method, arguments in {
        "delete_thread": [old],
        "copy_thread": [old, "copy"],
        "delete_for_runs": [["run"]],
    }.items():
        with pytest.raises(SessionsUnavailableError):
            await chat.call(chat.saver, method, *arguments)
    with pytest.raises(SessionsUnavailableError):
        await _export(chat)
    with pytest.raises(SessionsUnavailableError):
        await _enter_exclusive(chat)
    server.start()
    await returned(chat)
    (session,) = await chat.sessions()
    assert (session.title, session.is_active) == ("before", True)
    assert await conversations(place) == [["before", "1 so far"]]


@pytest.mark.parametrize(
    "method", ["delete_for_runs", "delete_thread", "exclusive", "export", "prune"]
)
async def test_the_first_to_notice_says_the_same(chat: Chat, server: Server, method: str) -> None:
    """Whatever is called first after the server stopped raises `SessionsUnavailableError`."""
    await chat.say("before", user_id="alice")
    server.stop()
    calls = {
        "exclusive": lambda: _enter_exclusive(chat),
        "export": lambda: _export(chat),
        "delete_thread": lambda: chat.call(chat.saver, method, "thread"),
        "delete_for_runs": lambda: chat.call(chat.saver, method, ["run"]),
        "prune": lambda: chat.call(chat.saver, method, ["thread"]),
    }
    with pytest.raises(SessionsUnavailableError):
        await calls[method]()


async def _export(chat: Chat) -> list[Any]:
    exported = chat.saver.sessions.export_user("alice")
    if chat.is_async:
        return [record async for record in exported]
    return await asyncio.to_thread(list, exported)


async def _enter_exclusive(chat: Chat) -> None:
    block = chat.saver.sessions.exclusive("alice")
    if chat.is_async:
        async with block:
            return
    with block:
        return


async def test_a_manager_by_itself_goes_on_in_memory(
    kind: str, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A manager without a saver holds sessions, and writes them, as one with a saver does."""
    if kind == "sync":
        manager = AgentSessionManager(place, retry_for=0.3)
        await asyncio.to_thread(manager.count_sessions)
        server.stop()
        await asyncio.to_thread(manager.create_user_session, "alice", "Held")
        assert len(warnings_in(caplog)) == 1
        server.start()
        await until(lambda: manager._database.durable)
        await asyncio.to_thread(manager.close)
    else:
        aio = AsyncAgentSessionManager(place, retry_for=0.3)
        await aio.count_sessions()
        server.stop()
        await aio.create_user_session("alice", "Held")
        assert len(warnings_in(caplog)) == 1
        server.start()
        await until(lambda: aio._database.durable)
        await aio.close()
    async with chatting("sync", place) as chat:
        assert [session.title for session in await chat.sessions()] == ["Held"]
