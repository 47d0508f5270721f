"""Retention: what `purge_sessions` deletes, and what it leaves alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langgraph_sessions import AgentSessionManager
from tests.answering import FORKING
from tests.graphs import ask, chain, says
from tests.sessions.at_work import Blocking, under_way
from tests.sessions.contents import HISTORY, everything, stored
from tests.support import PATIENCE, Chat, config, graph_builder, pair, texts

Connection = psycopg.Connection[Any]

DAY = timedelta(days=1)

AGE: LiteralString = """
UPDATE checkpoints SET checkpoint = checkpoint || jsonb_build_object('ts', now() - %s)
WHERE thread_id = %s"""


def age(db: Connection, thread_id: str, *, idle: int = 0, old: int = 0) -> None:
    """Make a session as if it was last used *idle* days ago and created *old* days ago."""
    db.execute(AGE, [idle * DAY, thread_id])
    db.execute(
        "UPDATE user_sessions SET updated_at = now() - %s, created_at = now() - %s"
        " WHERE thread_id = %s",
        [idle * DAY, old * DAY, thread_id],
    )


async def left(chat: Chat) -> set[str]:
    """Return the threads that still have a session."""
    return {session.thread_id for session in await chat.sessions(None, limit=1000)}


async def five(chat: Chat, db: Connection) -> None:
    """Make five sessions of two users: a and b idle for long, c old, d inactive, e none of it."""
    for number, thread_id in enumerate("abcde"):
        user = ("alice", "bob")[number % 2]
        await chat.say("one", user_id=user, thread_id=thread_id)
    age(db, "a", idle=40, old=50)
    age(db, "b", idle=35, old=36)
    age(db, "c", idle=1, old=400)
    await chat.session("deactivate_session", "bob", thread_id="d")
    await chat.session("deactivate_session", "bob", thread_id="b")


async def unused(chat: Chat, db: Connection) -> None:
    """Make five sessions of which a and b were never used, and of c what was said is gone."""
    for thread_id in "abc":
        await chat.session("create_user_session", "alice", thread_id=thread_id)
    for thread_id in "cde":
        await chat.say("one", user_id="alice", thread_id=thread_id)
    age(db, "b", idle=40, old=50)
    age(db, "d", idle=40, old=50)
    for table in HISTORY:
        sql: Any = f"DELETE FROM {table} WHERE thread_id = 'c'"
        db.execute(sql)


UNUSED: list[tuple[dict[str, Any], str]] = [
    ({"unused": True}, "ab"),
    ({"unused": True, "older_than": DAY}, "b"),
    ({"unused": True, "idle_for": 100 * DAY}, ""),
    ({"unused": True, "active": False}, ""),
    ({"unused": False, "idle_for": DAY}, "d"),
    ({"unused": None, "idle_for": DAY}, "bd"),
]


@pytest.mark.parametrize(("conditions", "purged"), UNUSED, ids=repr)
async def test_sessions_in_which_nothing_was_ever_said_go(
    chat: Chat, db: Connection, conditions: dict[str, Any], purged: str
) -> None:
    """Those without a checkpoint, then and now, and no other; a dry run counts."""
    await unused(chat, db)
    counts = {"purged": len(purged), "kept": 0}
    given = {**conditions, "batch_size": 2}
    assert await chat.session("purge_sessions", **given, dry_run=True) == counts
    assert await left(chat) == set("abcde")
    assert await chat.session("purge_sessions", **given) == counts
    assert await left(chat) == set("abcde") - set(purged)


CONDITIONS: list[tuple[dict[str, Any], str]] = [
    ({"idle_for": 30 * DAY}, "ab"),
    ({"idle_for": 37 * DAY}, "a"),
    ({"older_than": 30 * DAY}, "abc"),
    ({"older_than": 300 * DAY}, "c"),
    ({"active": False}, "bd"),
    ({"active": True}, "ace"),
    ({"idle_for": 30 * DAY, "active": False}, "b"),
    ({"idle_for": 30 * DAY, "older_than": 40 * DAY}, "a"),
    ({"idle_for": timedelta(0)}, "abcde"),
    ({"idle_for": 1000 * DAY}, ""),
]


@pytest.mark.parametrize(("conditions", "purged"), CONDITIONS, ids=repr)
async def test_the_conditions_hold_together(
    chat: Chat, db: Connection, conditions: dict[str, Any], purged: str
) -> None:
    """Exactly the sessions that all conditions select go, with their threads; a dry run counts."""
    await five(chat, db)
    await chat.say("plain", thread_id="plain")
    before = everything(db)
    counts = {"purged": len(purged), "kept": 0}
    assert await chat.session("purge_sessions", **conditions, dry_run=True) == counts
    assert everything(db) == before
    kept = {name: stored(db, name) for name in ({*"abcde"} - {*purged} | {"plain"})}
    assert await chat.session("purge_sessions", **conditions) == counts
    assert await left(chat) == {*"abcde"} - {*purged}
    assert {name: stored(db, name) for name in kept} == kept
    assert all(stored(db, name) == {table: [] for table in HISTORY} for name in purged)
    assert await chat.session("purge_sessions", **conditions) == {"purged": 0, "kept": 0}


async def test_idle_time_counts_from_the_last_checkpoint(chat: Chat, db: Connection) -> None:
    """A session used long ago to which something was saved since is not idle, and stays."""
    for thread_id in ("a", "b"):
        await chat.say("one", user_id="alice", thread_id=thread_id)
        age(db, thread_id, idle=40, old=40)
    long_ago(db, "thread_id = 'b' AND metadata ->> 'step' = '1'", "1 day")
    for dry_run in (True, False):
        given = {"idle_for": 30 * DAY, "dry_run": dry_run}
        assert await chat.session("purge_sessions", **given) == {"purged": 1, "kept": 0}
    assert await left(chat) == {"b"}
    assert await chat.session("purge_sessions", older_than=30 * DAY) == {"purged": 1, "kept": 0}


async def test_a_purge_goes_in_batches_and_says_how_far_it_is(chat: Chat, db: Connection) -> None:
    """Progress is told after each batch, with the counts so far."""
    await five(chat, db)
    seen: list[dict[str, int]] = []
    counts = await chat.session(
        "purge_sessions",
        idle_for=timedelta(0),
        batch_size=2,
        on_progress=lambda so_far: seen.append(dict(so_far)),
    )
    assert counts == {"purged": 5, "kept": 0}
    assert [so_far["purged"] for so_far in seen] == [2, 4, 5]


async def test_a_stopped_purge_is_taken_up_again(chat: Chat, db: Connection) -> None:
    """What was purged before an error stays purged, and the next call does the rest."""
    await five(chat, db)

    def stop(counts: Any) -> None:
        raise InterruptedError

    given: dict[str, Any] = {"idle_for": timedelta(0), "batch_size": 2}
    with pytest.raises(InterruptedError):
        await chat.session("purge_sessions", **given, on_progress=stop)
    assert await left(chat) == {"c", "d", "e"}
    assert await chat.session("purge_sessions", **given) == {"purged": 3, "kept": 0}
    assert await left(chat) == set()


async def test_a_run_that_waits_is_kept_unless_asked_for(chat: Chat, db: Connection) -> None:
    """A session that waits at an interrupt is kept, in a subgraph, too, until that is asked."""
    graph = chat.compile(chain(ask=ask))
    outer = chat.compile(chain(inner=chain(once=says("Well?"), ask=ask).compile()))
    await chat.say("one", graph, user_id="alice", thread_id="waits")
    await chat.say("one", outer, user_id="alice", thread_id="waits inside")
    await chat.say("one", user_id="alice", thread_id="done")
    for thread_id in ("waits", "waits inside", "done"):
        age(db, thread_id, idle=40)
    for dry_run in (True, False):
        given = {"idle_for": 30 * DAY, "dry_run": dry_run}
        assert await chat.session("purge_sessions", **given) == {"purged": 1, "kept": 2}
    assert await left(chat) == {"waits", "waits inside"}
    resumed = await chat.call(
        graph, "invoke", Command(resume="so"), config(thread_id="waits", user_id="alice")
    )
    assert texts(resumed) == ["one", "You said so"]
    age(db, "waits", idle=40)
    given = {"idle_for": 30 * DAY, "interrupted": True}
    assert await chat.session("purge_sessions", **given) == {"purged": 2, "kept": 0}
    assert await left(chat) == set()


async def test_a_failed_run_does_not_keep_its_session(chat: Chat, db: Connection) -> None:
    """A session whose last run failed is as old as any other."""

    def fail(state: Any) -> Any:
        raise ZeroDivisionError

    graph = chat.compile(graph_builder(fail))
    with pytest.raises(ZeroDivisionError):
        await chat.say("one", graph, user_id="alice")
    age(db, (await chat.current()).thread_id, idle=40)
    assert (await chat.session("purge_sessions", idle_for=30 * DAY))["purged"] == 1


async def test_a_session_with_a_run_at_work_is_left_alone(chat: Chat, db: Connection) -> None:
    """A run that is in a node keeps its session, whatever its age, and ends well."""
    await chat.say("one", user_id="alice", thread_id="busy")
    await chat.say("one", user_id="bob", thread_id="quiet")
    async with under_way(chat, user_id="alice", thread_id="busy") as run:
        for thread_id in ("busy", "quiet"):
            age(db, thread_id, old=40)
        given = {"older_than": 30 * DAY, "active": True}
        for dry_run in (True, False):
            counts = await chat.session("purge_sessions", **given, dry_run=dry_run)
            assert counts == {"purged": 1, "kept": 1}
        assert await left(chat) == {"busy"}
    assert texts(await run)[-1] == "done"
    assert (await chat.session("purge_sessions", **given)) == {"purged": 1, "kept": 0}


async def test_a_first_run_at_work_keeps_its_session(chat: Chat, db: Connection) -> None:
    """So does a run that has just made its session."""
    async with under_way(chat, user_id="alice") as run:
        counts = await chat.session("purge_sessions", idle_for=timedelta(0))
        assert counts == {"purged": 0, "kept": 1}
    assert texts(await run)[-1] == "done"


async def test_a_session_that_is_being_saved_to_is_not_waited_for(
    chat: Chat, db: Connection
) -> None:
    """A session locked by a save is left alone at once."""
    await five(chat, db)
    with db.transaction():
        db.execute("SELECT 1 FROM session_threads WHERE thread_id = 'a' FOR NO KEY UPDATE")
        counts = await chat.session("purge_sessions", idle_for=30 * DAY)
        assert counts == {"purged": 1, "kept": 1}
    assert await left(chat) == {*"acde"}


async def test_a_session_that_is_being_changed_is_not_waited_for(
    chat: Chat, db: Connection
) -> None:
    """A session that somebody is about to reactivate is left alone, and is there afterwards."""
    await five(chat, db)
    with db.transaction():
        db.execute(
            "UPDATE user_sessions SET is_active = TRUE WHERE user_id = 'bob' AND thread_id = 'b'"
        )
        counts = await chat.session("purge_sessions", active=False)
        assert counts == {"purged": 1, "kept": 1}
    assert await left(chat) == {*"abce"}


STRAYS: list[tuple[dict[str, Any], str]] = [
    ({"idle_for": 30 * DAY}, "abc"),
    ({"unused": True, "older_than": 30 * DAY}, "a"),
    ({"unused": False, "older_than": 30 * DAY}, "bc"),
]


@pytest.mark.parametrize(("conditions", "purged"), STRAYS, ids=repr)
async def test_a_session_without_its_threads_row_goes_like_another(
    chat: Chat, db: Connection, conditions: dict[str, Any], purged: str
) -> None:
    """One that SQL of somebody's own made by half, with checkpoints or without, is looked at."""
    await chat.session("create_user_session", "alice", thread_id="a")
    for thread_id in "bc":
        await chat.say("one", user_id="alice", thread_id=thread_id)
    db.execute("DELETE FROM session_threads WHERE thread_id IN ('a', 'b')")
    for thread_id in "abc":
        age(db, thread_id, idle=40, old=50)
    counts = {"purged": len(purged), "kept": 0}
    assert await chat.session("purge_sessions", **conditions, dry_run=True) == counts
    assert await chat.session("purge_sessions", **conditions) == counts
    assert await left(chat) == set("abc") - set(purged)
    assert all(stored(db, name) == {table: [] for table in HISTORY} for name in purged)


def purge(url: str, start: Any, results: Any) -> None:
    """Purge, at the same moment as the others."""
    manager = AgentSessionManager(url)
    manager.count_sessions()
    start.wait()
    results.put(manager.purge_sessions(idle_for=30 * DAY, batch_size=7))
    manager.close()


def test_purges_at_once_neither_fail_nor_count_twice(url: str, db: Connection) -> None:
    """Four purges in four processes delete 400 sessions of 20 users between them, each once."""
    AgentSessionManager(url).count_sessions()
    db.execute("""
        INSERT INTO user_sessions (user_id, thread_id, title, updated_at)
        SELECT 'user' || i % 20, 't' || i, 'T', now() - interval '40 days'
        FROM generate_series(1, 400) AS i""")
    pair(db)
    db.execute("""
        INSERT INTO session_reservations (user_id, agent, thread_id)
        SELECT 'user' || i, '', 't' || (380 + i) FROM generate_series(0, 19) AS i""")
    start, results = FORKING.Barrier(4), FORKING.Queue()
    workers = [FORKING.Process(target=purge, args=(url, start, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    counts = [results.get(timeout=PATIENCE) for _ in workers]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sum(count["purged"] for count in counts) == 400
    assert db.execute("SELECT FROM user_sessions").fetchall() == []


ANSWERS = "SELECT 1 FROM checkpoint_writes WHERE channel = '__resume__'"


async def test_a_resumed_run_at_work_is_left_alone(chat: Chat, db: Connection) -> None:
    """A run that was answered and is at work again is in use, also where waiting ones may go."""
    node = Blocking()
    graph = chat.compile(chain(both=lambda state: (ask(state), node(state))[0]))
    await chat.say("one", graph, user_id="alice")
    session = await chat.current()
    answer = chat.call(graph, "invoke", Command(resume="so"), session.config, durability="sync")
    run = asyncio.create_task(answer)
    try:
        assert await asyncio.to_thread(node.entered.wait, PATIENCE)
        # LangGraph saves the answer beside the run, not before it.
        while not db.execute(ANSWERS).fetchall():  # noqa: ASYNC110 - the database tells no event
            await asyncio.sleep(0)
        given = {"active": True, "interrupted": True}
        assert await chat.session("purge_sessions", **given) == {"purged": 0, "kept": 1}
    finally:
        node.go_on.set()
        await asyncio.gather(run, return_exceptions=True)
    assert texts(await run) == ["one", "You said so"]


async def test_a_node_behind_several_is_a_run_at_work(chat: Chat, db: Connection) -> None:
    """A run in a node that waited for two others keeps its session; half a join keeps none."""
    node = Blocking()

    def joining(*first: str) -> Any:
        builder = StateGraph(MessagesState).add_node("a", says("a")).add_node("b", says("b"))
        builder.add_node("join", node).add_edge(["a", "b"], "join")
        for name in first:
            builder.add_edge(START, name)
        return chat.compile(builder)

    half, graph = joining("a"), joining("a", "b")
    await chat.say("one", half, user_id="bob")
    run = asyncio.create_task(chat.say("one", graph, user_id="alice"))
    try:
        assert await asyncio.to_thread(node.entered.wait, PATIENCE)
        while not db.execute(JOINED).fetchall():  # noqa: ASYNC110 - the database tells no event
            await asyncio.sleep(0)
        counts = await chat.session("purge_sessions", active=True, interrupted=True)
        assert counts == {"purged": 1, "kept": 1}
    finally:
        node.go_on.set()
        await asyncio.gather(run, return_exceptions=True)
    assert texts(await run) == ["one", "a", "b", "done"]
    assert (await chat.session("purge_sessions", active=True))["purged"] == 1


# Saved in the background: the checkpoint after both, whose join is full.
JOINED = """
SELECT FROM checkpoints
WHERE metadata ->> 'user_id' = 'alice' AND metadata ->> 'step' = '1'"""


def long_ago(db: Connection, where: LiteralString = "TRUE", age: LiteralString = "40 days") -> None:
    """Make checkpoints as if they were saved forty days ago, or at another *age*."""
    db.execute(
        "UPDATE checkpoints SET checkpoint = checkpoint"
        f" || jsonb_build_object('ts', now() - interval '{age}') WHERE " + where
    )


async def test_a_run_at_a_static_breakpoint_waits_for_a_day(chat: Chat, db: Connection) -> None:
    """It looks like one at work, or one that was stopped: nobody was asked for an answer."""
    graph = chat.compile(chain(first=says("a"), second=says("b")), interrupt_before=["second"])
    await chat.say("one", graph, user_id="alice")
    assert await chat.session("purge_sessions", active=True) == {"purged": 0, "kept": 1}
    long_ago(db)
    for dry_run in (True, False):
        counts = await chat.session("purge_sessions", active=True, dry_run=dry_run)
        assert counts == {"purged": 1, "kept": 0}


async def test_a_node_at_work_for_long_keeps_its_session(chat: Chat, db: Connection) -> None:
    """A run may be in a node for hours: its session is kept for a day."""
    async with under_way(chat, user_id="alice") as run:
        long_ago(db, age="23 hours")
        assert await chat.session("purge_sessions", active=True) == {"purged": 0, "kept": 1}
    assert texts(await run)[-1] == "done"


async def test_a_subgraph_at_work_is_a_run_at_work(chat: Chat, db: Connection) -> None:
    """What a subgraph saved within a day tells that the run is at work, too."""
    node = Blocking()
    graph = chat.compile(chain(inner=chain(first=says("a"), second=node).compile()))
    given = {"messages": ["one"]}
    run = asyncio.create_task(
        chat.call(graph, "invoke", given, config(user_id="alice"), durability="sync")
    )
    try:
        assert await asyncio.to_thread(node.entered.wait, PATIENCE)
        long_ago(db, "checkpoint_ns = ''")
        counts = await chat.session("purge_sessions", active=True, interrupted=True)
        assert counts == {"purged": 0, "kept": 1}
    finally:
        node.go_on.set()
        await asyncio.gather(run, return_exceptions=True)
    assert texts(await run)[-1] == "done"


async def test_a_branch_at_work_beside_one_that_asks_keeps_the_session(
    chat: Chat, db: Connection
) -> None:
    """Where one of two nodes asks and the other is at work, the run is."""
    node = Blocking()
    builder = StateGraph(MessagesState).add_node("ask", ask).add_node("works", node)
    graph = chat.compile(builder.add_edge(START, "ask").add_edge(START, "works"))
    run = asyncio.create_task(chat.say("one", graph, user_id="alice"))
    try:
        assert await asyncio.to_thread(node.entered.wait, PATIENCE)
        while not db.execute(ASKED).fetchall():  # noqa: ASYNC110 - the database tells no event
            await asyncio.sleep(0)
        given = {"active": True, "interrupted": True}
        assert await chat.session("purge_sessions", **given) == {"purged": 0, "kept": 1}
    finally:
        node.go_on.set()
        await asyncio.gather(run, return_exceptions=True)
    await run
    assert await chat.session("purge_sessions", **given) == {"purged": 1, "kept": 0}


ASKED = "SELECT FROM checkpoint_writes WHERE channel = '__interrupt__'"
