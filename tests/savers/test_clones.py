"""Copies of a saver, and event loops: all correct, or refused with a clear error."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_sessions import AsyncSessionSaver, ConcurrentRunError, SessionSaver
from tests.families import SECONDS, said
from tests.servers import Server
from tests.support import Chat, config, graph_builder, until

ANOTHER_LOOP = "this saver belongs to another event loop"
ALLOWED = [("tests.savers.test_clones", "Something")]


# --- Copies --------------------------------------------------------------------------------------


@pytest.fixture(params=["sync", "async"])
async def strict(request: pytest.FixtureRequest, url: str) -> Any:
    """A chat whose saver LangGraph would make clones of."""
    serde = JsonPlusSerializer(allowed_msgpack_modules=None)
    if request.param == "sync":
        with SessionSaver(url, serde=serde) as saver:
            yield Chat(saver)
    else:
        async with AsyncSessionSaver(url, serde=serde) as twin:
            yield Chat(twin)


async def test_clones_continue_each_others_conversation(strict: Chat) -> None:
    """A saver, its `with_allowlist` clone and a clone of that go on with one session."""
    first: Any = strict.saver.with_allowlist(ALLOWED)
    chats = [strict, Chat(first), Chat(first.with_allowlist([("tests", "Another")]))]
    assert len({id(chat.saver) for chat in chats}) == 3
    assert len({id(chat.saver.serde) for chat in chats}) == 3
    for turn in range(6):
        answer = await chats[turn % 3].say(f"turn {turn}", user_id="alice")
        assert said(answer) == 2 * turn + 2
    assert len(await chats[1].sessions("alice")) == 1
    assert [await chat.session("get_session_count") for chat in chats] == [1, 1, 1]


async def test_a_clone_overtakes_as_any_saver_does(strict: Chat) -> None:
    """A run through a clone, beside one through its original, is noticed: one is refused."""
    other = Chat(strict.saver.with_allowlist(ALLOWED))
    await strict.say("one", user_id="alice")

    # In a context of its own, or LangGraph would take it for a subgraph of the run.
    async def meddle(state: Any) -> dict[str, Any]:
        two = other.say("two", user_id="alice")
        await asyncio.create_task(two, context=contextvars.Context())
        return {"messages": ["never saved"]}

    def meddle_in_thread(state: Any) -> dict[str, Any]:
        return asyncio.run(meddle(state))

    graph = strict.compile(graph_builder(meddle if strict.is_async else meddle_in_thread))
    given, who = {"messages": ["three"]}, config(user_id="alice")
    with pytest.raises(ConcurrentRunError):
        await strict.call(graph, "invoke", given, who, durability="sync")
    history = await strict.history(await strict.current())
    # The message was saved before the node ran, and the other run went on from there.
    assert history == ["one", "1 so far", "three", "two", "4 so far"]


def in_threads(*functions: Callable[[], Any]) -> list[Any]:
    """Call all the functions at once, in a thread each; return what they return."""
    at_once = threading.Barrier(len(functions))

    def call(function: Callable[[], Any]) -> Any:
        at_once.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [each.result(SECONDS) for each in [pool.submit(call, f) for f in functions]]


def test_copies_in_several_threads(url: str) -> None:
    """Eight threads, each with a copy of its own made at first use, keep all of their turns."""

    def talk(number: int) -> list[int]:
        graph = graph_builder().compile(checkpointer=copy.copy(saver))
        who = config(user_id=f"user-{number}")
        return [said(graph.invoke({"messages": ["hi"]}, who)) for _ in range(5)]

    with SessionSaver(url, pool_size=4) as saver:
        answers = in_threads(*(lambda n=n: talk(n) for n in range(8)))  # type: ignore[misc]
        assert answers == [[2, 4, 6, 8, 10]] * 8
        assert saver.sessions.count_sessions() == 8


def test_copies_of_the_sync_saver_in_several_event_loops(url: str) -> None:
    """Four loops in four threads await one sync saver's copies at once, and lose nothing."""

    async def talk(number: int) -> list[int]:
        graph = graph_builder().compile(checkpointer=copy.copy(saver))

        async def one(user: str) -> int:
            for _ in range(3):
                state = await graph.ainvoke({"messages": ["hi"]}, config(user_id=user))
            return said(state)

        return list(await asyncio.gather(*(one(f"{number}-{n}") for n in range(4))))

    with SessionSaver(url) as saver:
        loops = [lambda n=n: asyncio.run(talk(n)) for n in range(4)]  # type: ignore[misc]
        assert in_threads(*loops) == [[6] * 4] * 4


# --- A second event loop -------------------------------------------------------------------------

USES: dict[str, Callable[[AsyncSessionSaver], Awaitable[Any]]] = {
    "a run": lambda saver: (
        graph_builder()
        .compile(checkpointer=copy.copy(saver))
        .ainvoke({"messages": ["hi"]}, config(user_id="alice"))
    ),
    "a run without a user": lambda saver: (
        graph_builder()
        .compile(checkpointer=saver)
        .ainvoke({"messages": ["hi"]}, config(thread_id="plain"))
    ),
    "the manager": lambda saver: saver.sessions.count_sessions(),
    "setup": lambda saver: saver.setup(),
    "exclusive": lambda saver: saver.sessions.exclusive("alice").__aenter__(),
    "deletion": lambda saver: saver.adelete_for_runs(["x"]),
    "close": lambda saver: saver.close(),
}


def elsewhere(saver: AsyncSessionSaver, use: str) -> None:
    """Use *saver* from another event loop, in this thread: it must refuse."""

    async def main() -> None:
        async with asyncio.timeout(SECONDS):
            await USES[use](saver)

    with pytest.raises(RuntimeError, match=ANOTHER_LOOP):
        asyncio.run(main())


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("first", ["a run", pytest.param("setup", marks=pytest.mark.long)])
async def test_a_second_event_loop_is_refused(url: str, first: str, use: str) -> None:
    """Whatever another loop asks is a RuntimeError; the first goes on."""
    async with AsyncSessionSaver(url) as saver:
        await USES[first](saver)
        await asyncio.to_thread(elsewhere, saver, use)
        await USES["a run"](saver)
        session = await saver.sessions.get_current_user_session("alice")
        assert session.title == "hi"


@pytest.mark.parametrize("use", USES)
def test_after_its_event_loop_a_saver_is_refused(url: str, use: str) -> None:
    """`asyncio.run` a second time, with the first one's saver, is a RuntimeError, too."""

    async def main() -> AsyncSessionSaver:
        saver = AsyncSessionSaver(url)
        await USES["a run"](saver)
        return saver

    loop = asyncio.new_event_loop()
    saver = loop.run_until_complete(main())
    try:
        elsewhere(saver, use)
    finally:
        loop.run_until_complete(saver.close())
        loop.close()


def test_of_two_event_loops_at_once_one_is_served(url: str) -> None:
    """Two loops that use a new saver at the same moment: one has it, the other is refused."""

    async def make() -> AsyncSessionSaver:
        return AsyncSessionSaver(url)

    def use(saver: AsyncSessionSaver) -> str:
        async def main() -> str:
            async with asyncio.timeout(SECONDS):
                try:
                    await USES["a run"](saver)
                except RuntimeError as error:
                    return "refused" if ANOTHER_LOOP in str(error) else repr(error)
                at_once.wait()
                await saver.close()
                return "served"

        at_once = waits[id(saver)]
        answer = asyncio.run(main())
        if answer != "served":
            at_once.wait()
        return answer

    waits: dict[int, threading.Barrier] = {}
    for _ in range(5):
        saver = asyncio.run(make())
        waits[id(saver)] = threading.Barrier(2, timeout=SECONDS)
        answers = in_threads(lambda: use(saver), lambda: use(saver))  # noqa: B023
        assert sorted(answers) == ["refused", "served"]


def test_the_sync_methods_of_an_async_saver_know_that_its_loop_is_closed(url: str) -> None:
    """They say so, and leave no coroutine behind."""

    async def make() -> AsyncSessionSaver:
        return AsyncSessionSaver(url)

    saver = asyncio.run(make())
    with pytest.raises(RuntimeError, match="event loop that is closed"):
        saver.get_tuple(config(user_id="alice"))


# --- While the database is away ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SessionSaver, AsyncSessionSaver])
async def test_clones_share_an_outage(own_server: Server, kind: Any) -> None:
    """What one clone holds while the database is away, another goes on with; all is written."""
    serde = JsonPlusSerializer(allowed_msgpack_modules=None)
    saver = kind(own_server.conninfo, retry_for=0.2, serde=serde)
    chats = [Chat(saver), Chat(saver.with_allowlist(ALLOWED)), Chat(copy.copy(saver))]
    await chats[0].say("before", user_id="alice")
    own_server.stop()
    for turn, chat in enumerate(chats * 2):
        assert said(await chat.say(f"away {turn}", user_id="bob")) == 2 * turn + 2
    assert [chat.saver.durable for chat in chats] == [False] * 3
    own_server.start()
    await asyncio.to_thread(until, lambda: chats[1].saver.durable)
    assert said(await chats[2].say("after", user_id="bob")) == 14
    assert len(await chats[1].sessions("bob")) == 1
    await chats[0].call(saver, "get_tuple", config(user_id="bob"))
    if chats[0].is_async:
        await saver.close()
    else:
        saver.close()


@pytest.mark.parametrize("begins", ["away", "here"])
async def test_a_second_event_loop_is_refused_while_away(own_server: Server, begins: str) -> None:
    """What is held is the first loop's to write: another one gets RuntimeError, not a hang."""
    if begins == "away":
        own_server.stop()
    async with AsyncSessionSaver(own_server.conninfo, retry_for=0.2) as saver:
        if begins == "here":
            await saver.sessions.count_sessions()
            own_server.stop()
        await USES["a run"](saver)
        assert not saver.durable
        for use in ("a run", "the manager", "exclusive", "close"):
            await asyncio.to_thread(elsewhere, saver, use)
        own_server.start()
        await asyncio.to_thread(until, lambda: saver.durable)
        assert await saver.sessions.count_sessions() == 1
