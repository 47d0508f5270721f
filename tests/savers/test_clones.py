"""Copies, threads, event loops and forks of a saver: all correct, or refused with a clear error."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import copy
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions import AsyncSessionSaver, ConcurrentRunError, SessionSaver
from tests.embedded.test_embedded import folder, is_running, stream
from tests.servers import Server
from tests.support import Chat, config, graph_builder, psycopg_pool_options, until

__all__ = ["folder"]

SECONDS = 30  # What is longer hangs.
REFUSED = (
    "SessionError: this saver was opened before the process was forked, and connections cannot "
    "be shared with a parent: make, or first use, one in each worker"
)
ANOTHER_LOOP = "this saver belongs to another event loop"
ALLOWED = [("tests.savers.test_clones", "Something")]


def said(state: Any) -> int:
    """Return how many messages a state has."""
    return len(state["messages"])


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


# --- While the database is away ------------------------------------------------------------------


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that may be stopped."""
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


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


# --- Forks: programs, run in a process of their own ----------------------------------------------


class Talker:
    """A saver made before a fork, and what the parent and its children do with it."""

    def __init__(self, is_async: bool, kind: str, where: str) -> None:
        """Make it, and the caller's pool if that is the kind; nothing is opened."""
        self.loop = asyncio.new_event_loop() if is_async else None
        self.pool: Any = None
        conn: dict[str, Any] = {"path": where} if kind == "path" else {"conn": where}
        if kind == "pool":
            made: Any = AsyncConnectionPool if is_async else ConnectionPool
            self.pool = made(where, kwargs=psycopg_pool_options(), min_size=1, open=False)
            conn = {"conn": self.pool}

        async def make() -> AsyncSessionSaver:
            return AsyncSessionSaver(**conn, retry_for=0.2)

        self.saver: Any = self.run(make()) if is_async else SessionSaver(**conn, retry_for=0.2)
        self.graph = graph_builder().compile(checkpointer=self.saver)

    def run(self, result: Any) -> Any:
        """Return *result*, or what it comes to in the loop."""
        return result if self.loop is None else self.loop.run_until_complete(result)

    def open(self) -> None:
        """Open the caller's pool, if there is one and it is closed."""
        if self.pool is not None and self.pool.closed:
            self.run(self.pool.open())

    def say(self, user: str) -> int:
        """Run a turn of the user's; return how many messages there are then."""
        invoke = self.graph.invoke if self.loop is None else self.graph.ainvoke
        return said(self.run(invoke({"messages": ["hi"]}, config(user_id=user))))

    def close(self) -> None:
        """Close the saver, and the caller's pool."""
        self.run(self.saver.close())
        if self.pool is not None:
            self.run(self.pool.close())

    def child(self, user: str) -> str:
        """Be a child: two turns, in a loop of its own, and the end."""
        self.parents_loop = self.loop  # Not collected here.
        if self.loop is not None:
            self.loop = asyncio.new_event_loop()
        self.open()
        try:
            answer = f"{self.say(user)} {self.say(user)}"
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
            self.run(self.saver.close())
        else:
            self.close()
            assert self.saver.conn.closed
        return answer


def fork(function: Callable[[], str], way: str) -> Callable[[], str]:
    """Call *function* in a forked child; return what waits for its answer."""
    reader, writer = os.pipe()

    def report() -> None:
        try:
            answer = function()
        except BaseException as error:
            answer = f"the child failed: {type(error).__name__}: {error}"
        os.write(writer, answer.encode())

    if way == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=report)
        process.start()
        assert process.pid is not None
        pid = process.pid

        def ended() -> int | None:
            process.join()
            return process.exitcode

    else:
        pid = os.fork()

        def ended() -> int | None:
            return os.waitpid(pid, 0)[1]

        if pid == 0:
            report()
            if way == "os.fork":
                sys.exit(0)  # With all that a program does at its end.
            # All but the collection of the parent's event loop, which takes that from the parent:
            # its epoll is shared, epoll(7).
            atexit._run_exitfuncs()
            os._exit(0)
    os.close(writer)
    return lambda: _answer(pid, reader, ended)


def _answer(pid: int, reader: int, ended: Callable[[], int | None]) -> str:
    """Return a child's answer when it has ended, or that it hangs."""
    answered, _, _ = select.select([reader], [], [], SECONDS)
    answer = os.read(reader, 10_000).decode() if answered else "no answer"
    closed, _, _ = select.select([reader], [], [], SECONDS)  # Its end closes the pipe.
    if not closed:
        os.kill(pid, signal.SIGKILL)
        answer += ", and hangs"
    status = ended()
    os.close(reader)
    return answer if status == 0 else f"{answer}, and ended with {status}"


def family(is_async: bool, kind: str, opened: str, way: str, where: str) -> None:
    """Print what three workers, alive at once, and their parent came to."""
    talker = Talker(is_async, kind, where)
    before = []
    if opened != "unopened":
        talker.open()
    if opened == "used":
        before = [talker.say("parent")]
    children = [fork(lambda n=n: talker.child(f"child-{n}"), way) for n in range(3)]  # type: ignore[misc]
    talker.open()
    meanwhile = [talker.say("parent")]
    answers = [answer() for answer in children]
    print(json.dumps([answers, before + meanwhile + [talker.say("parent")]]), flush=True)
    talker.close()


def outage(is_async: bool, opened: str, way: str, where: str) -> None:
    """Print what a child, forked while the database is away, and its parent came to."""
    talker = Talker(is_async, "url", where)
    if opened == "used":
        talker.say("somebody")
    ask("stop")
    held = talker.say("parent")
    answer = fork(lambda: talker.child("parent"), way)()
    ask("start")
    durable = asyncio.to_thread if is_async else _call
    talker.run(durable(until, lambda: talker.saver.durable))
    print(json.dumps([answer, held, talker.say("parent")]), flush=True)
    talker.close()


def ask(what: str) -> None:
    """Have the test do something to the server."""
    print(what, flush=True)
    sys.stdin.readline()


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def opening(where: str) -> None:
    """Print what a child, forked while another thread opens the saver, came to."""
    saver = SessionSaver(where)
    with psycopg.connect(where) as blocker:
        blocker.execute("LOCK TABLE checkpoint_migrations")
        opener = threading.Thread(target=saver.sessions.count_sessions)
        opener.start()
        sql = "SELECT 1 FROM pg_locks WHERE NOT granted"
        with psycopg.connect(where, autocommit=True) as looker:
            until(lambda: looker.execute(sql).fetchone() is not None)

        def child() -> str:
            try:
                return str(saver.sessions.count_sessions())
            except Exception as error:
                return f"{type(error).__name__}: {error}"

        answer = fork(child, "os.fork and os._exit")()
        blocker.rollback()
        opener.join()
    print(json.dumps([answer, saver.sessions.count_sessions()]), flush=True)
    saver.close()


def from_threads(used: bool, where: str) -> None:
    """Print what the sync methods of an async saver came to in a child."""
    talker = Talker(True, "url", where)
    if used:
        talker.say("parent")

    def child() -> str:
        try:
            return str(talker.graph.invoke({"messages": ["hi"]}, config(user_id="child")))
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    answer = fork(child, "os.fork and os._exit")()
    print(json.dumps([answer, talker.say("parent")]), flush=True)
    talker.close()


@contextmanager
def program(call: str) -> Iterator[subprocess.Popen[str]]:
    """Run a function of this module in a new process; whatever it leaves is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"from tests.savers import test_clones; test_clones.{call}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def told(call: str, **may_ask: Callable[[], object]) -> Any:
    """Return what a function of this module prints, as JSON, in a process of its own."""
    with program(call) as process:
        for word, do in may_ask.items():
            assert stream(process.stdout).readline().strip() == word
            do()
            stream(process.stdin).write("done\n")
            stream(process.stdin).flush()
        out, err = process.communicate(timeout=2 * SECONDS)
        # A forking process with threads is warned of by Python 3.12.
        errors = [line for line in err.splitlines() if "DeprecationWarning" not in line]
        assert process.returncode == 0, err
        assert not [line for line in errors if "Error" in line], err
    return json.loads(out)


FORKS = pytest.mark.parametrize(
    ("is_async", "way"),
    [
        (False, "os.fork"),
        (True, "multiprocessing"),
        pytest.param(False, "multiprocessing", marks=pytest.mark.long),
        pytest.param(True, "os.fork and os._exit", marks=pytest.mark.long),
    ],
)
ENDS = pytest.mark.parametrize(
    ("is_async", "way"), [(False, "os.fork"), (True, "os.fork and os._exit")]
)


@FORKS
@pytest.mark.parametrize("kind", ["url", "pool"])
def test_a_saver_made_before_the_fork_works_in_every_child(
    url: str, db: psycopg.Connection[Any], is_async: bool, way: str, kind: str
) -> None:
    """First used after it, in three workers at once and in their parent, it serves them all."""
    children, parent = told(f"family({is_async}, {kind!r}, 'unopened', {way!r}, {url!r})")
    assert children == ["2 4"] * 3
    assert parent == [2, 4]
    assert len(db.execute("SELECT 1 FROM user_sessions").fetchall()) == 4


@FORKS
@pytest.mark.parametrize("kind", ["url", "pool"])
def test_a_saver_used_before_the_fork_is_refused_in_every_child(
    url: str, db: psycopg.Connection[Any], is_async: bool, way: str, kind: str
) -> None:
    """The children are told what to do, close it and end; the parent goes on, unharmed."""
    children, parent = told(f"family({is_async}, {kind!r}, 'used', {way!r}, {url!r})")
    assert children == [REFUSED] * 3
    assert parent == [2, 4, 6]
    assert len(db.execute("SELECT 1 FROM user_sessions").fetchall()) == 1


@ENDS
def test_a_pool_opened_before_the_fork_is_refused_in_every_child(
    url: str, is_async: bool, way: str
) -> None:
    """So is a saver not yet used, whose pool, given closed, the parent opened."""
    children, parent = told(f"family({is_async}, 'pool', 'opened', {way!r}, {url!r})")
    assert children == [REFUSED] * 3
    assert parent == [2, 4]


@ENDS
def test_the_embedded_server_is_found_by_every_child(
    folder: Path, is_async: bool, way: str
) -> None:
    """Made before the fork, children and parent share one server, which ends with the last."""
    call = f"family({is_async}, 'path', 'unopened', {way!r}, {str(folder)!r})"
    children, parent = told(call)
    assert children == ["2 4"] * 3
    assert parent == [2, 4]
    until(lambda: not is_running(folder))


@ENDS
def test_a_childs_end_leaves_the_parents_embedded_server(
    folder: Path, is_async: bool, way: str
) -> None:
    """Used before the fork, children are refused, and their end stops no server."""
    children, parent = told(f"family({is_async}, 'path', 'used', {way!r}, {str(folder)!r})")
    assert children == [REFUSED] * 3
    assert parent == [2, 4, 6]
    until(lambda: not is_running(folder))


@FORKS
@pytest.mark.parametrize("opened", ["unopened", "used"])
def test_a_fork_while_the_database_is_away_is_refused(
    own_server: Server, is_async: bool, way: str, opened: str
) -> None:
    """A child has nothing to write to the database what it would hold; the parent writes all."""
    call = f"outage({is_async}, {opened!r}, {way!r}, {own_server.conninfo!r})"
    answer, held, later = told(call, stop=own_server.stop, start=own_server.start)
    assert answer == REFUSED
    assert (held, later) == (2, 4)


def test_a_fork_while_another_thread_opens_is_refused(url: str) -> None:
    """The child does not wait for a lock that no thread of its own will ever free."""
    assert told(f"opening({url!r})") == [REFUSED, 0]


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_the_sync_methods_of_an_async_saver_are_refused_in_a_child(url: str, used: bool) -> None:
    """Its loop is the parent's: no thread of the child runs that, to be waited for."""
    answer, parent = told(f"from_threads({used}, {url!r})")
    assert answer.startswith("SessionError: this saver was made before the process was forked")
    assert parent == (4 if used else 2)


def test_the_sync_methods_of_an_async_saver_know_that_its_loop_is_closed(url: str) -> None:
    """They say so, and leave no coroutine behind."""

    async def make() -> AsyncSessionSaver:
        return AsyncSessionSaver(url)

    saver = asyncio.run(make())
    with pytest.raises(RuntimeError, match="event loop that is closed"):
        saver.get_tuple(config(user_id="alice"))
