"""Costs that somebody else could set: the size of metadata, odd times, locks on others' threads."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from langgraph_sessions import SessionNotFoundError, json_checks
from tests.support import Chat

Connection = psycopg.Connection[Any]

LIMIT = json_checks.METADATA_SIZE


def test_the_size_of_metadata_is_that_of_postgresqls_json(saver: Any) -> None:
    """What just fits is stored; a byte more is refused before the database is asked."""
    fits = {"a": "é" * ((LIMIT - 9) // 2)}
    assert saver.sessions.create_user_session("alice", metadata=fits).metadata == fits
    for more in ({"a": "é" * (LIMIT // 2)}, {"a" * LIMIT: 1}, {"a": [0] * LIMIT}):
        with pytest.raises(ValueError, match="metadata must take at most 64 KiB"):
            json_checks.metadata(more)
    with pytest.raises(ValueError, match="64 KiB"):  # 309 digits each, as PostgreSQL writes them.
        json_checks.metadata({"a": [1e308] * 300})


def test_the_check_ends_as_soon_as_it_is_too_much() -> None:
    """A list of itself, 2**31 values by name, is refused in no time; so is one of huge keys."""
    value: Any = "x"
    for _ in range(31):
        value = [value, value]
    with pytest.raises(ValueError, match="64 KiB"):
        json_checks.metadata({"a": value})
    deep: Any = {}
    for _ in range(30):
        deep = {"k" * 2000: deep, "l": object()}
    with pytest.raises(TypeError) as caught:
        json_checks.metadata(deep)
    assert len(str(caught.value)) < 400


async def test_many_small_changes_add_up_to_no_more(chat: Chat) -> None:
    """What is merged is measured by the database; the change that is too much changes nothing."""
    session = await chat.session("create_user_session", "alice", metadata={"a": "x" * 40_000})
    where = {"thread_id": session.thread_id}
    with pytest.raises(ValueError, match="metadata must take at most 64 KiB"):
        await chat.session("update_session", "alice", {"metadata": {"b": "x" * 40_000}}, **where)
    assert [*(await chat.current()).metadata] == ["a"]
    changes = {"metadata": {"a": None, "b": "x" * 40_000}}
    assert [*(await chat.session("update_session", "alice", changes, **where)).metadata] == ["b"]
    await chat.session("update_preferences", "alice", {"a": "x" * 40_000})
    with pytest.raises(ValueError, match="preferences must take at most 64 KiB"):
        await chat.session("update_preferences", "alice", {"b": "x" * 40_000})
    assert [*await chat.session("get_preferences", "alice")] == ["a"]


TIMES = ("infinity", "-infinity", "294276-12-31 23:59:59+00", "0044-03-15 00:00:00+00 BC")


async def test_no_time_in_a_row_ends_a_listing_or_a_purge(chat: Chat, db: Connection) -> None:
    """Such sessions are listed, page by page, at the ends of time; a purge goes by it."""
    for time in (*TIMES, *TIMES):
        session = await chat.session("create_user_session", "alice", time)
        db.execute(
            "UPDATE user_sessions SET created_at = %(time)s, updated_at = %(time)s "
            "WHERE id = %(id)s",
            {"time": time, "id": session.id},
        )
    await chat.session("create_user_session", "alice", "today")
    titles, cursor = [], None
    while True:
        page = await chat.session("list_sessions", "alice", limit=1, cursor=cursor)
        titles += [session.title for session in page]
        if (cursor := page.next_cursor) is None:
            break
    infinity, past, future, caesar = TIMES
    assert titles[:2] == [infinity] * 2
    assert titles[-4:] == [caesar] * 2 + [past] * 2
    assert sorted(titles) == sorted(("today", *TIMES, *TIMES))
    assert titles.count(future) == 2
    assert len(await chat.session("list_active_sessions", "alice")) == 9
    counts = await chat.session("purge_sessions", idle_for=timedelta(days=1))
    assert counts == {"purged": 4, "kept": 0}


@pytest.mark.parametrize("time", TIMES)
async def test_no_time_in_a_row_ends_a_run(chat: Chat, db: Connection, time: str) -> None:
    """Its session goes on, as the user's current one and by its thread."""
    await chat.say("Hello", user_id="alice")
    thread_id = (await chat.current()).thread_id
    columns = ("created_at", "updated_at", "current_at")
    times = ", ".join(f"{column} = %(time)s" for column in columns)
    db.execute(f"UPDATE user_sessions SET {times}".encode(), {"time": time})
    await chat.say("Again", user_id="alice")
    await chat.say("And again", user_id="alice", thread_id=thread_id)
    assert (await chat.current()).thread_id == thread_id
    assert len(await chat.session("get_messages", "alice", thread_id)) == 6


@pytest.mark.parametrize("time", ["", "soon", "2024-13-01", *TIMES])
async def test_no_time_in_a_checkpoint_ends_a_purge_or_an_adoption(
    chat: Chat, db: Connection, time: str
) -> None:
    """A checkpoint that says no time is as if it were old."""
    await chat.say("Hello", user_id="alice")
    db.execute(
        "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{ts}', %s)", [json.dumps(time)]
    )
    thread_id = (await chat.current()).thread_id
    counts = await chat.session("purge_sessions", active=True, dry_run=True)
    assert counts == {"purged": 1, "kept": 0}
    db.execute("DELETE FROM user_sessions")
    db.execute("DELETE FROM session_threads")
    assert (await chat.session("adopt_session", "alice", thread_id)).title == "Hello"


async def test_a_cursor_of_any_length_is_refused(chat: Chat) -> None:
    """A cursor is as long as those that are given, and no longer."""
    for cursor in ("A" * 10_000_000, base64.b64encode(b"[" * 100_000).decode(), "é", "\ud800"):
        with pytest.raises(ValueError, match="cursor must be"):
            await chat.session("list_sessions", "alice", cursor=cursor)


async def test_a_fork_of_anothers_thread_does_not_wait_for_it(chat: Chat, db: Connection) -> None:
    """Whose the thread is comes before its lock: nobody holds up, or waits for, somebody else's."""
    await chat.say("Hello", user_id="alice")
    thread_id = (await chat.current()).thread_id
    with db.transaction():
        db.execute("SELECT 1 FROM session_threads WHERE thread_id = %s FOR UPDATE", [thread_id])
        with pytest.raises(SessionNotFoundError):
            await asyncio.wait_for(chat.session("fork_session", "bob", thread_id), 60)
