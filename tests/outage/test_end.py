"""A saver or a program that ends in an outage writes what it held, or says what is lost."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest

from tests.outage.talking import chatting, conversations, saved_conversations, warnings_in
from tests.servers import Server
from tests.support import PATIENCE, texts


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
    assert "is lost" in said


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
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert ("is lost" in errors) == (end == "away")
    if end == "back":
        assert len(errors.splitlines()) == 2, errors  # The warning that it is away.
        assert saved_conversations(place, "alice") == [["held", "1 so far"]]


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
