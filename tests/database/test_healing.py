"""A connection that breaks, or a server that restarts, is replaced by a new one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions import AsyncSessionSaver, ConcurrentRunError, SessionError, SessionSaver
from langgraph_sessions.plans import vouched
from langgraph_sessions.sql.sessions import LockSession
from tests.servers import Server, terminate_backends, until
from tests.support import Chat, psycopg_pool_options, texts

WAYS = ["url", "pool", "from_conn_string", "from_conn_string pipeline"]
SIZE = 3  # Of pools: each of the connections is dead.


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def chatting(kind: str, url: str, way: str = "url") -> AsyncIterator[Chat]:
    """Talk to either saver, on connections that are opened in one of four ways."""
    size = {"min_size": SIZE, "max_size": SIZE, "kwargs": psycopg_pool_options()}
    pipeline = way.endswith("pipeline")
    async with AsyncExitStack() as stack:
        saver: SessionSaver | AsyncSessionSaver
        if kind == "async":
            aenter = stack.enter_async_context
            if way == "url":
                saver = await aenter(AsyncSessionSaver(url))
            elif way == "pool":
                pool = await aenter(AsyncConnectionPool(url, open=False, **size))
                saver = AsyncSessionSaver(pool)
            else:
                saver = await aenter(AsyncSessionSaver.from_conn_string(url, pipeline=pipeline))
        elif way == "url":
            saver = stack.enter_context(SessionSaver(url))
        elif way == "pool":
            saver = SessionSaver(stack.enter_context(ConnectionPool(url, open=False, **size)))
        else:
            saver = stack.enter_context(SessionSaver.from_conn_string(url, pipeline=pipeline))
        yield Chat(saver)


@pytest.mark.parametrize("way", WAYS)
async def test_backends_terminated_between_turns_are_not_noticed(
    kind: str, url: str, way: str
) -> None:
    """Every backend is terminated between two turns, three times: each next turn works."""
    async with chatting(kind, url, way) as chat:
        said = []
        for number in range(3):
            said += [f"turn {number}", f"{2 * number + 1} so far"]
            assert texts(await chat.say(f"turn {number}", user_id="alice")) == said
            assert await asyncio.to_thread(terminate_backends, url)
        assert chat.saver.durable


@pytest.mark.parametrize("way", WAYS[1::2])
async def test_backends_terminated_between_calls_are_not_noticed_by_the_manager(
    kind: str, url: str, way: str
) -> None:
    """Each kind of call finds a connection that works, also one that is not tried again."""
    async with chatting(kind, url, way) as chat:
        made = await chat.session("create_user_session", "alice")
        thread_id = made.thread_id
        calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
            (chat.session, ("create_user_session", "bob")),
            (chat.session, ("get_or_create_user_session", "alice")),
            (chat.session, ("get_session", "alice", thread_id)),
            (chat.session, ("update_session", "alice", {"title": "T"})),
            (chat.session, ("switch_session", "alice", thread_id)),
            (chat.session, ("list_sessions", "alice")),
            (chat.session, ("update_preferences", "alice", {"a": 1})),
            (chat.session, ("deactivate_session", "alice")),
            (chat.session, ("delete_session", "alice", thread_id)),
            (chat.session, ("delete_user", "bob")),
            (chat.call, (chat.saver, "delete_for_runs", ["run"])),
            (chat.call, (chat.saver, "delete_thread", "none")),
            (chat.call, (chat.saver, "copy_thread", "none", "other")),
        ]
        for call, arguments in calls:
            await chat.session("clear_memory_cache")
            assert await asyncio.to_thread(terminate_backends, url)
            await call(*arguments)
        assert await chat.sessions(None) == []


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize(
    "rounds", [3, pytest.param(50, marks=pytest.mark.long)], ids=["short", "long"]
)
async def test_a_backend_terminated_inside_a_turn_leaves_the_session_consistent(
    kind: str, url: str, durability: str, rounds: int
) -> None:
    """A turn whose connections die in each of its nodes completes; the next one works."""

    def node(name: str) -> Any:
        def say(state: MessagesState) -> dict[str, Any]:
            terminate_backends(url)
            return {"messages": [AIMessage(name)]}

        return say

    builder = StateGraph(MessagesState)
    for name in "abc":
        builder.add_node(name, node(name))
    builder.add_edge(START, "a").add_edge("a", "b").add_edge("b", "c")
    async with chatting(kind, url) as chat:
        graph = chat.compile(builder)
        said = []
        for number in range(rounds):
            who: Any = {"configurable": {"user_id": "alice"}}
            given = {"messages": [str(number)]}
            ended = await chat.call(graph, "invoke", given, who, durability=durability)
            said += [str(number), "a", "b", "c"]
            assert texts(ended) == said
        assert await chat.history(await chat.current()) == said
        assert len(await chat.sessions()) == 1


@pytest.mark.parametrize(
    "turns", [100, pytest.param(1000, marks=pytest.mark.long)], ids=["short", "long"]
)
async def test_backends_terminated_at_any_moment_lose_no_turn_that_succeeded(
    kind: str, url: str, turns: int
) -> None:
    """Backends die all the time: each turn completes or raises, and what completed is there."""
    done = asyncio.Event()

    async def reap() -> int:
        ended = 0
        while not done.is_set():
            ended += await asyncio.to_thread(terminate_backends, url)
        return ended

    async with chatting(kind, url) as chat:
        await chat.say("begin", user_id="alice")
        reaper = asyncio.create_task(reap())
        succeeded, raised = [], 0
        try:
            for number in range(turns):
                try:
                    ended = await chat.say(f"turn {number}", user_id="alice")
                except (psycopg.Error, ConcurrentRunError):
                    raised += 1
                else:
                    assert texts(ended)[-2] == f"turn {number}"
                    succeeded.append(f"turn {number}")
        finally:
            done.set()
            ended_backends = await reaper
        await until(lambda: chat.saver.durable)
        said = await chat.say("end", user_id="alice")
        found = [text for each in await chat.sessions() for text in await chat.history(each)]
        print(f"{kind}: {turns} turns, {raised} raised, {ended_backends} backends terminated")
        assert texts(said)[-2] == "end"
        assert [turn for turn in succeeded if found.count(turn) != 1] == []
        assert len(succeeded) > turns // 2


async def test_the_holder_of_a_session_whose_connection_is_killed_does_not_hang(
    kind: str, url: str
) -> None:
    """The block ends, and the session is free for the next one."""
    async with chatting(kind, url) as chat, asyncio.timeout(30):
        for _ in range(2):
            if chat.is_async:
                async with chat.saver.sessions.exclusive("alice", timeout=10) as session:
                    assert await asyncio.to_thread(terminate_backends, url)
                    await chat.say("held", user_id="alice", thread_id=session.thread_id)
            else:
                await asyncio.to_thread(_hold, chat, url)
        assert len(await chat.history(await chat.current())) == 4


def _hold(chat: Chat, url: str) -> None:
    with chat.saver.sessions.exclusive("alice", timeout=10) as session:
        assert terminate_backends(url)
        chat.graph.invoke({"messages": ["held"]}, session.config)


async def test_who_waits_for_a_session_and_is_killed_waits_again_or_raises(
    kind: str, url: str
) -> None:
    """A waiter's connection that dies does not make it believe that it holds the session."""
    async with chatting(kind, url) as chat, chatting(kind, url) as other, asyncio.timeout(30):
        session = await chat.session("create_user_session", "alice")
        holds = "SELECT FROM pg_stat_activity WHERE wait_event = 'advisory'"
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("BEGIN")
            lock = LockSession("public", "alice", session.thread_id)
            conn.execute(vouched(lock.sql), lock.params)
            waiter = asyncio.create_task(_enter(other))
            with psycopg.connect(url, autocommit=True) as admin:
                await until(lambda: admin.execute(holds).fetchall())
                ended = holds.replace("SELECT", "SELECT pg_terminate_backend(pid)")
                assert admin.execute(ended).fetchall() == [(True,)]
                await until(lambda: waiter.done() or admin.execute(holds).fetchall())
            assert not waiter.done() or waiter.exception() is not None
            conn.execute("ROLLBACK")
        try:
            await waiter
        except (psycopg.Error, SessionError):
            await _enter(other)


async def _enter(chat: Chat) -> None:
    block = chat.saver.sessions.exclusive("alice", timeout=20)
    if chat.is_async:
        async with block:
            return

    def enter() -> None:
        with block:
            return

    await asyncio.to_thread(enter)


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server that tests restart."""
    server = Server()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
async def talking(kind: str, own: Server) -> AsyncIterator[Chat]:
    """A conversation of one turn, on that server."""
    own.start()
    try:
        with own.database() as url:
            async with chatting(kind, url) as chat:
                await chat.say("one", user_id="alice")
                yield chat
    finally:
        own.stop()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
async def test_a_server_restarted_between_turns_is_not_noticed(
    talking: Chat, own: Server, how: signal.Signals
) -> None:
    """The next turn, and the next call of the manager, work without an error."""
    own.stop(how)
    own.start()
    said = await talking.say("two", user_id="alice")
    assert texts(said) == ["one", "1 so far", "two", "3 so far"]
    own.stop(how)
    own.start()
    assert (await talking.session("update_session", "alice", {"title": "T"})).title == "T"
    assert talking.saver.durable


async def test_a_server_that_comes_back_within_retry_for_is_waited_for(
    talking: Chat, own: Server
) -> None:
    """A turn that begins while the server is away ends in the database if that is soon back."""
    own.stop()
    turn = asyncio.create_task(talking.say("two", user_id="alice"))
    await until(lambda: not talking.saver._database._reached)
    await asyncio.to_thread(own.start)
    assert texts(await turn) == ["one", "1 so far", "two", "3 so far"]
    assert talking.saver.durable
