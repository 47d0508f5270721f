"""Threads that a plain `PostgresSaver` left behind become sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.types import Command

from langgraph_sessions import AsyncSessionSaver, SessionNotFoundError, SessionSaver
from langgraph_sessions.sessions.upkeep import AdoptSession
from langgraph_sessions.sql.saving import LockNewThread
from langgraph_sessions.sql.upkeep import InsertAdopted, ThreadOwner
from tests.graphs import ask, chain, delta_graph, says
from tests.plans import play, session_row
from tests.sessions.contents import HISTORY, exported
from tests.support import (
    Chat,
    config,
    graph_builder,
    pair,
    past_pooler,
    psycopg_pool_options,
    texts,
)

Connection = psycopg.Connection[Any]

SESSIONS = """
SELECT user_id, thread_id, title, title_source, is_active, created_at, updated_at
FROM user_sessions ORDER BY thread_id"""


def langgraphs(db: Connection) -> dict[str, str]:
    """Return a hash of each of LangGraph's tables."""
    hashes = {}
    for table in (*HISTORY, "checkpoint_migrations"):
        sql: Any = (
            f"SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {table} t"
        )
        row = db.execute(sql).fetchone()
        assert row is not None
        hashes[table] = row["md5"]
    return hashes


def leave(url: str, threads: Mapping[str, Any], text: str = "Question {}") -> None:
    """Leave *threads* behind: thread ids and the `user_id` of each, `None` for none."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        graph = graph_builder().compile(checkpointer=plain)
        for thread_id, user_id in threads.items():
            who = {} if user_id is None else {"user_id": user_id}
            given = {"messages": [text.format(thread_id)]}
            graph.invoke(given, config(thread_id=thread_id, **who))


def owners(db: Connection) -> dict[str, str]:
    """Return whose session each thread is."""
    return {row["thread_id"]: row["user_id"] for row in db.execute(SESSIONS)}


# --- backfill -----------------------------------------------------------------------------------


def test_a_thread_is_adopted_under_the_lock_of_nobodys_saves() -> None:
    """Whose it is, is looked at again there: what nobody has just saved becomes no user's."""
    adopt = AdoptSession("alice", "t", "T", "user")
    for owner in (None, "alice"):
        played = play(adopt.plan(), [], [{"owner": owner}], [session_row()])
        asked = [LockNewThread("t"), ThreadOwner("t"), InsertAdopted(**vars(adopt))]
        assert (played.asked, played.result) == (asked, [session_row()])
    assert play(adopt.plan(), [], [{"owner": "bob"}]).result == []


async def test_a_database_of_plain_threads_becomes_a_session_list(
    chat: Chat, url: str, db: Connection
) -> None:
    """130 threads of several users are adopted in one call, which may be made again."""
    users = ["alice", "bob", 42, None, "carol"]
    left = {f"t{number:03}": users[number % 5] for number in range(130)}
    await asyncio.to_thread(leave, url, left)
    before = langgraphs(db)
    seen: list[dict[str, int]] = []
    counts = await chat.session(
        "backfill", batch_size=50, on_progress=lambda so_far: seen.append(dict(so_far))
    )
    assert counts == {"seen": 130, "adopted": 104, "unowned": 26, "skipped": 0} == seen[-1]
    assert [so_far["seen"] for so_far in seen] == [50, 100, 130]
    assert owners(db) == {thread: str(user) for thread, user in left.items() if user is not None}
    made = db.execute(SESSIONS).fetchall()
    assert {row["title"] for row in made} == {f"Question {row['thread_id']}" for row in made}
    assert {(row["title_source"], row["is_active"]) for row in made} == {("message", True)}
    again = await chat.session("backfill")
    assert again == {"seen": 130, "adopted": 0, "unowned": 26, "skipped": 0}
    assert db.execute(SESSIONS).fetchall() == made
    assert langgraphs(db) == before
    assert (await chat.current("42")).thread_id == "t127"
    await chat.say("more", user_id=42)
    session = await chat.session("get_session", "42", "t127")
    assert await chat.history(session) == ["Question t127", "1 so far", "more", "3 so far"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_database_that_this_package_never_saw(empty_url: str, kind: str) -> None:
    """In a plain saver's database, `backfill` makes the tables that are missing, too."""
    with PostgresSaver.from_conn_string(past_pooler(empty_url)) as plain:
        plain.setup()
    await asyncio.to_thread(leave, empty_url, {"a": "alice", "b": "bob"})
    with psycopg.connect(empty_url, **psycopg_pool_options()) as db:
        before = langgraphs(db)
        if kind == "sync":
            with SessionSaver(empty_url) as saver:
                counts = await asyncio.to_thread(saver.sessions.backfill)
        else:
            async with AsyncSessionSaver(empty_url) as asaver:
                counts = await asaver.sessions.backfill()
        assert counts == {"seen": 2, "adopted": 2, "unowned": 0, "skipped": 0}
        assert owners(db) == {"a": "alice", "b": "bob"}
        assert langgraphs(db) == before


async def test_times_are_the_checkpoints(chat: Chat, url: str, db: Connection) -> None:
    """A session was created with its first checkpoint and last used with its last."""
    await asyncio.to_thread(leave, url, {"older": "alice", "newer": "alice"})
    await asyncio.to_thread(leave, url, {"older": "alice"}, "And {}?")
    await chat.session("backfill")
    for row in db.execute(SESSIONS).fetchall():
        times = [
            datetime.fromisoformat(found["ts"])
            for found in db.execute(
                "SELECT checkpoint ->> 'ts' AS ts FROM checkpoints WHERE thread_id = %s",
                [row["thread_id"]],
            )
        ]
        assert (row["created_at"], row["updated_at"]) == (min(times), max(times))
    assert [s.thread_id for s in await chat.sessions()] == ["older", "newer"]
    assert (await chat.sessions())[0].title == "Question older"


async def test_a_stopped_backfill_is_taken_up_again(chat: Chat, url: str, db: Connection) -> None:
    """What was adopted before an error stays adopted, and the next call does the rest."""
    left = {f"t{number}": "alice" for number in range(9)}
    await asyncio.to_thread(leave, url, left)

    def stop(counts: Any) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await chat.session("backfill", batch_size=4, on_progress=stop)
    assert list(owners(db)) == ["t0", "t1", "t2", "t3"]
    assert (await chat.session("backfill"))["adopted"] == 5
    assert owners(db) == left


async def test_threads_of_subgraphs_and_waiting_runs_are_adopted(
    chat: Chat, url: str, db: Connection
) -> None:
    """Each thread makes one session, however many namespaces it has, and a run goes on in it."""
    builder = chain(inner=chain(once=says("Well?"), ask=ask).compile(), outer=says("ok"))
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        graph = builder.compile(checkpointer=plain)
        given: Any = {"messages": ["Plan a trip"]}
        await asyncio.to_thread(graph.invoke, given, config(thread_id="t", user_id="alice"))
    assert await chat.session("backfill") == {"seen": 1, "adopted": 1, "unowned": 0, "skipped": 0}
    (session,) = await chat.sessions(None)
    assert (session.title, session.status) == ("Plan a trip", "interrupted")
    resumed = await chat.call(
        chat.compile(builder), "invoke", Command(resume="so"), config(user_id="alice")
    )
    assert texts(resumed) == ["Plan a trip", "Well?", "You said so", "ok"]


async def test_a_thread_kept_as_deltas_is_titled(chat: Chat, db: Connection) -> None:
    """A title is found where no checkpoint holds the messages themselves."""
    graph = delta_graph(chat, 100, node=says("ok"))
    for text in ("Plan a trip", "In May"):
        who = config(user_id="alice", thread_id="t")
        await chat.call(graph, "invoke", {"messages": [HumanMessage(text)]}, who)
    db.execute("DELETE FROM user_sessions")
    pair(db)
    await chat.session("backfill")
    assert [s.title for s in await chat.sessions()] == ["Plan a trip"]


async def test_who_is_signed_in_is_the_owner(chat: Chat, url: str, db: Connection) -> None:
    """`langgraph_auth_user_id`, which a client cannot choose, comes before `user_id`."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        graph = graph_builder().compile(checkpointer=plain)
        who = {"langgraph_auth_user_id": "alice"}
        for thread_id, more in (("one", {}), ("both", {"user_id": "mallory"})):
            await asyncio.to_thread(
                graph.invoke, {"messages": ["hi"]}, config(thread_id=thread_id, **who, **more)
            )
    await chat.session("backfill")
    assert owners(db) == {"one": "alice", "both": "alice"}


async def test_the_newest_checkpoint_says_whose_a_thread_is(
    chat: Chat, url: str, db: Connection
) -> None:
    """A thread that changed hands belongs to whoever used it last."""
    await asyncio.to_thread(leave, url, {"t": "alice"})
    await asyncio.to_thread(leave, url, {"t": "bob"})
    await chat.session("backfill")
    assert owners(db) == {"t": "bob"}


async def test_one_rule_says_whose_a_thread_is(chat: Chat, url: str, db: Connection) -> None:
    """Exports, erasure and adoption go by the newest checkpoint that names anybody."""
    threads = {"shared": "alice", "patched": "carol", "hers": "alice"}
    await asyncio.to_thread(leave, url, threads)
    await asyncio.to_thread(leave, url, {"shared": "bob"})
    with PostgresSaver.from_conn_string(url) as plain:
        graph = graph_builder().compile(checkpointer=plain)
        update = graph.update_state
        await asyncio.to_thread(update, config(thread_id="patched"), {"messages": ["so"]})
    theirs = {"alice": {"hers"}, "bob": {"shared"}, "carol": {"patched"}}
    for user_id, thread_ids in theirs.items():
        records = await exported(chat, user_id)
        assert {record["thread_id"] for record in records} == thread_ids
    with pytest.raises(SessionNotFoundError):
        await chat.session("adopt_session", "alice", "shared")
    assert (await chat.session("delete_user", "alice"))["checkpoints"] == 3
    assert (await chat.session("backfill"))["adopted"] == 2
    assert owners(db) == {"shared": "bob", "patched": "carol"}


async def test_sessions_there_are_stay_as_they_are(chat: Chat, url: str, db: Connection) -> None:
    """A session that exists is neither renamed nor moved nor made anybody else's."""
    await chat.say("one", user_id="alice", thread_id="hers", title="Mine")
    await chat.session("deactivate_session", "alice")
    await asyncio.to_thread(leave, url, {"hers": "mallory"})
    before = db.execute(SESSIONS).fetchall()
    assert await chat.session("backfill") == {"seen": 1, "adopted": 0, "unowned": 0, "skipped": 0}
    assert db.execute(SESSIONS).fetchall() == before


@pytest.mark.parametrize("user_id", ["", "  ", "x" * 256, True, 1.5], ids=repr)
async def test_who_cannot_have_sessions_owns_no_thread(chat: Chat, url: str, user_id: Any) -> None:
    """A `user_id` that no run of this package would take makes no session."""
    await asyncio.to_thread(leave, url, {"odd": user_id, "t": "alice"})
    assert await chat.session("backfill") == {"seen": 2, "adopted": 1, "unowned": 1, "skipped": 0}


async def test_a_thread_id_too_long_for_a_session_stops_nobody(
    chat: Chat, url: str, db: Connection
) -> None:
    """A thread whose id no session can have is left, and the others are adopted."""
    await asyncio.to_thread(leave, url, {"a": "alice", "b" * 256: "alice", "c": "alice"})
    counts = await chat.session("backfill")
    assert (counts["seen"], counts["adopted"]) == (3, 2)
    assert set(owners(db)) == {"a", "c"}


async def test_what_cannot_be_read_is_adopted_without_a_title(
    chat: Chat, url: str, db: Connection
) -> None:
    """A thread with a value that this serde cannot load is a session all the same."""
    await asyncio.to_thread(leave, url, {"a": "alice", "b": "alice", "c": "alice"})
    db.execute("""
        UPDATE checkpoint_blobs SET type = 'encrypted', blob = 'x'
        WHERE thread_id = 'b'""")
    assert (await chat.session("backfill"))["adopted"] == 3
    titles = {row["thread_id"]: row["title"] for row in db.execute(SESSIONS)}
    assert titles == {"a": "Question a", "b": "New Chat", "c": "Question c"}


async def test_a_thread_deleted_meanwhile_is_passed_over(
    chat: Chat, url: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that is deleted, or another's by now, while its batch is adopted stops nobody."""
    from langgraph_sessions.sessions import reading

    await asyncio.to_thread(leave, url, dict.fromkeys("abcd", "alice"))
    real = reading.title

    def meanwhile(*thread: Any) -> Any:
        db.execute("DELETE FROM checkpoints WHERE thread_id = 'b'")
        db.execute("""
            INSERT INTO user_sessions (user_id, thread_id, title) VALUES ('bob', 'c', 'His')
            ON CONFLICT DO NOTHING""")
        pair(db)
        return real(*thread)

    monkeypatch.setattr(reading, "title", meanwhile)
    assert (await chat.session("backfill"))["adopted"] == 2
    assert owners(db) == {"a": "alice", "c": "bob", "d": "alice"}


async def test_runs_of_nobody_are_not_adopted(chat: Chat, db: Connection) -> None:
    """Threads that name nobody stay plain, and work on as they did."""
    await chat.say("one", thread_id="plain")
    assert await chat.session("backfill") == {"seen": 1, "adopted": 0, "unowned": 1, "skipped": 0}
    assert (await chat.say("two", thread_id="plain"))["messages"][-1].content == "3 so far"


# --- adopt_session --------------------------------------------------------------------------------


async def test_one_thread_is_adopted(chat: Chat, url: str, db: Connection) -> None:
    """A thread that names the user, or nobody, becomes theirs, titled by what was said or given."""
    await asyncio.to_thread(leave, url, {"hers": "alice", "nobody's": None, "other": None})
    before = langgraphs(db)
    session = await chat.session("adopt_session", "alice", "hers")
    assert (session.user_id, session.title) == ("alice", "Question hers")
    assert await chat.session("adopt_session", "alice", "hers", title="Again") == session
    named = await chat.session("adopt_session", "alice", "nobody's", title="Mine")
    assert named.title == "Mine"
    assert owners(db) == {"hers": "alice", "nobody's": "alice"}
    assert langgraphs(db) == before
    await chat.say("more", user_id="alice", thread_id="nobody's")
    assert (await chat.current()).title == "Mine"


async def test_what_is_anothers_is_not_adopted(chat: Chat, url: str, db: Connection) -> None:
    """A thread that names another, another's session, and no thread at all are not found."""
    await asyncio.to_thread(leave, url, {"his": "bob"})
    await chat.say("one", user_id="bob", thread_id="session")
    await chat.session("create_user_session", "bob", thread_id="empty")
    before = db.execute(SESSIONS).fetchall()
    for thread_id in ("his", "session", "empty", "nothing"):
        with pytest.raises(SessionNotFoundError):
            await chat.session("adopt_session", "alice", thread_id)
    assert db.execute(SESSIONS).fetchall() == before


async def test_a_nobodys_thread_that_became_anothers_session_is_not_adopted(
    chat: Chat, url: str, db: Connection
) -> None:
    """Whoever adopts nobody's thread first has it."""
    await asyncio.to_thread(leave, url, {"t": None})
    await chat.session("adopt_session", "bob", "t")
    with pytest.raises(SessionNotFoundError):
        await chat.session("adopt_session", "alice", "t")
    assert owners(db) == {"t": "bob"}


async def test_a_session_of_ones_own_without_a_word_is_returned(chat: Chat) -> None:
    """What is the user's session already is returned as it is, also before its first run."""
    session = await chat.session("create_user_session", "alice", thread_id="t")
    assert await chat.session("adopt_session", "alice", "t") == session
