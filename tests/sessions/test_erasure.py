"""Taking away: whole threads, and everything of a user."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from langgraph_sessions import SessionNotFoundError, SessionSaver
from langgraph_sessions.sql.deletion import DeleteStrays
from tests import citus
from tests.graphs import ask, chain, says
from tests.outage.backends import of_database
from tests.sessions.at_work import under_way
from tests.sessions.contents import HISTORY, Connection, count, everything, mentioning, stored
from tests.support import PATIENCE, TABLES, Chat, pair, until


@pytest.mark.parametrize("strategy", ["delete", "delete_all"])
async def test_prune_deletes_threads_with_their_sessions(
    chat: Chat, db: Connection, strategy: str
) -> None:
    """Both words delete whole threads and their sessions, and leave the others alone."""
    for thread_id in ("a", "b", "c"):
        await chat.say("one", user_id="alice", thread_id=thread_id)
    for thread_id in ("plain", "other"):
        await chat.say("one", thread_id=thread_id)
    kept = {name: stored(db, name) for name in ("c", "other")}
    await chat.call(chat.saver, "prune", ["a", "b", "plain", "nothing"], strategy=strategy)
    assert [s.thread_id for s in await chat.sessions(None)] == ["c"]
    assert {name: stored(db, name) for name in kept} == kept
    assert all(count(db, table, name) == 0 for table in HISTORY for name in ("a", "b", "plain"))


async def test_prune_to_the_latest_keeps_the_session(chat: Chat, db: Connection) -> None:
    """Keeping the newest checkpoint alone leaves the session and the whole conversation."""
    for text in ("one", "two"):
        await chat.say(text, user_id="alice")
    session = await chat.current()
    await chat.call(chat.saver, "prune", [session.thread_id], strategy="keep_latest")
    assert count(db, "checkpoints", session.thread_id) == 1
    assert await chat.current() == session
    assert await chat.history(session) == ["one", "1 so far", "two", "3 so far"]
    await chat.say("three", user_id="alice")
    assert (await chat.history(session))[4:] == ["three", "5 so far"]


async def test_an_unknown_strategy_is_refused(chat: Chat, db: Connection) -> None:
    """A word that is none, and threads in a single string, are refused; nothing is deleted."""
    await chat.say("one", user_id="alice", thread_id="a")
    before = everything(db)
    with pytest.raises(ValueError, match="strategy"):
        await chat.call(chat.saver, "prune", ["a"], strategy="all")
    with pytest.raises(TypeError, match="thread_ids"):
        await chat.call(chat.saver, "prune", "a", strategy="delete")
    assert everything(db) == before


async def test_a_session_made_beside_an_erasure_is_whole(
    chat: Chat, db: Connection, saver: SessionSaver
) -> None:
    """What is deleted as left of no session is not the thread of one that was made meanwhile."""
    await chat.say("one", user_id="alice", thread_id="made")
    db.execute("INSERT INTO session_threads (thread_id, user_id) VALUES ('left', 'alice')")
    ask = of_database(saver._database)
    assert await asyncio.to_thread(ask, DeleteStrays("alice")) == [{"thread_id": "left"}]
    assert await chat.history(await chat.current()) == ["one", "1 so far"]


async def test_nothing_of_a_deleted_user_is_left(chat: Chat, db: Connection) -> None:
    """Not one row in any table names the user: subgraphs, preferences, plain threads included."""
    graph = chat.compile(chain(inner=chain(ask=ask).compile(), outer=says("ok")))
    for user in ("alice", "bob"):
        await chat.say("one", graph, user_id=user)
        await chat.say("two", user_id=user, new_session=True)
        await chat.session("create_user_session", user, "empty")
        await chat.session("update_preferences", user, {"language": "it"})
    await chat.say("one", thread_id="nobody's")
    # As a plain saver leaves it behind: a thread that names the user, without a session.
    await chat.say("three", user_id="alice", thread_id="left")
    db.execute("DELETE FROM user_sessions WHERE thread_id = 'left'")
    pair(db)
    expected = {
        "sessions": 3,
        **{
            key: sum("alice" in row or "left" in row for row in everything(db)[table])
            for key, table in zip(("checkpoints", "blobs", "writes"), HISTORY, strict=True)
        },
        "users": 1,
    }
    kept = {t: [row for row in rows if "bob" in row] for t, rows in everything(db).items()}
    assert await chat.session("delete_user", "alice") == expected
    assert mentioning(db, "alice") == mentioning(db, "left") == {}
    assert {t: [row for row in rows if "bob" in row] for t, rows in everything(db).items()} == kept
    assert count(db, "checkpoints", "nobody's") == 3
    assert await chat.session("get_preferences", "alice") == {}
    assert await chat.session("delete_user", "alice") == dict.fromkeys(expected, 0)
    with pytest.raises(SessionNotFoundError):
        await chat.session("get_current_user_session", "alice")


async def test_only_that_very_user_is_deleted(chat: Chat, db: Connection) -> None:
    """A user whose id is like a pattern, or a part of another's, takes nobody along."""
    for user in ("a", "ab", "%", "A", "a_b"):
        await chat.say("one", user_id=user)
    for user in ("%", "a"):
        counts = await chat.session("delete_user", user)
        assert counts["sessions"] == 1
    assert {s.user_id for s in await chat.sessions(None)} == {"ab", "A", "a_b"}


async def test_a_run_under_way_brings_nothing_back(chat: Chat, db: Connection) -> None:
    """A user is deleted while a run of theirs waits in a node: the run fails, and saves nothing."""
    await chat.say("one", user_id="alice")
    async with under_way(chat, user_id="alice") as run:
        counts = await chat.session("delete_user", "alice")
        assert counts["sessions"] == 1
    with pytest.raises(SessionNotFoundError):
        await run
    assert everything(db) == {table: [] for table in TABLES}


async def test_a_users_first_run_under_way_brings_nothing_back(chat: Chat, db: Connection) -> None:
    """So it is with a run that has just made its session."""
    async with under_way(chat, user_id="alice") as run:
        await chat.session("delete_user", "alice")
    with pytest.raises(SessionNotFoundError):
        await run
    assert everything(db) == {table: [] for table in TABLES}


def hold(nodes: list[Connection], table: str, key: int) -> None:
    """Have whoever inserts into *table* wait until *key* is unlocked."""
    function: Any = f"""
        CREATE FUNCTION hold_{table}() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared({key}); RETURN NEW; END $$"""
    trigger: Any = f"""
        CREATE TRIGGER hold BEFORE INSERT ON {table}
        FOR EACH ROW EXECUTE FUNCTION hold_{table}()"""
    nodes[0].execute(function)
    nodes[0].execute(trigger)
    for node in nodes:
        node.execute("SELECT pg_advisory_lock(%s)", [key])


def let_go(nodes: list[Connection], key: int) -> None:
    """Unlock *key*."""
    for node in nodes:
        node.execute("SELECT pg_advisory_unlock(%s)", [key])


@pytest.fixture
def nodes(direct_url: str) -> Iterator[list[Connection]]:
    """Connections to all of Citus' nodes, or to the one server."""
    with citus.everywhere(direct_url) as nodes:
        yield nodes


async def test_what_is_written_while_a_session_is_made_goes_with_it(
    chat: Chat, db: Connection, nodes: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion waits for writes that are being saved, and takes them with it."""
    begun = threading.Event()
    name = "aput_writes" if chat.is_async else "put_writes"
    put_writes = getattr(chat.saver, name)

    @functools.wraps(put_writes)
    def beginning(*args: Any) -> Any:
        begun.set()
        return put_writes(*args)

    monkeypatch.setattr(chat.saver, name, beginning)
    hold(nodes, "user_sessions", 1)
    hold(nodes, "checkpoint_writes", 2)
    run = asyncio.create_task(chat.say("at work", user_id="alice"))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    let_go(nodes, 1)
    made = "SELECT FROM user_sessions WHERE user_id = 'alice'"
    await asyncio.to_thread(until, lambda: db.execute(made).fetchall())
    deletion = asyncio.create_task(chat.session("delete_user", "alice"))
    waiting: Any = (
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND query LIKE '%session_threads%FOR UPDATE%'"
    )
    await asyncio.to_thread(until, lambda: any(node.execute(waiting).rowcount for node in nodes))
    let_go(nodes, 2)
    assert (await deletion)["sessions"] == 1
    with suppress(SessionNotFoundError):  # Unless the rest was saved together with the writes.
        await run
    assert everything(db) == {table: [] for table in TABLES}


async def test_writes_that_come_after_a_deletion_bring_nothing_back(
    chat: Chat, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent off beside the first checkpoint, they are refused when they come too late."""
    deleted = threading.Event()
    name = "aput_writes" if chat.is_async else "put_writes"
    put_writes = getattr(chat.saver, name)

    @functools.wraps(put_writes)
    def late(*args: Any) -> Any:
        assert deleted.wait(PATIENCE)
        return put_writes(*args)

    @functools.wraps(put_writes)
    async def alate(*args: Any) -> Any:
        assert await asyncio.to_thread(deleted.wait, PATIENCE)
        return await put_writes(*args)

    monkeypatch.setattr(chat.saver, name, alate if chat.is_async else late)
    run = asyncio.create_task(chat.say("at work", user_id="alice"))
    made = "SELECT FROM user_sessions WHERE user_id = 'alice'"
    await asyncio.to_thread(until, lambda: db.execute(made).fetchall())
    assert (await chat.session("delete_user", "alice"))["sessions"] == 1
    deleted.set()
    with pytest.raises(SessionNotFoundError):
        await run
    assert everything(db) == {table: [] for table in TABLES}


async def test_an_erasure_is_all_or_nothing(chat: Chat, db: Connection) -> None:
    """When the last of its deletions fails, the first is undone, too."""
    await chat.say("one", user_id="alice")
    await chat.session("update_preferences", "alice", {"a": 1})
    db.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'not today'; END $$""")
    db.execute("CREATE TRIGGER no BEFORE DELETE ON session_users EXECUTE FUNCTION refuse()")
    before = everything(db)
    with pytest.raises(psycopg.Error, match="not today"):
        await chat.session("delete_user", "alice")
    assert everything(db) == before
