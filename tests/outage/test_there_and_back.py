"""What is said while the database is away is written when it is back, whatever happens then."""

from __future__ import annotations

import asyncio
import signal
import threading
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from langgraph.types import Command

from langgraph_sessions import SessionSaver
from langgraph_sessions.database import pools
from langgraph_sessions.plans import Fetch, Plan
from tests.citus import on_each_node
from tests.outage.talking import STOPS, chatting, conversations, returned, warnings_in
from tests.servers import Server, until
from tests.support import PATIENCE, Chat, asking, config, python, texts

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
CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('inserts') = 3 THEN {} END IF; RETURN NEW;
END $$"""
TRIGGER = "CREATE TRIGGER crash BEFORE INSERT ON checkpoints FOR EACH ROW EXECUTE FUNCTION crash()"


def is_third_inserted(place: str) -> bool:
    """Say whether it begins to be, on whichever node."""
    return (True,) in on_each_node(place, "SELECT last_value >= 3 FROM inserts")


async def said_before_recovery(chat: Chat, server: Server, place: str, what: str) -> Any:
    """Talk in an outage, and end it: *what* happens when the third checkpoint is written."""
    on_each_node(place, "CREATE SEQUENCE inserts")
    for statement in (CRASH.format(what), TRIGGER):
        server.execute(statement)
    server.stop()
    await chat.say("one", user_id="alice")
    said = await chat.say("two", user_id="alice")
    server.start()
    return said


@dataclass(frozen=True)
class SleepOnce(Fetch):
    """What is tried once, and is under way until the server is stopped."""

    sql: str = "SELECT pg_sleep(600)"

    once = True


SLEEPING = """
SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'"""


async def run(chat: Chat, plan: Plan[Any]) -> Any:
    """Have the saver's database run *plan*."""
    found = chat.saver._database.run
    return await (found(plan) if chat.is_async else asyncio.to_thread(found, plan))


async def test_what_is_tried_once_tells_others_that_the_server_is_away(
    kind: str, server: Server, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks next talks on in memory: they wait for no connection of the pool's."""
    monkeypatch.setattr(pools, "WAIT", 10 * PATIENCE)

    def once() -> Plan[Any]:
        return (yield SleepOnce())

    async with chatting(kind, place) as chat:
        await chat.say("before", user_id="alice")
        asked = asyncio.ensure_future(run(chat, once()))
        await until(lambda: server.execute(SLEEPING))
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            await asked
        async with asyncio.timeout(PATIENCE):
            said = await chat.say("hello", user_id="bob")
        assert texts(said) == ["hello", "1 so far"]
        assert not chat.saver.durable
        server.start()
        await returned(chat)


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
    await until(lambda: is_third_inserted(place))
    server.stop(signal.SIGKILL)
    # As soon as it is known to be away again; until then what is being written cannot be used.
    await until(lambda: chat.saver._database._outage.state == "away")
    said = await chat.say("three", user_id="alice")
    server.start()
    await returned(chat)
    assert await conversations(place) == [texts(said)]
    assert texts(said)[::2] == ["one", "two", "three"]
    assert len([said for said in warnings_in(caplog) if "in memory until it" in said]) == 1


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
    await until(lambda: is_third_inserted(place))
    said = await chat.say("three", user_id="alice")
    assert not chat.saver.durable
    on_each_node(place, "SELECT setval('inserts', 100)")
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
