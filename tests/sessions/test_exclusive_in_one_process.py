"""`exclusive` within one process: who waits takes no connection, and stops nobody else."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from langgraph_sessions import AgentSessionManager, AsyncSessionSaver, SessionSaver
from langgraph_sessions.sessions.exclusive import MOST_HELD
from tests.sessions.at_a_time import Connection, connections, held, holder, in_line, waiting
from tests.support import PATIENCE, Chat, until

SIZE = 2
MANY = SIZE + 10


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Ctrl-C is heard: a shell's background job ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def manager(url: str) -> Iterator[AgentSessionManager]:
    """A manager with a small pool."""
    with SessionSaver(url, pool_size=SIZE) as saver:
        yield saver.sessions


async def test_who_waits_for_one_session_stops_nobody(url: str, db: Connection) -> None:
    """More waiters than the pool has connections: turns, and other sessions, go on at once."""
    async with AsyncSessionSaver(url, pool_size=SIZE) as saver:
        chat, sessions = Chat(saver), saver.sessions
        had: list[int] = []

        async def wait(number: int) -> None:
            async with sessions.exclusive("alice", "t"):
                had.append(number)

        async with sessions.exclusive("alice", "t"):
            tasks = []
            for number in range(MANY):
                tasks.append(asyncio.create_task(wait(number)))
                await asyncio.to_thread(until, lambda number=number: in_line() == number + 1)
            assert (connections(db), waiting(db)) == (1, 0)
            await chat.say("Hello", user_id="bob")
            await chat.say("Hello", user_id="alice", thread_id="t")
            async with (
                sessions.exclusive("alice", "another", timeout=PATIENCE),
                sessions.exclusive("bob", timeout=PATIENCE),
            ):
                assert connections(db) == 3
            with pytest.raises(TimeoutError, match="'t'"):
                async with sessions.exclusive("alice", "t", timeout=0.05):
                    raise AssertionError
            assert in_line() == MANY
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        assert had == [*range(MANY)]


async def test_tasks_that_are_cancelled_stand_in_line_no_more(url: str, db: Connection) -> None:
    """Whether they wait in the process or in the database; who is left gets the session."""
    async with AsyncSessionSaver(url, pool_size=SIZE) as saver:
        had: list[int] = []

        async def wait(number: int) -> None:
            async with saver.sessions.exclusive("alice"):
                had.append(number)

        with holder(url) as (_, told):
            held(told)
            tasks = [asyncio.create_task(wait(0))]
            await asyncio.to_thread(until, lambda: waiting(db) == 1)
            tasks += [asyncio.create_task(wait(number)) for number in range(1, 4)]
            await asyncio.to_thread(until, lambda: in_line() == 3)
            for task in tasks[:3]:
                task.cancel()
            await asyncio.wait(tasks[:3])
            await asyncio.to_thread(until, lambda: waiting(db) == 1)
            assert in_line() == 0
            told.send("go")
            await asyncio.wait_for(tasks[3], PATIENCE)
        assert had == [3]


@pytest.mark.usefixtures("_interruptible")
def test_who_is_interrupted_stands_in_line_no_more(manager: AgentSessionManager) -> None:
    """Ctrl-C ends the wait, and who comes after gets the session."""

    def interrupt() -> None:
        until(lambda: in_line() == 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with manager.exclusive("alice", "t"), ThreadPoolExecutor() as threads:
        interrupted = threads.submit(interrupt)
        with pytest.raises(KeyboardInterrupt), manager.exclusive("alice", "t"):
            raise AssertionError
        interrupted.result(PATIENCE)
        assert in_line() == 0
    with manager.exclusive("alice", "t", timeout=0):
        pass


def test_those_of_one_process_wait_for_another_by_one_connection(
    url: str, db: Connection, manager: AgentSessionManager
) -> None:
    """When that process is killed, all of them get the session, one after another."""
    had: list[int] = []
    with holder(url) as (process, told), ThreadPoolExecutor(4) as threads:
        thread_id = held(told)

        def wait(number: int) -> None:
            with manager.exclusive("alice", thread_id, timeout=PATIENCE):
                had.append(number)

        waits = [threads.submit(wait, number) for number in range(4)]
        until(lambda: in_line() == 3 and waiting(db) == 1)
        process.kill()
        for each in waits:
            each.result(PATIENCE)
    assert sorted(had) == [0, 1, 2, 3]


def test_managers_and_event_loops_of_one_process_stand_in_one_line(
    url: str, db: Connection, manager: AgentSessionManager
) -> None:
    """Sync and async, in loops of different threads: one connection, and each gets its turn."""
    had: list[str] = []

    async def wait() -> None:
        async with (
            AsyncSessionSaver(url) as saver,
            saver.sessions.exclusive("alice", "t", timeout=PATIENCE),
        ):
            had.append("async")

    def wait_too() -> None:
        with SessionSaver(url) as saver, saver.sessions.exclusive("alice", "t", timeout=PATIENCE):
            had.append("sync")

    with ThreadPoolExecutor(3) as threads:
        with manager.exclusive("alice", "t"):
            waits = [threads.submit(asyncio.run, wait()) for _ in range(2)]
            waits.append(threads.submit(wait_too))
            until(lambda: in_line() == 3)
            assert (connections(db), waiting(db)) == (1, 0)
        for each in waits:
            each.result(PATIENCE)
    assert sorted(had) == ["async", "async", "sync"]


def test_a_forked_child_frees_nothing_of_its_parents(
    db: Connection, manager: AgentSessionManager
) -> None:
    """One that leaves the block leaves the session with the parent, and its connection open."""
    with ExitStack() as block:
        block.enter_context(manager.exclusive("alice", "t"))
        if not (pid := os.fork()):
            block.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert connections(db) == 1
        with pytest.raises(TimeoutError), manager.exclusive("alice", "t", timeout=0):
            raise AssertionError


def test_no_user_has_all_connections(manager: AgentSessionManager, db: Connection) -> None:
    """Five of one user's sessions are had in a process; a sixth waits, another user does not."""
    with ExitStack() as stack, ExitStack() as last:
        for number in range(MOST_HELD - 1):
            stack.enter_context(manager.exclusive("alice", f"t{number}"))
        last.enter_context(manager.exclusive("alice", "last"))
        with pytest.raises(TimeoutError), manager.exclusive("alice", "one more", timeout=0.05):
            raise AssertionError
        with manager.exclusive("bob", "b", timeout=0):
            assert connections(db) == MOST_HELD + 1
        last.close()
        with manager.exclusive("alice", "one more", timeout=0):
            pass
    assert in_line() == 0
