"""Sessions that become another user's."""

from __future__ import annotations

from typing import Any

import pytest

from langgraph_sessions import SessionNotFoundError
from tests.sessions.at_work import under_way
from tests.sessions.contents import Connection, everything, exported, mentioning
from tests.support import Chat, config, pair, texts


async def test_a_transferred_session_is_the_new_users(chat: Chat, db: Connection) -> None:
    """Its runs, lists and reads are the new user's; for the old one it is not there."""
    await chat.say("one", user_id="guest", thread_id="t")
    assert await chat.session("transfer_sessions", "guest", "alice") == 1
    await chat.say("two", user_id="alice")
    assert [session.thread_id for session in await chat.sessions("alice")] == ["t"]
    assert await chat.history(await chat.current()) == ["one", "1 so far", "two", "3 so far"]
    assert await chat.sessions("guest") == []
    for method in ("get_session", "get_messages", "adopt_session"):
        with pytest.raises(SessionNotFoundError):
            await chat.session(method, "guest", "t")
    with pytest.raises(SessionNotFoundError):
        await chat.say("mine?", user_id="guest", thread_id="t")


async def test_a_transferred_session_is_exported_and_erased_with_the_new_user(
    chat: Chat, db: Connection
) -> None:
    """Nothing of it is in the old user's export, and erasing that one takes nothing of it."""
    await chat.say("one", user_id="guest", thread_id="t")
    await chat.session("transfer_sessions", "guest", "alice")
    assert await exported(chat, "guest") == []
    assert [each.get("content") for each in await exported(chat, "alice")][1:] == [
        "one",
        "1 so far",
    ]
    before = everything(db)
    assert set((await chat.session("delete_user", "guest")).values()) == {0}
    assert everything(db) == before
    assert mentioning(db, "guest") == {}
    await chat.session("delete_user", "alice")
    assert not any(everything(db).values())


async def test_a_transferred_thread_is_adopted_by_the_new_user(chat: Chat, db: Connection) -> None:
    """Where its session is gone, its checkpoints name the new user, whoever ran it first."""
    await chat.say("one", langgraph_auth_user_id="guest", thread_id="t")
    await chat.session("transfer_sessions", "guest", "alice")
    db.execute("DELETE FROM user_sessions")
    pair(db)
    with pytest.raises(SessionNotFoundError):
        await chat.session("adopt_session", "guest", "t")
    assert (await chat.session("backfill"))["adopted"] == 1
    assert (await chat.session("get_session", "alice", "t")).title == "one"


async def test_one_session_alone_is_transferred(chat: Chat, db: Connection) -> None:
    """The others stay, and so do the preferences."""
    for thread_id in ("t", "u"):
        await chat.say("one", user_id="guest", thread_id=thread_id)
    await chat.session("update_preferences", "guest", {"a": 1})
    assert await chat.session("transfer_sessions", "guest", "alice", thread_id="t") == 1
    assert [session.thread_id for session in await chat.sessions("guest")] == ["u"]
    assert await chat.session("get_preferences", "guest") == {"a": 1}
    assert await chat.session("get_preferences", "alice") == {}
    assert await chat.session("transfer_sessions", "guest", "alice", thread_id="t") == 0


async def test_preferences_go_with_all_sessions(chat: Chat) -> None:
    """Those that the new user has already win."""
    await chat.session("update_preferences", "guest", {"a": 1, "b": 1})
    await chat.session("update_preferences", "alice", {"b": 2, "c": 2})
    assert await chat.session("transfer_sessions", "guest", "alice") == 0
    assert await chat.session("get_preferences", "alice") == {"a": 1, "b": 2, "c": 2}
    assert await chat.session("get_preferences", "guest") == {}


async def test_preferences_keep_within_their_size(chat: Chat, db: Connection) -> None:
    """Where both are too many for one user, the transfer is refused, and nothing is moved."""
    await chat.say("one", user_id="guest")
    for user in ("guest", "alice"):
        await chat.session("update_preferences", user, {user: "x" * 60_000})
    before = everything(db)
    with pytest.raises(ValueError, match="preferences"):
        await chat.session("transfer_sessions", "guest", "alice")
    assert everything(db) == before


async def test_a_run_under_way_does_not_follow(chat: Chat, db: Connection) -> None:
    """The old user's run saves nothing more to a session that was transferred beneath it."""
    async with under_way(chat, user_id="guest", thread_id="t") as run:
        assert await chat.session("transfer_sessions", "guest", "alice") == 1
        before = everything(db)
    with pytest.raises(SessionNotFoundError):
        await run
    assert everything(db) == before


async def test_the_next_session_of_the_old_user_is_a_new_one(chat: Chat) -> None:
    """What was set aside for the old user is not the thread that went."""
    await chat.say("one", user_id="guest")
    (session,) = await chat.sessions("guest")
    await chat.session("transfer_sessions", "guest", "alice")
    await chat.say("again", user_id="guest")
    assert [s.thread_id for s in await chat.sessions("guest")] != [session.thread_id]
    state = await chat.call(chat.graph, "get_state", (await chat.current("guest")).config)
    assert texts(state) == ["again", "1 so far"]


async def test_an_agents_manager_transfers_its_own_alone(chat: Chat, db: Connection) -> None:
    """Another agent's sessions stay, and so do the preferences, which are all agents'."""
    db.execute("""
        INSERT INTO user_sessions (user_id, thread_id, title, agent)
        VALUES ('guest', 't', 'T', 'writer'), ('guest', 'u', 'U', NULL)""")
    pair(db)
    await chat.session("update_preferences", "guest", {"a": 1})
    chat.saver.sessions.agent = "writer"
    assert await chat.session("transfer_sessions", "guest", "alice") == 1
    chat.saver.sessions.agent = None
    assert [session.thread_id for session in await chat.sessions("alice")] == ["t"]
    assert await chat.session("get_preferences", "guest") == {"a": 1}


async def test_a_cached_session_is_not_served_to_the_old_user(chat: Chat) -> None:
    """Who read it just before does not find it in the cache."""
    await chat.say("one", user_id="guest", thread_id="t")
    await chat.session("get_session", "guest", "t")
    await chat.session("transfer_sessions", "guest", "alice")
    with pytest.raises(SessionNotFoundError):
        await chat.session("get_session", "guest", "t")


@pytest.mark.parametrize(
    ("users", "error"),
    [
        (("guest", "guest"), "to_user"),
        (("7", 7), "to_user"),
        (("guest", " "), "to_user"),
        ((None, "alice"), "from_user"),
        (("guest", "a\0"), "to_user"),
    ],
)
async def test_bad_users_are_named(
    chat: Chat, db: Connection, users: tuple[Any, Any], error: str
) -> None:
    """The same, a blank or no user is an error that names the argument; nothing changes."""
    await chat.call(chat.graph, "invoke", {"messages": ["one"]}, config(user_id="guest"))
    before = everything(db)
    with pytest.raises((TypeError, ValueError), match=error):
        await chat.session("transfer_sessions", *users)
    assert everything(db) == before
