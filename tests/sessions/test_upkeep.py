"""What goes wrong only beside something else: a listing, a lock, a loop, a cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage

from langgraph_sessions import (
    AgentSessionManager,
    AsyncSessionSaver,
    SessionError,
    SessionNotFoundError,
    SessionSaver,
    get_session,
)
from langgraph_sessions.sql.saving import Beside, GuardThread
from tests.citus import waits
from tests.support import Chat, config, graph_builder, python

Connection = psycopg.Connection[Any]


def test_an_export_misses_no_session_that_is_used_meanwhile(url: str) -> None:
    """Sessions used while an export is read are in it, once each."""
    with closing(AgentSessionManager(url)) as manager:
        ids = {manager.create_user_session("alice").thread_id for _ in range(120)}
        seen = []
        for record in manager.export_user("alice"):
            seen.append(record["thread_id"])
            manager.switch_session("alice", next(iter(ids - set(seen)), seen[0]))
        assert sorted(seen) == sorted(ids)


async def test_a_titler_may_be_called_where_a_loop_runs(url: str) -> None:
    """As in Jupyter: the sync manager's titler works beside a running event loop."""
    with SessionSaver(url) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["hi"]}, config(user_id="alice"))
        session = saver.sessions.get_current_user_session("alice")
        saver.sessions.call_titler(lambda messages: "A title", session.thread_id)
        assert saver.sessions.get_current_user_session("alice").title == "A title"


@pytest.mark.parametrize("first", ["setup", "use"])
def test_newer_tables_are_left_alone_by_setup_too(url: str, db: Connection, first: str) -> None:
    """Neither setup() nor use accepts the tables of a newer version that broke with this one."""
    db.execute("INSERT INTO user_sessions_migrations (version, breaking) VALUES (99, TRUE)")
    with SessionSaver(url) as saver:
        call = saver.setup if first == "setup" else saver.sessions.count_sessions
        with pytest.raises(SessionError, match="newer"):
            call()


def test_closing_a_savers_manager_closes_nothing(url: str) -> None:
    """The pool is the saver's."""
    with SessionSaver(url) as saver:
        saver.sessions.close()
        assert saver.sessions.count_sessions() == 0


async def test_a_copy_is_as_its_source_and_never_current(chat: Chat) -> None:
    """The user goes on where they were; a copy of an inactive session is inactive, too."""
    await chat.say("hi", user_id="alice", thread_id="first")
    await chat.session("get_current_user_session", "alice")
    await chat.call(chat.saver, "copy_thread", "first", "second")
    current = await chat.session("get_current_user_session", "alice")
    assert current.thread_id == "first"
    assert [s.thread_id for s in await chat.sessions()] == ["first", "second"]
    await chat.session("deactivate_session", "alice")
    await chat.call(chat.saver, "copy_thread", "first", "third")
    assert await chat.sessions(active=True) == []
    fork = await chat.session("fork_session", "alice", "first")
    assert await chat.current() == fork


DELETIONS: dict[str, Callable[[SessionSaver], object]] = {
    "delete_session": lambda saver: saver.sessions.delete_session("alice", "t"),
    "delete_user": lambda saver: saver.sessions.delete_user("alice"),
    "delete_thread": lambda saver: saver.delete_thread("t"),
    "delete_for_runs": lambda saver: saver.delete_for_runs(["run"]),
}


SAVING = pytest.mark.parametrize("named", [True, False])


@SAVING
@pytest.mark.parametrize("deletion", DELETIONS)
def test_a_deletion_beside_a_save_waits_for_it(
    saver: SessionSaver, db: Connection, url: str, deletion: str, named: bool
) -> None:
    """A save, and a deletion of its session, lock the thread first: nothing is left behind."""
    with saving(saver, url, named=named) as save, ThreadPoolExecutor(1) as thread:
        deleted = thread.submit(DELETIONS[deletion], saver)
        while not waits(db):
            assert not deleted.done()
        save.execute(
            "INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, blob)"
            " SELECT thread_id, checkpoint_id, 'task', -3, '__interrupt__', ''"
            " FROM checkpoints LIMIT 1"
        )
        save.commit()
        deleted.result()
    assert saver.sessions.count_sessions() == 0
    for table in ("session_threads", "checkpoint_writes"):
        assert db.execute(f"SELECT 1 FROM {table}".encode()).fetchall() == []


@SAVING
def test_a_purge_waits_for_no_save(saver: SessionSaver, url: str, named: bool) -> None:
    """It leaves a session alone to which something is being saved, and the save goes on."""
    given: dict[str, Any] = {"active": True, "interrupted": True}
    with saving(saver, url, named=named) as save:
        assert saver.sessions.purge_sessions(**given) == {"purged": 0, "kept": 1}
        save.commit()
    assert saver.sessions.purge_sessions(**given) == {"purged": 1, "kept": 0}


@contextmanager
def saving(saver: SessionSaver, url: str, *, named: bool) -> Iterator[Connection]:
    """A save to alice's session that has locked the thread; other runs notice it if it is named."""
    run = config(user_id="alice", thread_id="t", run_id="run")
    graph_builder().compile(checkpointer=saver).invoke({"messages": ["hi"]}, run)
    guard = GuardThread(user_id="alice", thread_id="t", save="run.9", named=named)
    beside = Beside(guard, ())
    with psycopg.connect(url) as save:
        save.execute(beside.sql.encode(), beside.params)
        yield save


async def test_reading_the_history_of_a_user_without_sessions_makes_nothing(
    chat: Chat, db: Connection
) -> None:
    """A listing for a user who has no current session says so, and writes not one row."""
    with pytest.raises(SessionNotFoundError):
        await chat.call(chat.saver, "list", config(user_id="alice"))
    assert db.execute("SELECT 1 FROM session_reservations").fetchall() == []


async def test_adopting_what_is_the_users_already_returns_it(chat: Chat) -> None:
    """Also a session that nothing was said in."""
    made = await chat.session("create_user_session", "alice", "Empty")
    assert await chat.session("adopt_session", "alice", made.thread_id) == made
    for wrong in (5, ""):
        with pytest.raises((TypeError, ValueError), match="title"):
            await chat.session("adopt_session", "alice", made.thread_id, title=wrong)


def test_get_session_needs_a_runs_config() -> None:
    """Any other config is told so."""
    for given in ({}, config(thread_id="t"), config(user_id="alice", thread_id="t")):
        with pytest.raises(SessionNotFoundError):
            get_session(given)  # type: ignore[arg-type]


async def test_a_titler_of_the_async_saver_ends_with_close(url: str) -> None:
    """close() waits for a titler that is under way."""
    began = asyncio.Event()

    async def slow(messages: Any) -> str:
        began.set()
        await asyncio.sleep(0.05)
        return "Titled"

    async with AsyncSessionSaver(url, titler=slow) as saver:
        graph = graph_builder(lambda state: {"messages": [AIMessage("yes")]}).compile(
            checkpointer=saver
        )
        await graph.ainvoke({"messages": ["hi"]}, config(user_id="alice"))
        await began.wait()
    ended = python(
        "import sys; from langgraph_sessions import AgentSessionManager as M;"
        "m = M(sys.argv[1]); print(m.get_current_user_session('alice').title); m.close()",
        url,
    )
    assert (ended.stdout, ended.stderr) == ("Titled\n", "")
