"""Sessions that somebody made, or deleted, by SQL, which knows nothing of `session_threads`."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.sessions.contents import everything
from tests.support import TABLES, Chat, texts

Connection = psycopg.Connection[Any]

PAIRS = """
WITH s AS MATERIALIZED (SELECT thread_id, user_id FROM user_sessions),
t AS MATERIALIZED (SELECT thread_id, user_id FROM session_threads)
SELECT s.thread_id, s.user_id FROM s
JOIN t ON (t.thread_id, t.user_id) = (s.thread_id, s.user_id) ORDER BY 1"""


async def test_a_session_that_was_made_is_gone_on_with(chat: Chat, db: Connection) -> None:
    """Its first run makes the thread's row; a second one goes on from there."""
    db.execute("INSERT INTO user_sessions (user_id, thread_id, title) VALUES ('alice', 't', 'T')")
    for _ in range(2):
        said = await chat.say("one", user_id="alice", thread_id="t")
        assert db.execute(PAIRS).fetchall() == [{"thread_id": "t", "user_id": "alice"}]
    assert len(texts(said)) == 4
    assert len(await chat.sessions()) == 1


async def test_a_session_that_was_deleted_is_made_again(chat: Chat, db: Connection) -> None:
    """A run on its thread adopts what was said there, as of any thread without a session."""
    await chat.say("one", user_id="alice", thread_id="t")
    db.execute("DELETE FROM user_sessions")
    said = await chat.say("two", user_id="alice", thread_id="t")
    assert texts(said)[::2] == ["one", "two"]
    assert db.execute(PAIRS).fetchall() == [{"thread_id": "t", "user_id": "alice"}]


async def test_a_session_that_was_made_is_purged(chat: Chat, db: Connection) -> None:
    """Nothing is being saved to a thread whose row is not there."""
    db.execute("INSERT INTO user_sessions (user_id, thread_id, title) VALUES ('alice', 't', 'T')")
    assert (await chat.session("purge_sessions", active=True))["purged"] == 1
    assert await chat.sessions() == []


async def test_a_user_whose_sessions_were_deleted_is_erased(chat: Chat, db: Connection) -> None:
    """What names the user goes, also where no session tells of it any more."""
    await chat.say("one", user_id="alice", thread_id="t")
    db.execute("DELETE FROM user_sessions")
    await chat.session("delete_user", "alice")
    assert everything(db) == {table: [] for table in TABLES}
