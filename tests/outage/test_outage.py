"""While the database is away conversations go on, and when it is back nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import operator
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    AsyncSessionSaver,
    ConcurrentRunError,
    SessionNotFoundError,
    SessionSaver,
    SessionsUnavailableError,
)
from langgraph_sessions.outage.journal import Entry, Journal
from langgraph_sessions.runs.saving import SaveCheckpoint
from tests.servers import Server, until
from tests.support import TABLES, Chat, asking, config, graph_builder, in_one_moment, python, texts

STOPS = [signal.SIGQUIT, signal.SIGKILL]
DURABILITIES = ["sync", "async", "exit"]


# --- A server of the tests' own ------------------------------------------------------------------


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server that tests stop; its first database has the tables."""
    server = Server()
    try:
        server.start()
        with SessionSaver(server.conninfo) as saver:
            saver.setup()
        yield server
    finally:
        server.remove()


@pytest.fixture
def server(own: Server) -> Iterator[Server]:
    """The same, which runs when a test begins."""
    if own.process is None:
        own.start()
    yield own
    own.stop()


@pytest.fixture
def place(server: Server) -> str:
    """The conninfo of a database of that server's with the tables made, and nothing in them."""
    # Emptied, not made anew: a server's files that are not synced are slow to be removed.
    server.execute(f"TRUNCATE {', '.join(TABLES)}")
    server.execute("DROP SEQUENCE IF EXISTS inserts")
    server.execute("DROP FUNCTION IF EXISTS crash CASCADE")
    return server.conninfo


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def chat(kind: str, place: str) -> AsyncIterator[Chat]:
    """A conversation with either saver, on a server that can be stopped."""
    async with chatting(kind, place) as chat:
        yield chat


@asynccontextmanager
async def chatting(kind: str, url: str, **options: Any) -> AsyncIterator[Chat]:
    """Talk to a saver that soon takes a server that does not answer for one that is away."""
    options = {"retry_for": 0.1, **options}
    if kind == "async":
        async with AsyncSessionSaver(url, **options) as saver:
            yield Chat(saver)
        return
    sync_saver = SessionSaver(url, **options)
    try:
        yield Chat(sync_saver)
    finally:
        await asyncio.to_thread(sync_saver.close)


async def returned(chat: Chat) -> None:
    """Wait until all that was held is written."""
    await until(lambda: chat.saver.durable)


async def conversations(url: str, user_id: str = "alice") -> list[list[str]]:
    """Return the texts of the user's sessions, oldest first, as the database has them."""
    return await asyncio.to_thread(_conversations, url, user_id)


def _conversations(url: str, user_id: str) -> list[list[str]]:
    with SessionSaver(url) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        sessions = sorted(saver.sessions.list_sessions(user_id), key=lambda session: session.id)
        for session in sessions:
            saved = [*saver.list(session.config)][::-1]
            # Each once and in order: the child of the one before it, with a later step.
            for parent, child in pairwise(saved):
                assert child.metadata["step"] > parent.metadata["step"]
                assert child.parent_config == parent.config
        return [texts(graph.get_state(session.config)) for session in sessions]


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what this package warned of."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "langgraph_sessions" and record.levelno >= logging.WARNING
    ]


# --- There and back ------------------------------------------------------------------------------

GO_ON = """
import sys
from langgraph_sessions import SessionSaver
from tests.support import graph_builder, texts
with SessionSaver(sys.argv[1]) as saver:
    graph = graph_builder().compile(checkpointer=saver)
    said = graph.invoke({"messages": ["elsewhere"]}, {"configurable": {"user_id": "alice"}})
    print(*texts(said), sep="|")
"""


@pytest.mark.parametrize("how", STOPS)
async def test_turns_of_an_outage_are_written_when_it_ends(
    chat: Chat, server: Server, place: str, how: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """Known and new users talk on, one warning is given, and all of it is in the database."""
    await chat.say("before", user_id="alice")
    assert chat.saver.durable
    server.stop(how)
    await chat.say("one", user_id="alice")
    assert not chat.saver.durable
    said = await chat.say("two", user_id="alice")
    assert texts(said) == ["one", "1 so far", "two", "3 so far"]
    await chat.say("hi", user_id="bob")
    assert len(warnings_in(caplog)) == 1
    server.start()
    await returned(chat)
    assert await conversations(place) == [["before", "1 so far"], texts(said)]
    assert await conversations(place, "bob") == [["hi", "1 so far"]]
    said = await chat.say("three", user_id="alice")
    assert texts(said) == ["one", "1 so far", "two", "3 so far", "three", "5 so far"]
    assert len(warnings_in(caplog)) == 1
    ended = await asyncio.to_thread(python, GO_ON, place)
    assert (ended.stdout, ended.stderr) == (
        "one|1 so far|two|3 so far|three|5 so far|elsewhere|7 so far\n",
        "",
    )


async def test_a_database_that_is_away_from_the_beginning_is_set_up_when_it_is_there(
    kind: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the server nor the tables need be there when conversations begin."""
    with server.database() as url:
        server.stop()
        async with chatting(kind, url) as chat:
            await chat.say("one", user_id="alice")
            said = await chat.say("two", user_id="alice")
            assert len(warnings_in(caplog)) == 1
            server.start()
            await returned(chat)
            assert await conversations(url) == [texts(said)]
            said = await chat.say("three", user_id="alice")
        assert await conversations(url) == [texts(said)]


async def test_a_server_that_comes_and_goes_loses_nothing(
    chat: Chat, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Five outages with turns in and between them: each message is there once; five warnings."""
    said = []
    for number in range(5):
        for phase in ("here", "away"):
            if phase == "away":
                server.stop(STOPS[number % 2])
            for turn in range(2):
                said.append(f"{phase} {number}.{turn}")
                await chat.say(said[-1], user_id="alice")
        server.start()
        await returned(chat)
    assert len(warnings_in(caplog)) == 5
    # A conversation goes on from an outage into the time after it, but not into the next one.
    found = [
        [text for text in each if " so far" not in text] for each in await conversations(place)
    ]
    assert [text for each in found for text in each] == said
    assert [len(each) for each in found] == [2, 4, 4, 4, 4, 2]


CRASH = """
CREATE SEQUENCE inserts;
CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('inserts') = 3 THEN {} END IF; RETURN NEW;
END $$;
CREATE TRIGGER crash BEFORE INSERT ON checkpoints FOR EACH ROW EXECUTE FUNCTION crash()
"""


async def said_before_recovery(chat: Chat, server: Server, place: str, what: str) -> Any:
    """Talk in an outage, and end it: *what* happens when the third checkpoint is written."""
    with psycopg.connect(place, autocommit=True) as conn:
        conn.execute(CRASH.format(what).encode())
    server.stop()
    await chat.say("one", user_id="alice")
    said = await chat.say("two", user_id="alice")
    server.start()
    return said


async def test_a_recovery_whose_backend_dies_goes_on_where_it_was(
    chat: Chat, server: Server, place: str
) -> None:
    """A connection that breaks at the third checkpoint being written neither loses nor doubles."""
    what = "PERFORM pg_terminate_backend(pg_backend_pid());"
    said = await said_before_recovery(chat, server, place, what)
    await returned(chat)
    assert await conversations(place) == [texts(said)]


async def test_a_recovery_whose_server_is_killed_goes_on_where_it_was(
    chat: Chat, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server killed while the third checkpoint is being written: it is still one outage."""
    said = await said_before_recovery(chat, server, place, "PERFORM pg_sleep(60);")
    with psycopg.connect(place, autocommit=True) as conn:
        is_there = "SELECT last_value >= 3 FROM inserts"
        await until(lambda: conn.execute(is_there).fetchone() == (True,))
    server.stop(signal.SIGKILL)
    # As soon as it is known to be away again; until then what is being written cannot be used.
    await until(lambda: chat.saver._database._outage.state == "away")
    said = await chat.say("three", user_id="alice")
    server.start()
    await returned(chat)
    assert await conversations(place) == [texts(said)]
    assert texts(said)[::2] == ["one", "two", "three"]
    assert len([said for said in warnings_in(caplog) if "is away" in said]) == 1


@pytest.mark.parametrize(
    "code",
    ["40P01", "55P03", "57014", "53100", "42501"],
    ids=["deadlock", "lock timeout", "statement timeout", "disk full", "rights"],
)
async def test_what_is_refused_for_the_moment_is_written_later(
    chat: Chat, server: Server, place: str, code: str
) -> None:
    """An error that is not about what was held loses nothing: it is tried again."""
    refusal = f"RAISE EXCEPTION 'not now' USING ERRCODE = '{code}';"
    said = await said_before_recovery(chat, server, place, refusal)
    await returned(chat)
    assert await conversations(place) == [texts(said)]


async def test_who_speaks_while_what_was_held_is_written_comes_after_it(
    chat: Chat, server: Server, place: str
) -> None:
    """A turn waits for the way back; if that takes long it is held, and written in its place."""
    waits = "WHILE (SELECT last_value < 100 FROM inserts) LOOP PERFORM pg_sleep(0.01); END LOOP;"
    await said_before_recovery(chat, server, place, waits)
    with psycopg.connect(place, autocommit=True) as conn:
        is_there = "SELECT last_value >= 3 FROM inserts"
        await until(lambda: conn.execute(is_there).fetchone() == (True,))
        said = await chat.say("three", user_id="alice")
        assert not chat.saver.durable
        conn.execute("SELECT setval('inserts', 100)")
    await returned(chat)
    assert texts(said)[::2] == ["one", "two", "three"]
    assert await conversations(place) == [texts(said)]


def test_writes_that_overtake_the_checkpoint_that_makes_a_session_are_held(
    server: Server, place: str
) -> None:
    """A server that stops before the first of a run's saves, its writes, has nothing to hide."""
    written = threading.Event()

    class Overtaken(SessionSaver):
        def put_writes(self, *args: Any, **kwargs: Any) -> None:
            if not written.is_set():
                server.stop()
            super().put_writes(*args, **kwargs)
            written.set()

        def put(self, *args: Any, **kwargs: Any) -> Any:
            assert written.wait(60)
            return super().put(*args, **kwargs)

    with Overtaken(place, retry_for=0.1) as saver:
        alice = config(user_id="alice", thread_id="t")
        graph = asking().compile(checkpointer=saver)
        graph.invoke({"messages": ["Plan a trip"]}, alice)
        assert not saver.durable
        (question,) = graph.get_state(alice).interrupts
        assert question.value == "0"
        done = graph.invoke(Command(resume="to Rome"), alice)
        assert texts(done) == ["Plan a trip", "You said to Rome"]
        server.start()
    assert asyncio.run(conversations(place)) == [texts(done)]


# --- What cannot be seen is not continued --------------------------------------------------------


async def test_a_history_in_the_database_is_not_continued_as_if_it_were_empty(
    chat: Chat, server: Server, place: str
) -> None:
    """The user's next turn is a new session; by its thread id the old one cannot be used."""
    await chat.say("before", user_id="alice")
    old = await chat.current()
    server.stop()
    assert texts(await chat.say("new", user_id="alice")) == ["new", "1 so far"]
    with pytest.raises(SessionsUnavailableError):
        await chat.say("old", user_id="alice", thread_id=old.thread_id)
    for method in ("get_state", "get_state_history"):
        with pytest.raises(SessionsUnavailableError):
            await chat.call(chat.graph, method, old.config)
    for method in ("get_tuple", "list"):
        with pytest.raises(SessionsUnavailableError):
            await chat.call(chat.saver, method, old.config)
    with pytest.raises(SessionsUnavailableError):
        await chat.call(chat.graph, "update_state", old.config, {"messages": ["old"]})
    server.start()
    await returned(chat)
    assert await conversations(place) == [["before", "1 so far"], ["new", "1 so far"]]
    said = await chat.say("again", user_id="alice", thread_id=old.thread_id)
    assert texts(said) == ["before", "1 so far", "again", "3 so far"]


async def test_other_users_cannot_read_what_is_held(chat: Chat, server: Server) -> None:
    """A session in memory is its user's alone, as one in the database is."""
    server.stop()
    await chat.say("secret", user_id="alice")
    theirs = await chat.session("get_current_user_session", "alice")
    mine = config(user_id="bob", thread_id=theirs.thread_id)
    with pytest.raises(SessionNotFoundError):
        await chat.say("hello", user_id="bob", thread_id=theirs.thread_id)
    for method in ("get_state", "get_state_history"):
        with pytest.raises(SessionNotFoundError):
            await chat.call(chat.graph, method, mine)
    for method in ("get_tuple", "list"):
        with pytest.raises(SessionNotFoundError):
            await chat.call(chat.saver, method, mine)
    with pytest.raises(SessionNotFoundError):
        await chat.call(chat.graph, "update_state", mine, {"messages": ["hello"]})
    for method in ("get_session", "switch_session"):
        with pytest.raises(SessionNotFoundError):
            await chat.session(method, "bob", theirs.thread_id)
    assert await chat.session("deactivate_session", "bob", thread_id=theirs.thread_id) == 0
    with pytest.raises(psycopg.OperationalError):
        await chat.say("hello", thread_id=theirs.thread_id)
    assert await chat.history(theirs) == ["secret", "1 so far"]


# --- A run that is under way ---------------------------------------------------------------------


class Steps:
    """A graph of three nodes; the second and the third wait until they are let go on."""

    def __init__(self, chat: Chat) -> None:
        self.entered = {name: threading.Event() for name in ("b", "c")}
        self.may_go = {name: threading.Event() for name in ("b", "c")}
        builder = StateGraph(MessagesState)
        for name in ("a", "b", "c"):
            builder.add_node(name, self.node(name))
        builder.add_edge(START, "a").add_edge("a", "b").add_edge("b", "c")
        self.chat, self.graph = chat, chat.compile(builder)

    def node(self, name: str) -> Any:
        def say(state: MessagesState) -> dict[str, Any]:
            if name in self.entered:
                self.entered[name].set()
                assert self.may_go[name].wait(30)
            return {"messages": [AIMessage(name)]}

        return say

    def start(self, durability: str, **configurable: Any) -> asyncio.Task[Any]:
        """Start a run."""
        given, where = {"messages": ["begin"]}, config(**configurable)
        run = self.chat.call(self.graph, "invoke", given, where, durability=durability)
        return asyncio.create_task(run)

    async def reaches(self, name: str) -> None:
        """Wait until the run is in node *name*."""
        await until(self.entered[name].is_set)

    def let_go(self, *names: str) -> None:
        for name in names:
            self.may_go[name].set()


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_run_under_way_when_the_server_stops_ends_in_its_thread(
    chat: Chat, server: Server, place: str, durability: str
) -> None:
    """A run finishes in memory, and its messages are in its thread afterwards."""
    await chat.say("before", user_id="alice")
    steps = Steps(chat)
    run = steps.start(durability, user_id="alice")
    await steps.reaches("b")
    server.stop()
    steps.let_go("b", "c")
    said = ["before", "1 so far", "begin", "a", "b", "c"]
    assert texts(await run) == said
    server.start()
    await returned(chat)
    assert await conversations(place) == [said]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_first_run_under_way_when_the_server_stops_makes_its_session(
    chat: Chat, server: Server, place: str, durability: str
) -> None:
    """A run that outlasts an outage, which begins and ends in its middle, is all there."""
    steps = Steps(chat)
    run = steps.start(durability, user_id="alice")
    await steps.reaches("b")
    server.stop()
    steps.let_go("b")
    await steps.reaches("c")
    # Whether or not the run noticed, somebody does.
    await chat.say("hi", user_id="bob")
    server.start()
    await returned(chat)
    steps.let_go("c")
    assert texts(await run) == ["begin", "a", "b", "c"]
    assert await conversations(place) == [["begin", "a", "b", "c"]]


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("first", ["run", "other"])
@pytest.mark.parametrize("ends", ["during", "after"])
async def test_a_thread_that_another_process_went_on_with_becomes_two_sessions(
    chat: Chat, server: Server, place: str, durability: str, first: str, ends: str
) -> None:
    """What a run said in an outage of its own alone is a session beside what the other said."""
    await chat.say("before", user_id="alice")
    thread_id = (await chat.current()).thread_id
    steps = Steps(chat)
    run = steps.start(durability, user_id="alice")
    await steps.reaches("b")
    server.stop()
    await chat.say("hi", user_id="bob")

    def is_held() -> bool:
        """Whether a checkpoint of the run's is held: LangGraph saves beside the next node."""
        held = [*chat.saver._database._outage.memory.journal._entries]
        return any(
            isinstance(e.item, SaveCheckpoint) and e.item.run.thread_id == thread_id for e in held
        )

    if first == "run":
        steps.let_go("b")
        await steps.reaches("c")
        await until(is_held)
    server.start(hidden=True)  # Another process reaches it, but the chat's saver does not.
    async with chatting("sync", make_conninfo(place, port=5433)) as other:
        await other.say("meanwhile", user_id="alice", thread_id=thread_id)
    server.stop()
    if first == "other":
        steps.let_go("b")
        await steps.reaches("c")
        await until(is_held)
    said = ["before", "1 so far", "begin", "a", "b", "c"]
    if ends == "during":
        steps.let_go("c")
        assert texts(await run) == said
    server.start()
    await returned(chat)
    if ends == "after":  # It is told that it was overtaken, as it would be without an outage.
        said.pop()
        steps.let_go("c")
        with pytest.raises(ConcurrentRunError):
            await run
    theirs, ours = await conversations(place)
    assert theirs[-2] == "meanwhile"
    assert ours == said


REFUSAL = """
CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'no more sessions';
END $$;
CREATE TRIGGER crash BEFORE INSERT ON user_sessions
    FOR EACH ROW WHEN (NEW.user_id = 'alice') EXECUTE FUNCTION crash()
"""


async def test_what_cannot_have_a_session_of_its_own_is_told_and_the_rest_written(
    chat: Chat, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the database refuses to fork the thread, that run is lost, with words, and no other."""
    await chat.say("before", user_id="alice")
    thread_id = (await chat.current()).thread_id
    steps = Steps(chat)
    run = steps.start("sync", user_id="alice")
    await steps.reaches("b")
    server.stop()
    await chat.say("hi", user_id="bob")
    server.start(hidden=True)
    async with chatting("sync", make_conninfo(place, port=5433)) as other:
        theirs = await other.say("meanwhile", user_id="alice", thread_id=thread_id)
    with psycopg.connect(make_conninfo(place, port=5433), autocommit=True) as conn:
        conn.execute(REFUSAL)
    server.stop()
    for step in ("b", "c"):
        steps.let_go(step)
    await run
    server.start()
    await returned(chat)
    assert await conversations(place) == [texts(theirs)]
    assert await conversations(place, "bob") == [["hi", "1 so far"]]
    assert "is lost" in caplog.text
    assert "no more sessions" in caplog.text


# --- All that graphs do --------------------------------------------------------------------------


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("resumed", ["away", "back"])
async def test_an_interrupt_of_an_outage_is_resumed(
    chat: Chat, server: Server, place: str, durability: str, resumed: str
) -> None:
    """A run that waits for an answer gets it in the same outage, or after it."""
    graph, alice = chat.compile(asking()), config(user_id="alice")
    server.stop()
    given = {"messages": ["go"]}
    waits = await chat.call(graph, "invoke", given, alice, durability=durability)
    assert waits["__interrupt__"][0].value == "0"
    if resumed == "back":
        server.start()
        await returned(chat)
        (session,) = await chat.sessions()
        assert session.status == "interrupted"
    answer = Command(resume="this")
    said = await chat.call(graph, "invoke", answer, alice, durability=durability)
    assert texts(said) == ["go", "You said this"]
    if resumed == "away":
        server.start()
        await returned(chat)
    assert await conversations(place) == [["go", "You said this"]]
    (session,) = await chat.sessions()
    assert session.status == "idle"


async def test_of_two_answers_at_once_in_an_outage_one_is_taken(
    chat: Chat, server: Server, place: str
) -> None:
    """One raises, as it would with the database, and what the other said is written."""
    graph = chat.compile(asking(2, together=threading.Barrier(2)))
    server.stop()
    await chat.say("go", graph, user_id="alice")
    answers = [Command(resume="yes"), Command(resume="no")]
    outcomes = await in_one_moment(chat, graph, answers, "sync")
    refused = [isinstance(each, ConcurrentRunError) for each in outcomes]
    assert sorted(refused) == [False, True], outcomes
    taken = answers[refused.index(False)].resume
    server.start()
    await returned(chat)
    last = chat.compile(asking(2))
    await chat.call(last, "invoke", Command(resume="so"), config(user_id="alice"))
    assert await conversations(place) == [["go", f"You said {taken} and so"]]


class Deltas(TypedDict):
    words: Annotated[
        list[str], DeltaChannel(lambda old, new: [*old, *(w for ws in new for w in ws)])
    ]
    turns: Annotated[int, operator.add]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_delta_channels_are_rebuilt_in_and_after_an_outage(
    chat: Chat, server: Server, durability: str
) -> None:
    """A channel kept as its changes has all of them."""
    builder = StateGraph(Deltas)
    builder.add_node("n", lambda state: {"words": [f"{len(state['words'])}"], "turns": 1})
    builder.add_edge(START, "n")
    graph, alice = chat.compile(builder), config(user_id="alice")

    async def say(word: str) -> Any:
        given = {"words": [word]}
        return await chat.call(graph, "invoke", given, alice, durability=durability)

    server.stop()
    await say("one")
    said = await say("two")
    expected = {"words": ["one", "1", "two", "3"], "turns": 2}
    assert said == expected
    session = await chat.session("get_current_user_session", "alice")
    assert (await chat.call(graph, "get_state", session.config)).values == expected
    server.start()
    await returned(chat)
    assert (await chat.call(graph, "get_state", session.config)).values == expected
    expected = {"words": ["one", "1", "two", "3", "three", "5"], "turns": 3}
    assert await say("three") == expected


@dataclass
class Trip:
    """What an application keeps in its state."""

    to: str


class Plans(TypedDict):
    trip: Trip
    note: str


async def test_values_are_stored_as_they_would_be_without_an_outage(
    kind: str, server: Server, place: str
) -> None:
    """A serializer that loads less than it dumped, as a strict one does, changes nothing."""
    builder = StateGraph(Plans).add_node("plan", lambda _: {"trip": Trip("Rome")})
    builder.add_edge(START, "plan")
    stored = (
        "SELECT channel, type, blob FROM checkpoint_{} AS s JOIN user_sessions USING (thread_id) "
        "WHERE channel = 'trip' AND user_id = '{}' ORDER BY blob"
    )
    async with chatting(
        kind, place, serde=JsonPlusSerializer(allowed_msgpack_modules=None)
    ) as chat:
        graph, given = chat.compile(builder), {"note": "soon"}
        await chat.call(graph, "invoke", given, config(user_id="alice"))
        server.stop()
        await chat.call(graph, "invoke", given, config(user_id="bob"))
        server.start()
        await returned(chat)
    for table in ("blobs", "writes"):
        without, with_one = (server.execute(stored.format(table, who)) for who in ("alice", "bob"))
        assert with_one == without
        assert without


async def test_what_could_never_be_written_is_refused_at_once(
    chat: Chat, server: Server, place: str
) -> None:
    """A run that would fail with the database fails in an outage; those before and after do not."""
    builder = StateGraph(Plans).add_node("plan", lambda state: {"note": state["note"] + "!"})
    graph, alice = chat.compile(builder.add_edge(START, "plan")), config(user_id="alice")
    server.stop()
    for note in ("one", "two\0", "three"):
        with pytest.raises(psycopg.DataError, match="NUL") if "\0" in note else nullcontext():
            await chat.call(graph, "invoke", {"note": note}, alice)
    server.start()
    await returned(chat)
    (session,) = await chat.sessions()
    states = await chat.call(graph, "get_state_history", session.config)
    notes = [state.values.get("note") for state in states]
    assert {note for note in notes if note} == {"one", "one!", "three", "three!"}
    assert notes[0] == "three!"


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("memory", [None, True], ids=["inherits", "remembers"])
async def test_subgraphs_work_in_an_outage(
    chat: Chat, server: Server, durability: str, memory: bool | None
) -> None:
    """A subgraph interrupts and is resumed, and its state can be read, in the outage and after."""
    inner = asking().compile(checkpointer=memory)
    builder = StateGraph(MessagesState)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    graph, alice = chat.compile(builder), config(user_id="alice")
    server.stop()
    for number in range(2):
        given = {"messages": [f"go {number}"]}
        await chat.call(graph, "invoke", given, alice, durability=durability)
        session = await chat.session("get_current_user_session", "alice")
        state = await chat.call(graph, "get_state", session.config, subgraphs=True)
        assert texts(state.tasks[0].state)[-1] == f"go {number}"
        answer = Command(resume="this")
        said = await chat.call(graph, "invoke", answer, alice, durability=durability)
    assert texts(said) == ["go 0", "You said this", "go 1", "You said this"]
    server.start()
    await returned(chat)
    state = await chat.call(graph, "get_state", session.config, subgraphs=True)
    assert texts(state) == texts(said)
    found = await chat.call(chat.saver, "list", session.config)
    places = [
        (each.config["configurable"]["checkpoint_ns"], each.checkpoint["id"]) for each in found
    ]
    assert len(places) == len(set(places))
    assert any(checkpoint_ns for checkpoint_ns, _ in places)


async def test_states_are_updated_and_history_read_in_an_outage(
    chat: Chat, server: Server, place: str
) -> None:
    """`update_state`, `get_state_history` and time travel work on what was begun in it."""
    server.stop()
    await chat.say("one", user_id="alice")
    session = await chat.session("get_current_user_session", "alice")
    await chat.call(chat.graph, "update_state", session.config, {"messages": ["updated"]}, "node")
    said = ["one", "1 so far", "updated"]
    assert await chat.history(session) == said
    held = await chat.call(chat.graph, "get_state_history", session.config)
    assert [texts(state) for state in held] == [said, said[:2], said[:1], []]
    forked = await chat.call(chat.graph, "invoke", None, held[2].config)
    assert texts(forked) == said[:2]
    held = await chat.call(chat.graph, "get_state_history", session.config)
    server.start()
    await returned(chat)
    found = await chat.call(chat.graph, "get_state_history", session.config)
    assert [state.config for state in found] == [state.config for state in held]
    assert [texts(state) for state in found] == [texts(state) for state in held]
    assert [state.metadata for state in found] == [state.metadata for state in held]


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_every_durability_is_written(
    chat: Chat, server: Server, place: str, durability: str
) -> None:
    """What a durability saves in an outage is saved after it."""

    async def say(text: str) -> Any:
        given, alice = {"messages": [text]}, config(user_id="alice")
        return await chat.call(chat.graph, "invoke", given, alice, durability=durability)

    server.stop()
    await say("one")
    said = await say("two")
    server.start()
    await returned(chat)
    session = await chat.current()
    assert await chat.history(session) == texts(said) == ["one", "1 so far", "two", "3 so far"]
    saved = await chat.call(chat.saver, "list", session.config)
    assert len(saved) == (2 if durability == "exit" else 6)


# --- Sessions ------------------------------------------------------------------------------------


async def test_instructions_given_in_an_outage_hold(chat: Chat, server: Server) -> None:
    """Titles, new sessions and deactivations are as they would be without an outage."""
    server.stop()
    await chat.say("the first words", user_id="alice")
    await chat.say("x", user_id="alice", new_session=True, title="Given")
    await chat.say("y", user_id="alice", title="Renamed")
    await chat.say("z", user_id="alice", new_session=True, is_active=False, title="Closed")
    assert texts(await chat.say("on", user_id="alice"))[0] == "x"
    server.start()
    await returned(chat)
    found = {session.title: session for session in await chat.sessions()}
    assert set(found) == {"the first words", "Renamed", "Closed"}
    assert [found[title].is_active for title in found] == [True, False, True]
    assert [*found] == ["Renamed", "Closed", "the first words"]
    assert await chat.history(found["Renamed"]) == [
        *("x", "1 so far", "y", "3 so far", "on", "5 so far")
    ]
    assert (await chat.current()).title == "Renamed"
    reactivated = await chat.say("again", user_id="alice", thread_id=found["Closed"].thread_id)
    assert texts(reactivated)[0] == "z"
    assert (await chat.current()).is_active


async def test_sessions_begun_in_an_outage_are_managed(chat: Chat, server: Server) -> None:
    """What the manager does with what was begun in memory holds afterwards."""
    server.stop()
    made = await chat.session("create_user_session", "alice", "Made", metadata={"a": 1})
    assert await chat.session("get_or_create_user_session", "alice") == made
    assert await chat.session("get_current_user_session", "alice") == made
    assert await chat.session("get_session", "alice", made.thread_id) == made
    assert await chat.session("has_session", "alice")
    got = await chat.session("get_or_create_user_session", "bob", "Bob's")
    assert (got.user_id, got.title) == ("bob", "Bob's")
    other = await chat.session("create_user_session", "alice", "Other")
    closed = await chat.session("create_user_session", "alice", "Closed")
    assert await chat.session("deactivate_session", "alice", thread_id=closed.thread_id) == 1
    assert await chat.session("deactivate_session", "alice", thread_id=closed.thread_id) == 0
    assert (await chat.session("switch_session", "alice", made.thread_id)).title == "Made"
    changes = {"title": "New", "metadata": {"b": 2}}
    changed = await chat.session("update_session", "alice", changes)
    assert (changed.title, changed.metadata) == ("New", {"a": 1, "b": 2})
    await chat.session("update_session", "alice", {"metadata": {"c": 3}}, thread_id=other.thread_id)
    assert texts(await chat.say("said", user_id="alice")) == ["said", "1 so far"]
    server.start()
    await returned(chat)
    found = {session.title: session for session in await chat.sessions()}
    assert set(found) == {"New", "Other", "Closed"}
    assert found["New"].metadata == {"a": 1, "b": 2}
    assert found["Other"].metadata == {"c": 3}
    assert [found[title].is_active for title in ("New", "Other", "Closed")] == [True, True, False]
    assert all(session.id > 0 for session in found.values())
    assert (await chat.current()).thread_id == made.thread_id
    assert await chat.history(found["New"]) == ["said", "1 so far"]
    assert [session.title for session in await chat.sessions("bob")] == ["Bob's"]


async def test_what_takes_the_database_says_that_it_is_away(
    chat: Chat, server: Server, place: str
) -> None:
    """All other methods raise `SessionsUnavailableError`, from the first one on."""
    await chat.say("before", user_id="alice")
    old = (await chat.current()).thread_id
    await chat.session("clear_memory_cache")
    server.stop()
    calls: list[tuple[Any, ...]] = [
        ("get_current_user_session", "alice"),
        ("get_session", "alice", old),
        ("update_session", "alice", {"title": "New"}),
        ("switch_session", "alice", old),
        ("deactivate_session", "alice"),
        ("has_session", "alice"),
        ("list_active_sessions", "alice"),
        ("list_sessions", "alice"),
        ("count_sessions", "alice"),
        ("fork_session", "alice", old),
        ("delete_session", "alice", old),
        ("delete_user", "alice"),
        ("purge_sessions",),
        ("adopt_session", "alice", old),
        ("backfill",),
        ("get_preferences", "alice"),
        ("update_preferences", "alice", {"a": 1}),
    ]
    for method, *arguments in calls:
        options = {"active": True} if method == "purge_sessions" else {}
        with pytest.raises(SessionsUnavailableError):
            await chat.session(method, *arguments, **options)
    with pytest.raises(SessionsUnavailableError):
        await chat.session("deactivate_session", "alice", thread_id=old)
    with pytest.raises(SessionsUnavailableError):
        await chat.session("update_session", "alice", {"title": "New"}, thread_id=old)
    for method, arguments in {
        "delete_thread": [old],
        "copy_thread": [old, "copy"],
        "delete_for_runs": [["run"]],
    }.items():
        with pytest.raises(SessionsUnavailableError):
            await chat.call(chat.saver, method, *arguments)
    with pytest.raises(SessionsUnavailableError):
        await _export(chat)
    with pytest.raises(SessionsUnavailableError):
        await _enter_exclusive(chat)
    server.start()
    await returned(chat)
    (session,) = await chat.sessions()
    assert (session.title, session.is_active) == ("before", True)
    assert await conversations(place) == [["before", "1 so far"]]


@pytest.mark.parametrize("method", ["delete_for_runs", "delete_thread", "exclusive", "export"])
async def test_the_first_to_notice_says_the_same(chat: Chat, server: Server, method: str) -> None:
    """Whatever is called first after the server stopped raises `SessionsUnavailableError`."""
    await chat.say("before", user_id="alice")
    server.stop()
    calls = {
        "exclusive": lambda: _enter_exclusive(chat),
        "export": lambda: _export(chat),
        "delete_thread": lambda: chat.call(chat.saver, method, "thread"),
        "delete_for_runs": lambda: chat.call(chat.saver, method, ["run"]),
    }
    with pytest.raises(SessionsUnavailableError):
        await calls[method]()


async def _export(chat: Chat) -> list[Any]:
    exported = chat.saver.sessions.export_user("alice")
    if chat.is_async:
        return [record async for record in exported]
    return await asyncio.to_thread(list, exported)


async def _enter_exclusive(chat: Chat) -> None:
    block = chat.saver.sessions.exclusive("alice")
    if chat.is_async:
        async with block:
            return
    with block:
        return


async def test_a_manager_by_itself_goes_on_in_memory(
    kind: str, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A manager without a saver holds sessions, and writes them, as one with a saver does."""
    if kind == "sync":
        manager = AgentSessionManager(place, retry_for=0.3)
        await asyncio.to_thread(manager.count_sessions)
        server.stop()
        await asyncio.to_thread(manager.create_user_session, "alice", "Held")
        assert len(warnings_in(caplog)) == 1
        server.start()
        await until(lambda: manager._database.durable)
        await asyncio.to_thread(manager.close)
    else:
        aio = AsyncAgentSessionManager(place, retry_for=0.3)
        await aio.count_sessions()
        server.stop()
        await aio.create_user_session("alice", "Held")
        assert len(warnings_in(caplog)) == 1
        server.start()
        await until(lambda: aio._database.durable)
        await aio.close()
    async with chatting("sync", place) as chat:
        assert [session.title for session in await chat.sessions()] == ["Held"]


# --- Limits, and what is no outage ---------------------------------------------------------------


def test_what_was_written_counts_until_the_outage_is_over() -> None:
    """It can still be read in memory, so a way back that is broken off makes no room."""
    journal = Journal(100)
    journal.append(Entry(60, "said"))
    journal.drop_first()
    with pytest.raises(SessionsUnavailableError, match="outage_limit, 100 bytes"):
        journal.append(Entry(60, "more"))


async def test_past_the_limit_it_says_so_and_keeps_what_was_held(
    kind: str, server: Server, place: str
) -> None:
    """What is held is bounded; what fits is written, and later turns work."""
    async with chatting(kind, place, outage_limit=20_000) as chat:
        await chat.say("before", user_id="alice")
        server.stop()
        said = await chat.say("small", user_id="alice")
        with pytest.raises(SessionsUnavailableError, match="outage_limit"):
            await chat.say("x" * 20_000, user_id="bob")
        server.start()
        await returned(chat)
        assert await conversations(place) == [["before", "1 so far"], texts(said)]
        assert texts(await chat.say("on", user_id="alice"))[:2] == texts(said)
        assert texts(await chat.say("on", user_id="bob"))[-1] == "1 so far"


async def test_an_outage_is_raised_if_that_is_asked_for(
    kind: str, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With `on_outage="raise"` psycopg's error surfaces, and the saver works when it is back."""
    async with chatting(kind, place, on_outage="raise") as chat:
        await chat.say("before", user_id="alice")
        server.stop()
        for user_id in ("alice", "bob"):
            with pytest.raises(psycopg.OperationalError):
                await chat.say("away", user_id=user_id)
        with pytest.raises(psycopg.OperationalError):
            await chat.session("create_user_session", "alice")
        assert chat.saver.durable
        server.start()
        said = await chat.say("after", user_id="alice")
        assert texts(said) == ["before", "1 so far", "after", "3 so far"]
    assert warnings_in(caplog) == []


async def test_runs_without_a_user_get_psycopgs_error(
    chat: Chat, server: Server, place: str
) -> None:
    """Without `user_id` it is as with `PostgresSaver`, before and after an outage is noticed."""
    await chat.say("before", thread_id="plain")
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        await chat.say("away", thread_id="plain")
    await chat.say("away", user_id="alice")
    with pytest.raises(psycopg.OperationalError):
        await chat.say("away", thread_id="plain")
    server.start()
    await returned(chat)
    said = await chat.say("after", thread_id="plain")
    assert texts(said) == ["before", "1 so far", "after", "3 so far"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that asks for a password."""
    server = Server(auth="scram-sha-256")
    try:
        server.start()
        server.execute("CREATE ROLE reader LOGIN PASSWORD 'secret'")
        server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        yield server
    finally:
        server.remove()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"dbname": "nosuch"}, "does not exist"),
        ({"user": "nosuch"}, "password authentication failed"),
        ({"user": "reader"}, "permission denied"),
    ],
    ids=["password", "database", "user", "rights"],
)
async def test_what_lets_nobody_in_is_no_outage(
    kind: str, guarded: Server, wrong: dict[str, str], error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password, an unknown database and missing rights raise at once."""
    url = make_conninfo(guarded.conninfo, **wrong)
    # Tried again, it would take the rest of the day.
    async with chatting(kind, url, retry_for=86400.0) as chat, asyncio.timeout(20):
        with pytest.raises(psycopg.Error, match=error):
            await chat.say("hello", user_id="alice")
        with pytest.raises(psycopg.Error, match=error):
            await chat.session("create_user_session", "alice")
        assert chat.saver.durable
    assert warnings_in(caplog) == []


async def test_a_server_that_is_back_but_refuses_is_told_and_waited_for(
    kind: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once that nothing can be written yet, and why; what is held is written later."""
    rules = server.data / "pg_hba.conf"
    good = rules.read_text()
    with server.database() as url:
        server.stop()
        async with chatting(kind, url) as chat:
            said = await chat.say("away", user_id="alice")
            try:
                rules.write_text(f"local {conninfo_to_dict(url)['dbname']} all reject\n{good}")
                server.start()
                await until(lambda: len(warnings_in(caplog)) == 2)
                assert "nothing can be written yet" in warnings_in(caplog)[1]
                assert texts(await chat.say("more", user_id="alice"))[:2] == texts(said)
            finally:
                rules.write_text(good)
            assert server.process is not None
            server.process.send_signal(signal.SIGHUP)
            await returned(chat)
            assert len(warnings_in(caplog)) == 2
        assert [len(each) for each in await conversations(url)] == [4]


# --- The end -------------------------------------------------------------------------------------


async def test_a_saver_closed_in_an_outage_says_what_is_lost(
    kind: str, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What could not be written is not silently dropped."""
    async with chatting(kind, place) as chat:
        await chat.say("before", user_id="alice")
        server.stop()
        await chat.say("lost", user_id="alice")
        caplog.clear()
    (said,) = warnings_in(caplog)
    assert "are lost" in said


async def test_a_saver_closed_when_the_server_is_back_writes_what_it_held(
    kind: str, server: Server, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing does not wait for the next try to write: it is one."""
    async with chatting(kind, place) as chat:
        server.stop()
        said = await chat.say("held", user_id="alice")
        caplog.clear()
        server.start()
    assert warnings_in(caplog) == []
    assert await conversations(place) == [texts(said)]


PROGRAM = """
import sys, logging
from langgraph_sessions import SessionSaver
from tests.support import graph_builder
logging.getLogger("psycopg").setLevel(logging.CRITICAL)
saver = SessionSaver(sys.argv[1], retry_for=0.3)
graph = graph_builder().compile(checkpointer=saver)
graph.invoke({"messages": ["held"]}, {"configurable": {"user_id": "alice"}})
print("held", flush=True)
if sys.argv[2] == "back":
    sys.stdin.read()
"""
ASYNC_PROGRAM = """
import asyncio, sys, logging
from langgraph_sessions import AsyncSessionSaver
from tests.support import graph_builder
logging.getLogger("psycopg").setLevel(logging.CRITICAL)
async def main():
    saver = AsyncSessionSaver(sys.argv[1], retry_for=0.3)
    graph = graph_builder().compile(checkpointer=saver)
    await graph.ainvoke({"messages": ["held"]}, {"configurable": {"user_id": "alice"}})
    print("held", flush=True)
    if sys.argv[2] == "back":
        sys.stdin.read()
asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["away", "back"])
@pytest.mark.parametrize("program", [PROGRAM, ASYNC_PROGRAM], ids=["sync", "async"])
def test_a_program_that_closes_nothing_writes_or_says_what_is_lost(
    server: Server, place: str, program: str, end: str
) -> None:
    """At the end of the program what is held is written, or the log says that it is lost."""
    server.stop()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, place, end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    if end == "back":
        server.start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert ("are lost" in errors) == (end == "away")
    if end == "back":
        assert len(errors.splitlines()) == 2, errors  # The warning that it is away.
        assert _conversations(place, "alice") == [["held", "1 so far"]]


# --- What a history may not be mistaken for ------------------------------------------------------


async def test_one_conversation_for_each_user_is_not_hidden(
    kind: str, place: str, server: Server
) -> None:
    """Where the factory gives a user the same id again, the old conversation stays to be seen."""
    factory = {"thread_id_factory": lambda user_id: f"chat-{user_id}"}
    async with chatting(kind, place, **factory) as chat:
        await chat.say("old", user_id="alice")
        server.stop()
        await chat.say("meanwhile", user_id="alice")
        server.start()
        await returned(chat)
        assert await chat.history(await chat.session("get_session", "alice", "chat-alice")) == [
            "old",
            "1 so far",
        ]
    assert await conversations(place) == [["old", "1 so far"], ["meanwhile", "1 so far"]]


@pytest.mark.parametrize(
    ("reserved", "durability"),
    [(True, "exit"), *((False, durability) for durability in DURABILITIES)],
    ids=["reserved", *DURABILITIES],
)
async def test_a_conversation_of_an_outage_moves_as_a_whole(
    kind: str, place: str, server: Server, reserved: bool, durability: str
) -> None:
    """What is said, updated and named in a thread that another process has, too, stays together."""
    factory = {} if reserved else {"thread_id_factory": lambda user_id: f"chat-{user_id}"}
    async with chatting(kind, place, **factory) as chat:
        alice = config(user_id="alice")

        def answer(state: MessagesState) -> dict[str, Any]:
            if server.process is not None:
                server.stop()  # Before the first save: only the thread's id is in the database.
            return {"messages": ["ok"]}

        graph = chat.compile(graph_builder(answer))
        if not reserved:
            await chat.say("theirs", user_id="alice")
            server.stop()
        for turn in ("one", "two"):
            given = {"messages": [turn]}
            await chat.call(graph, "invoke", given, alice, durability=durability)
        ours = await chat.current()
        await chat.call(graph, "update_state", ours.config, {"messages": ["noted"]})
        await chat.session("update_session", "alice", {"title": "Ours"})
        said = texts(await chat.call(graph, "invoke", {"messages": ["three"]}, alice))
        if reserved:
            server.start(hidden=True)
            async with chatting("sync", make_conninfo(place, port=5433)) as other:
                await other.say("theirs", user_id="alice")
            server.stop()
        server.start()
        await returned(chat)
        assert said == ["one", "ok", "two", "ok", "noted", "three", "ok"]
        (moved,) = await chat.sessions(title="Ours")
        assert await chat.history(moved) == said
        (theirs,) = [each for each in await chat.sessions() if each.id != moved.id]
        assert await chat.history(theirs) == ["theirs", "1 so far"]
        assert theirs.thread_id == ours.thread_id


async def test_no_session_is_created_with_a_given_id(chat: Chat, server: Server) -> None:
    """Nobody knows whether the database has it: `thread_id` is refused."""
    await chat.say("old", user_id="bob", thread_id="bobs")
    server.stop()
    with pytest.raises(SessionsUnavailableError):
        await chat.session("create_user_session", "alice", thread_id="bobs")
    server.start()


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("by_id", [False, True], ids=["answer", "by id"])
async def test_an_answer_to_a_question_in_the_database_is_refused(
    chat: Chat, server: Server, place: str, by_id: bool, durability: str
) -> None:
    """It is not taken for the answer to another question, in a session begun for it."""

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(interrupt("Well?"))]}

    graph = chat.compile(graph_builder(ask))
    asked = await chat.say("book it", graph, user_id="alice")
    (question,) = asked["__interrupt__"]
    answer: Any = Command(resume={question.id: "no"} if by_id else "no")
    alice = config(user_id="alice")
    server.stop()
    with pytest.raises(SessionsUnavailableError):
        await chat.call(graph, "invoke", answer, alice, durability=durability)
    server.start()
    await returned(chat)
    await chat.call(graph, "invoke", Command(resume="yes"), alice)
    assert await conversations(place) == [["book it", "yes"]]


async def test_a_closed_saver_holds_nothing_any_more(kind: str, place: str, server: Server) -> None:
    """After `close` in an outage there is nobody to write what would be held: runs raise."""
    async with chatting(kind, place) as chat:
        await chat.say("one", user_id="alice")
        server.stop()
        await chat.say("lost", user_id="alice")
        closed = chat.saver.close()
        if closed is not None:
            await closed
        with pytest.raises(psycopg.Error):
            await chat.say("two", user_id="alice")
    server.start()
