"""A process killed with -9 in the middle of its turns loses nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.postgres.base import MIGRATIONS
from langgraph.graph import START, MessagesState, StateGraph
from psycopg.conninfo import make_conninfo

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from langgraph_sessions.doctor import visit
from tests import isolation
from tests.support import PATIENCE, Chat, config, texts

Connection = psycopg.Connection[Any]

NODES = ("hear", "think", "answer")
WORKER = "a worker to be killed"  # What the server knows its connections by.
DURABILITIES = ("sync", "async", "exit")

# LangGraph is imported once, not by each process.
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload([__name__])


def builder() -> StateGraph[MessagesState, None, MessagesState, MessagesState]:
    """Return a graph of three nodes, each of which says something of the turn's message."""

    def says(name: str) -> Callable[[MessagesState], dict[str, Any]]:
        def node(state: MessagesState) -> dict[str, Any]:
            heard = [m.content for m in state["messages"] if m.type == "human"][-1]
            return {"messages": [AIMessage(f"{name} {heard}")]}

        return node

    built = StateGraph(MessagesState)
    built.add_sequence([(name, says(name)) for name in NODES])
    built.add_edge(START, NODES[0])
    return built


def said(text: str) -> list[str]:
    """Return what a whole turn adds to the history."""
    return [text, *(f"{name} {text}" for name in NODES)]


# --- The worker ----------------------------------------------------------------------------------


async def converse(chat: Chat, pipe: Pipe, begin: int) -> None:
    """Run turns for ever, in sessions that a run or the manager makes; acknowledge each."""
    graph = chat.compile(builder())
    for number in count(begin):
        durability = DURABILITIES[number % 3]
        how: dict[str, Any] = {"user_id": "alice"}
        if number % 5 == 0:
            how["new_session"] = True
        elif number % 7 == 0:
            await chat.session("create_user_session", "alice", f"Session {number}")
        given = (graph, "invoke", {"messages": [f"turn {number}"]}, config(**how))
        await chat.call(*given, durability=durability)
        pipe.send((number, (await chat.current()).thread_id))


def work(url: str, kind: str, pipe: Pipe, begin: int) -> None:
    """Be a worker."""

    async def sync() -> None:
        with SessionSaver(url, pool_size=2) as saver:
            await converse(Chat(saver), pipe, begin)

    async def native() -> None:
        async with AsyncSessionSaver(url, pool_size=2) as saver:
            await converse(Chat(saver), pipe, begin)

    asyncio.run(sync() if kind == "sync" else native())


def killed(
    url: str, kind: str, begin: int, after: float, *, talking: bool
) -> list[tuple[int, str]]:
    """Have a worker run turns, kill it that many seconds later; return what it acknowledged.

    The seconds count from its first turn if it is to be *talking* by then, else from its start.
    """
    ours, theirs = FORKING.Pipe(duplex=False)
    process = FORKING.Process(target=work, args=(url, kind, theirs, begin))
    process.start()
    theirs.close()
    acknowledged = []
    try:
        assert not talking or ours.poll(PATIENCE)
        until = time.monotonic() + after
        while ours.poll(max(0.0, until - time.monotonic())):
            if time.monotonic() > until:
                break
            acknowledged.append(ours.recv())
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -9  # It was at work until then.
    while ours.poll():  # What was said before, and not yet heard.
        try:
            acknowledged.append(ours.recv())
        except EOFError:
            break
    process.close()
    ours.close()
    return acknowledged


# --- What is left of it --------------------------------------------------------------------------

BACKENDS = (
    "SELECT FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
)
# Whatever the checkpoints and the sessions say that the other does not.
DISAGREEMENTS = """
WITH user_sessions AS MATERIALIZED (SELECT * FROM user_sessions),
checkpoints AS MATERIALIZED (SELECT * FROM checkpoints),
checkpoint_blobs AS MATERIALIZED (SELECT * FROM checkpoint_blobs),
checkpoint_writes AS MATERIALIZED (SELECT * FROM checkpoint_writes)
SELECT 'a checkpoint without its session' AS what, c.thread_id
FROM checkpoints AS c LEFT JOIN user_sessions AS s USING (thread_id)
WHERE s.user_id IS DISTINCT FROM c.metadata ->> 'user_id'
UNION ALL
SELECT 'a session of a run without a checkpoint', thread_id
FROM user_sessions WHERE title_source = 'message'
AND NOT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.thread_id = user_sessions.thread_id)
UNION ALL
SELECT 'a checkpoint without its parent', thread_id
FROM checkpoints AS c WHERE parent_checkpoint_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM checkpoints AS p WHERE p.thread_id = c.thread_id
    AND p.checkpoint_ns = c.checkpoint_ns AND p.checkpoint_id = c.parent_checkpoint_id)
UNION ALL
SELECT 'a checkpoint without its messages', thread_id
FROM checkpoints AS c WHERE checkpoint -> 'channel_versions' ? 'messages' AND NOT EXISTS (
    SELECT 1 FROM checkpoint_blobs AS b WHERE b.thread_id = c.thread_id
    AND b.checkpoint_ns = c.checkpoint_ns AND b.channel = 'messages'
    AND b.version = c.checkpoint -> 'channel_versions' ->> 'messages')
UNION ALL
SELECT 'messages without a checkpoint', thread_id
FROM checkpoint_blobs AS b WHERE NOT EXISTS (
    SELECT 1 FROM checkpoints AS c WHERE c.thread_id = b.thread_id
    AND c.checkpoint_ns = b.checkpoint_ns
    AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version)
UNION ALL
SELECT 'writes without a checkpoint', thread_id
FROM checkpoint_writes AS w WHERE NOT EXISTS (
    SELECT 1 FROM user_sessions AS s WHERE s.thread_id = w.thread_id)"""


def gone(db: Connection) -> None:
    """Wait until the server has noticed that the worker is gone."""
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE
    while db.execute(BACKENDS, [WORKER]).fetchall():
        assert time.monotonic() < deadline
        pause.wait(0.005)


def resume(url: str, histories: dict[str, list[str]]) -> list[int]:
    """Go on where the worker stopped; return the turns that it had begun, and not acknowledged.

    *histories* is what was acknowledged before, by thread, and is brought up to date.
    """
    more = []
    with SessionSaver(url) as saver:
        graph = builder().compile(checkpointer=saver)
        for session in saver.sessions.list_sessions("alice"):  # The last ones used.
            state = graph.get_state(session.config)
            before = texts(state)
            if state.tasks:  # `next` leaves out those that are done, and were not gone on from.
                graph.invoke(None, session.config)
            history = texts(graph.get_state(session.config))
            known = histories.get(session.thread_id, [])
            assert history[: len(known)] == known
            assert history[: len(before)] == before
            if rest := history[len(known) :]:  # It was saved, and the worker had not yet said so.
                assert rest == said(rest[0])
                more.append(int(rest[0].removeprefix("turn ")))
            histories[session.thread_id] = history
    assert len(more) <= 1
    return more


def stored(url: str, thread_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the texts of these threads of alice's."""
    with SessionSaver(url) as saver:
        graph = builder().compile(checkpointer=saver)
        found = (saver.sessions.get_session("alice", thread_id) for thread_id in thread_ids)
        return {each.thread_id: texts(graph.get_state(each.config)) for each in found}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    "kills", [10, pytest.param(200, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_a_killed_worker_loses_no_acknowledged_turn(
    url: str, db: Connection, kind: str, kills: int
) -> None:
    """After each kill the doctor finds nothing, rows agree, and every session goes on, whole."""
    seed = random.randrange(2**32)
    chosen = random.Random(seed)
    histories: dict[str, list[str]] = {}
    turns = cut = silent = 0
    begin = 1
    worker = make_conninfo(url, application_name=WORKER)
    for kill in range(kills):
        after = chosen.uniform(0.05, 0.6)
        acknowledged = killed(worker, kind, begin, after, talking=kill % 2 == 1)
        gone(db)
        found = isolation.unasked(visit.visit(url, MIGRATIONS))
        assert [each for each in found if each.is_problem] == []
        assert db.execute(DISAGREEMENTS).fetchall() == []
        for number, thread_id in acknowledged:
            histories.setdefault(thread_id, []).extend(said(f"turn {number}"))
        more = resume(url, histories)
        begin = max([begin - 1, *(number for number, _ in acknowledged), *more]) + 1
        turns += len(acknowledged)
        cut += len(more)
        silent += not acknowledged
    print(
        f"{kind}, seed {seed}: {kills} kills, {turns} turns acknowledged, none lost; {cut} kills "
        f"in a turn that was saved in part and went on, {silent} before the first"
    )
    assert turns
    assert stored(url, histories) == histories
