"""Runs of one session at once: none that reports success loses a word, over processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.types import Command, interrupt

from langgraph_sessions import (
    AsyncSessionSaver,
    ConcurrentRunError,
    Session,
    SessionNotFoundError,
    SessionSaver,
)
from tests.support import (
    PATIENCE,
    Chat,
    asking,
    config,
    graph_builder,
    in_one_moment,
    texts,
    until,
)

Connection = psycopg.Connection[Any]

WORKERS, RUNS_EACH = 4, 4
ROUNDS = pytest.mark.parametrize(
    "rounds", [3, pytest.param(100, marks=pytest.mark.long)], ids=["short", "long"]
)
SAVERS = pytest.mark.parametrize("kind", ["sync", "async"])

# LangGraph is imported once, not by each process.
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload([__name__])

DONE, REFUSED = "done", "refused"
Outcomes = dict[str, str]


# --- 16 runs at once, over processes -------------------------------------------------------------


def answer(state: MessagesState) -> dict[str, Any]:
    """Answer the last message."""
    return {"messages": [AIMessage(f"re {state['messages'][-1].content}")]}


def answering() -> StateGraph[MessagesState, None, MessagesState, MessagesState]:
    """Return a graph of two nodes, the first of which answers."""
    builder = graph_builder(answer)
    builder.add_node("think", lambda state: {})
    builder.add_edge("node", "think")
    return builder


def said(worker: int, number: int) -> list[str]:
    """Return what a worker says in a round, each in a run of its own."""
    return [f"{number}.{worker}.{run}" for run in range(RUNS_EACH)]


def sync_share(url: str, mode: str, rounds: int, worker: int, start: Any) -> Outcomes:
    """Start a worker's runs at once, in threads, in every round."""
    outcomes = Outcomes()
    with ExitStack() as stack:
        runs = "allow" if mode == "allow" else "reject"
        saver = stack.enter_context(SessionSaver(url, pool_size=RUNS_EACH, concurrent_runs=runs))
        pool = stack.enter_context(ThreadPoolExecutor(RUNS_EACH))
        graph = answering().compile(checkpointer=saver)
        saver.sessions.count_sessions()

        def run(user: str, text: str) -> None:
            with ExitStack() as turn:
                if mode == "exclusive":
                    turn.enter_context(saver.sessions.exclusive(user))
                try:
                    graph.invoke({"messages": [text]}, config(user_id=user))
                except ConcurrentRunError:
                    outcomes[text] = REFUSED
                else:
                    outcomes[text] = DONE

        for number in range(rounds):
            start.wait(PATIENCE)
            list(pool.map(run, [f"user-{number}"] * RUNS_EACH, said(worker, number)))
    return outcomes


async def async_share(url: str, mode: str, rounds: int, worker: int, start: Any) -> Outcomes:
    """Start a worker's runs at once, as coroutines, in every round."""
    outcomes = Outcomes()
    runs = "allow" if mode == "allow" else "reject"
    async with AsyncSessionSaver(url, pool_size=RUNS_EACH, concurrent_runs=runs) as saver:
        graph = answering().compile(checkpointer=saver)
        await saver.sessions.count_sessions()

        async def run(user: str, text: str) -> None:
            async with AsyncExitStack() as turn:
                if mode == "exclusive":
                    await turn.enter_async_context(saver.sessions.exclusive(user))
                try:
                    await graph.ainvoke({"messages": [text]}, config(user_id=user))
                except ConcurrentRunError:
                    outcomes[text] = REFUSED
                else:
                    outcomes[text] = DONE

        for number in range(rounds):
            await asyncio.to_thread(start.wait, PATIENCE)
            await asyncio.gather(*(run(f"user-{number}", text) for text in said(worker, number)))
    return outcomes


class Worker:
    """What a worker process knows from its start: where all of them begin a round."""

    start: Any

    @classmethod
    def begin(cls, start: Any) -> None:
        cls.start = start


def share(kind: str, *args: Any) -> Outcomes:
    """Do a worker's part; if it fails, the others do not wait for it."""
    try:
        if kind == "sync":
            return sync_share(*args, Worker.start)
        return asyncio.run(async_share(*args, Worker.start))
    except BaseException:
        Worker.start.abort()
        raise


Compete = Callable[..., Outcomes]


@pytest.fixture(scope="module")
def compete() -> Iterator[Compete]:
    """A function that has every worker process do its share, and returns all outcomes."""
    start = FORKING.Barrier(WORKERS)
    with ProcessPoolExecutor(WORKERS, FORKING, Worker.begin, (start,)) as pool:

        def together(kind: str, url: str, mode: str, rounds: int) -> Outcomes:
            start.reset()
            shares = [
                pool.submit(share, kind, url, mode, rounds, worker) for worker in range(WORKERS)
            ]
            return {text: how for share in shares for text, how in share.result().items()}

        yield together


def begun(url: str, rounds: int) -> None:
    """Say something in every second round's session, so that it is not the runs' to make."""
    with SessionSaver(url) as saver:
        graph = answering().compile(checkpointer=saver)
        for number in range(0, rounds, 2):
            graph.invoke({"messages": ["first"]}, config(user_id=f"user-{number}"))


def histories(url: str, rounds: int) -> list[list[str]]:
    """Return the texts of every round's session."""
    with SessionSaver(url) as saver:
        graph = answering().compile(checkpointer=saver)
        found = []
        for number in range(rounds):
            (session,) = saver.sessions.list_sessions(f"user-{number}")
            found.append(texts(graph.get_state(session.config)))
        return found


def in_round(number: int, outcomes: Outcomes, how: str) -> list[str]:
    """Return what was said in a round by the runs that ended so."""
    return [text for text in outcomes if text.startswith(f"{number}.") and outcomes[text] == how]


@SAVERS
@ROUNDS
def test_with_reject_a_run_that_succeeds_is_kept_and_any_other_raises(
    url: str, compete: Compete, kind: str, rounds: int
) -> None:
    """Of 16 runs at once some succeed, and the history is theirs alone, every word once."""
    begun(url, rounds)
    outcomes = compete(kind, url, "reject", rounds)
    assert len(outcomes) == rounds * WORKERS * RUNS_EACH
    for number, history in enumerate(histories(url, rounds)):
        kept, refused = (in_round(number, outcomes, how) for how in (DONE, REFUSED))
        assert kept
        counts = Counter(history)
        assert {text: counts[text] for text in kept} == dict.fromkeys(kept, 1)
        assert {text: counts[f"re {text}"] for text in kept} == dict.fromkeys(kept, 1)
        left = [text for text in refused if counts[text]]
        print(f"round {number}: {len(kept)} succeeded, {len(left)} refused ones left a message")


@SAVERS
@ROUNDS
def test_with_exclusive_all_runs_succeed(
    url: str, compete: Compete, kind: str, rounds: int
) -> None:
    """16 runs that ask for the session all have it, one after another, and all is kept."""
    begun(url, rounds)
    outcomes = compete(kind, url, "exclusive", rounds)
    for number, history in enumerate(histories(url, rounds)):
        kept = in_round(number, outcomes, DONE)
        assert len(kept) == WORKERS * RUNS_EACH
        turns = list(zip(history[::2], history[1::2], strict=True))
        expected = [*(["first"] if number % 2 == 0 else []), *kept]
        assert sorted(turns) == sorted((text, f"re {text}") for text in expected)


@SAVERS
@ROUNDS
def test_with_allow_no_run_raises(url: str, compete: Compete, kind: str, rounds: int) -> None:
    """As in plain LangGraph all 16 runs report success, and one of them has the last word."""
    begun(url, rounds)
    outcomes = compete(kind, url, "allow", rounds)
    assert Counter(outcomes.values()) == {DONE: rounds * WORKERS * RUNS_EACH}
    for number, history in enumerate(histories(url, rounds)):
        assert {text.removeprefix("re ") for text in history} & set(
            in_round(number, outcomes, DONE)
        )


# --- One run that another overtakes --------------------------------------------------------------


def late_graph(chat: Chat, overtake: Callable[[], object]) -> Any:
    """Return a graph whose run calls *overtake*, once, when it has loaded and not yet saved.

    It is told that it is late, by a word: a reducer sees the input before anything is saved.
    """
    overtakes = iter([overtake])

    def reduce(left: Any, right: Any) -> Any:
        if right == ["late"]:
            next(overtakes, bool)()
        return add_messages(left, right)

    state: Any = TypedDict("state", {"messages": Annotated[list[Any], reduce]})  # type: ignore[misc]
    builder: Any = StateGraph(state)
    builder.add_node("node", lambda state: answer(state))
    builder.add_edge(START, "node")
    return chat.compile(builder)


def apart(url: str, *said: str, user_id: str = "alice") -> None:
    """Run turns with another saver, in a thread, out of whatever run this is called in."""

    def talk() -> None:
        with SessionSaver(url) as saver:
            graph = answering().compile(checkpointer=saver)
            for text in said:
                graph.invoke({"messages": [text]}, config(user_id=user_id))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(talk).result(PATIENCE)


def rows(db: Connection) -> list[list[str]]:
    """Return all that is saved."""
    tables = ("checkpoints", "checkpoint_blobs", "user_sessions")
    statements = [f"SELECT t::text AS row FROM {table} AS t ORDER BY 1" for table in tables]
    return [[row["row"] for row in db.execute(statement)] for statement in statements]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("before", [(), ("first",)], ids=["new session", "known session"])
async def test_a_refused_run_changes_nothing(
    chat: Chat, url: str, db: Connection, before: tuple[str, ...], durability: str
) -> None:
    """A run that another one overtook raises, every row stays as it is, and it can be run again."""
    apart(url, *before)
    saved: list[Any] = []
    graph = late_graph(chat, lambda: (apart(url, "early"), saved.append(rows(db))))
    late = (graph, "invoke", {"messages": ["late"]}, config(user_id="alice", title="Late"))
    with pytest.raises(ConcurrentRunError):
        await chat.call(*late, durability=durability)
    assert [rows(db)] == saved
    await chat.call(*late, durability=durability)
    expected = [word for text in (*before, "early", "late") for word in (text, f"re {text}")]
    assert await chat.history(await chat.current()) == expected


async def test_with_allow_the_later_branch_hides_the_earlier(url: str) -> None:
    """As in plain LangGraph, a run that another overtook goes on, without the other's words."""
    with SessionSaver(url, concurrent_runs="allow") as saver:
        chat = Chat(saver)
        graph = late_graph(chat, lambda: apart(url, "early"))
        await chat.say("late", graph, user_id="alice")
        assert await chat.history(await chat.current()) == ["late", "re late"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_run_overtaken_in_its_midst_raises(chat: Chat, url: str, durability: str) -> None:
    """A run that another passes while a node is at work raises, and the other's words are kept."""

    def overtaken(state: MessagesState) -> dict[str, Any]:
        apart(url, "early")
        return {"messages": [AIMessage("too late")]}

    graph = chat.compile(graph_builder(overtaken))
    late = (graph, "invoke", {"messages": ["late"]}, config(user_id="alice"))
    with pytest.raises(ConcurrentRunError):
        await chat.call(*late, durability=durability)
    history = await chat.history(await chat.current())
    assert history[-2:] == ["early", "re early"]
    assert "too late" not in history


async def test_what_a_run_saved_before_it_was_overtaken_is_kept(chat: Chat, url: str) -> None:
    """Who overtakes a run started from what that had saved, and so has read it."""
    graph = chat.compile(graph_builder(lambda state: apart(url, "early")))
    late = (graph, "invoke", {"messages": ["late"]}, config(user_id="alice"))
    with pytest.raises(ConcurrentRunError):
        await chat.call(*late, durability="sync")
    assert await chat.history(await chat.current()) == ["late", "early", "re early"]


def remembering(together: threading.Barrier) -> Any:
    """Return a graph with a subgraph that remembers, in which runs meet that say "yes" or "no"."""

    def recall(state: Any) -> dict[str, Any]:
        heard = state["messages"][-1].content
        if heard in ("yes", "no"):
            together.wait(PATIENCE)
        seen = [*state.get("seen", []), heard]
        return {"seen": seen, "messages": [AIMessage(f"seen {seen}")]}

    fields = {"messages": Annotated[list[Any], add_messages], "seen": list[str]}
    builder: Any = StateGraph(TypedDict("state", fields))  # type: ignore[operator,arg-type]
    builder.add_node("recall", recall)
    builder.add_edge(START, "recall")
    return graph_builder(builder.compile(checkpointer=True))


@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_a_refused_run_leaves_nothing_in_a_subgraphs_memory(
    chat: Chat, durability: str
) -> None:
    """What a subgraph remembers is of the runs that succeeded alone.

    Which of two runs saves first is chance, so there are ten pairs.
    """
    graph = chat.compile(remembering(threading.Barrier(2)))
    for pair in range(10):
        who = config(user_id=f"user-{pair}")
        await chat.call(graph, "invoke", {"messages": ["first"]}, who)
        runs = (
            chat.call(graph, "invoke", {"messages": [text]}, who, durability=durability)
            for text in ("yes", "no")
        )
        outcomes = await asyncio.gather(*runs, return_exceptions=True)
        (kept,) = (texts(each)[-2] for each in outcomes if isinstance(each, dict))
        last = await chat.call(graph, "invoke", {"messages": ["last"]}, who)
        assert texts(last)[-1] == f"seen {['first', kept, 'last']}"


# --- Answers given twice -------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("below", [False, True], ids=["node", "subgraph"])
@pytest.mark.parametrize("addressed", [False, True], ids=["session", "checkpoint"])
async def test_of_two_answers_at_once_one_is_taken(
    chat: Chat, below: bool, addressed: bool, durability: str
) -> None:
    """A double-clicked answer succeeds once and raises once; the history has the one it took."""
    graph = chat.compile(asking(together=threading.Barrier(2), below=below))
    await chat.say("Hello", graph, user_id="alice")
    answers = [Command(resume="yes"), Command(resume="no")]
    waits = (await chat.call(graph, "get_state", (await chat.current()).config)).config
    where = waits if addressed else None
    outcomes = await in_one_moment(chat, graph, answers, durability, where)
    assert [type(each) for each in outcomes].count(ConcurrentRunError) == 1, outcomes
    (taken,) = (texts(each) for each in outcomes if isinstance(each, dict))
    assert taken in (["Hello", "You said yes"], ["Hello", "You said no"])
    session = await chat.current()
    assert await chat.history(session) == taken
    assert (await chat.call(graph, "get_state", session.config)).next == ()


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("below", [False, True], ids=["node", "subgraph"])
async def test_of_two_answers_to_the_first_of_two_questions_one_is_taken(
    chat: Chat, below: bool, durability: str
) -> None:
    """One answer raises although no checkpoint comes between two questions of a node."""
    graph = chat.compile(asking(2, together=threading.Barrier(2), below=below))
    await chat.say("Hello", graph, user_id="alice")
    answers = [Command(resume="yes"), Command(resume="no")]
    outcomes = await in_one_moment(chat, graph, answers, durability)
    refused = [isinstance(each, ConcurrentRunError) for each in outcomes]
    assert sorted(refused) == [False, True], outcomes
    taken = answers[refused.index(False)].resume
    alone = chat.compile(asking(2, below=below))
    last = await chat.call(alone, "invoke", Command(resume="so"), config(user_id="alice"))
    assert texts(last) == ["Hello", f"You said {taken} and so"]


class Questions:
    """A graph that asks alice several questions at once; a node that is told *slow* waits."""

    def __init__(self, chat: Chat, names: list[str], slow: str) -> None:
        self.chat, self.slow = chat, slow
        self.heard, self.go_on = threading.Event(), threading.Event()
        self.ids: dict[str, str] = {}
        builder = StateGraph(MessagesState)
        for name in names:
            builder.add_node(name, lambda state, name=name: self.node(name))
            builder.add_edge(START, name)
        self.graph = chat.compile(builder)

    def node(self, name: str) -> dict[str, Any]:
        """Ask, and say what was answered."""
        said = interrupt(name)
        if said == self.slow:
            self.heard.set()
            assert self.go_on.wait(PATIENCE)
        return {"messages": [AIMessage(f"{name} {said}")]}

    async def ask(self) -> None:
        """Have all questions asked."""
        asked = await self.chat.say("Hello", self.graph, user_id="alice")
        self.ids = {each.value: each.id for each in asked["__interrupt__"]}

    async def answer(self, name: str, said: str, durability: str = "sync") -> list[str]:
        """Answer one of them."""
        resume, alice = Command(resume={self.ids[name]: said}), config(user_id="alice")
        run = self.chat.call(self.graph, "invoke", resume, alice, durability=durability)
        return texts(await run)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_of_two_answers_by_id_one_is_taken(chat: Chat, durability: str) -> None:
    """Of two parallel questions one is answered twice; who succeeds has the answer that is kept."""
    questions = Questions(chat, ["first", "second"], slow="yes")
    await questions.ask()
    slow = asyncio.create_task(questions.answer("first", "yes", durability))
    assert await asyncio.to_thread(questions.heard.wait, PATIENCE)
    (quick,) = await asyncio.gather(
        questions.answer("first", "no", durability), return_exceptions=True
    )
    questions.go_on.set()
    (late,) = await asyncio.gather(slow, return_exceptions=True)
    assert sorted(isinstance(each, ConcurrentRunError) for each in (quick, late)) == [False, True]
    kept = "first no" if isinstance(late, ConcurrentRunError) else "first yes"
    assert await questions.answer("second", "so") == ["Hello", kept, "second so"]


async def test_an_answer_that_was_refused_can_be_given_again(chat: Chat) -> None:
    """What a refused run's tasks wrote to the checkpoint that all start from is not there."""
    questions = Questions(chat, ["a", "b", "c"], slow="early")
    await questions.ask()
    slow = asyncio.create_task(questions.answer("b", "early", "exit"))
    assert await asyncio.to_thread(questions.heard.wait, PATIENCE)
    await questions.answer("a", "so")
    questions.go_on.set()
    with pytest.raises(ConcurrentRunError):
        await slow
    assert await questions.answer("b", "again") == ["Hello", "a so", "b again"]


# --- Runs that wait for each other ---------------------------------------------------------------


def hold(url: str, pipe: Pipe) -> None:
    """Ask for alice's current session, tell when it is had, and have it until told to go."""
    with SessionSaver(url) as saver, saver.sessions.exclusive("alice") as session:
        pipe.send(session.thread_id)
        pipe.recv()


@contextmanager
def holder(url: str) -> Iterator[tuple[Any, Pipe]]:
    """A process that asks for a session, and the pipe by which it tells when it has it."""
    ours, theirs = FORKING.Pipe()
    process = FORKING.Process(target=hold, args=(url, theirs))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


def held(pipe: Pipe) -> str:
    """Wait until the process has a session; return its thread."""
    assert pipe.poll(PATIENCE)
    return str(pipe.recv())


def waiting(db: Connection) -> int:
    """Return how many wait for a session of this database."""
    statement = """
SELECT count(*) AS count FROM pg_locks JOIN pg_database AS d ON d.oid = database
WHERE locktype = 'advisory' AND NOT granted AND d.datname = current_database()"""
    (row,) = db.execute(statement).fetchall()
    return int(row["count"])


@pytest.mark.parametrize("known", [False, True], ids=["new session", "known session"])
def test_a_holder_killed_frees_the_session(url: str, db: Connection, known: bool) -> None:
    """When the process that has a session is killed with -9, one that waits gets it."""
    if known:
        apart(url, "Hello")
    with holder(url) as (first, told), holder(url) as (second, told_too):
        ready = wait([told, told_too], PATIENCE)
        until(lambda: waiting(db) == 1)
        one, mine, other = (first, told, told_too) if told in ready else (second, told_too, told)
        thread_id = held(mine)
        one.kill()
        assert held(other) == thread_id


@asynccontextmanager
async def exclusive(chat: Chat, *args: Any, **kwargs: Any) -> AsyncIterator[Session]:
    """Have a session to oneself, by either manager."""
    block: Any = chat.saver.sessions.exclusive(*args, **kwargs)
    if chat.is_async:
        async with block as session:
            yield session
    else:
        session = await asyncio.to_thread(block.__enter__)
        try:
            yield session
        finally:
            await asyncio.to_thread(block.__exit__, None, None, None)


async def test_a_wait_that_takes_too_long_ends(chat: Chat, db: Connection) -> None:
    """Who gives a timeout gets `TimeoutError`, and the session once it is free."""
    async with exclusive(chat, "alice") as session:
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match=session.thread_id):
                async with exclusive(chat, "alice", timeout=timeout):
                    raise AssertionError
    async with exclusive(chat, "alice", timeout=0) as again:
        assert again.thread_id == session.thread_id
    until(lambda: connections(db) == 0)


def connections(db: Connection) -> int:
    """Return how many connections hold a session, or wait for one."""
    statement = """
SELECT count(*) AS count FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction'"""
    (row,) = db.execute(statement).fetchall()
    return int(row["count"])


async def test_another_users_session_cannot_be_had(chat: Chat) -> None:
    """Another user's thread looks like none, and is not waited for."""
    await chat.say(user_id="bob", thread_id="bobs")
    async with exclusive(chat, "bob"):
        with pytest.raises(SessionNotFoundError):
            async with exclusive(chat, "alice", "bobs"):
                raise AssertionError


async def test_a_thread_that_nothing_has_can_be_had(chat: Chat) -> None:
    """A session is the holder's before it is made, and made by the run in the block."""
    async with exclusive(chat, "alice", "new") as session:
        assert session.config == config(user_id="alice", thread_id="new")
        with pytest.raises(TimeoutError):
            async with exclusive(chat, "alice", "new", timeout=0):
                raise AssertionError
        assert await chat.sessions() == []
        await chat.call(chat.graph, "invoke", {"messages": ["Hello"]}, session.config)
    assert [session.thread_id for session in await chat.sessions()] == ["new"]


async def test_sessions_do_not_wait_for_each_other(chat: Chat) -> None:
    """Another session of the user, and another user's, can be had meanwhile."""
    async with (
        exclusive(chat, "alice", "one"),
        exclusive(chat, "alice", "two", timeout=0),
        exclusive(chat, "bob", "three", timeout=0),
    ):
        pass


async def test_who_waits_gets_what_is_current_then(chat: Chat, db: Connection) -> None:
    """When another session became current during the wait for it, that is the one to be had."""
    await chat.say(user_id="alice", thread_id="one")

    async def have() -> str:
        async with exclusive(chat, "alice") as session:
            return session.thread_id

    async with exclusive(chat, "alice", "one"):
        waits = asyncio.create_task(have())
        await asyncio.to_thread(until, lambda: waiting(db) == 1)
        await chat.say(user_id="alice", thread_id="two")
    assert await asyncio.wait_for(waits, PATIENCE) == "two"
    async with exclusive(chat, "alice", "one", timeout=0):
        pass


async def test_a_block_that_raises_frees_the_session(chat: Chat) -> None:
    """An error in the block passes, and the session is free."""
    with pytest.raises(ZeroDivisionError):
        async with exclusive(chat, "alice", "one"):
            raise ZeroDivisionError
    async with exclusive(chat, "alice", "one", timeout=0):
        pass
