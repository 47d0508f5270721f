"""A database that was never reached: what is said of it, and after how many tries."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Iterator

import psycopg
import pytest

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.outage.talking import chatting
from tests.servers import Server
from tests.support import Chat

pytestmark = pytest.mark.server
KINDS = ["sync", "async"]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on: it is bound, and so is nobody else's."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_closed_port_asks_whether_the_url_is_right(
    kind: str, closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning names host, port and database, and not the password; the chat goes on."""
    url = f"postgresql://me:secret@127.0.0.1:{closed_port}/app"
    async with chatting(kind, url) as chat:
        said = await chat.say("one", user_id="alice")
        (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(said["messages"]) == 2
    asked = f"host 127.0.0.1, port {closed_port}, database app"
    text = warning.getMessage()
    assert text.startswith(f"the database was never reached: is its URL right ({asked})?")
    assert "refused" in text
    assert "secret" not in text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_host_that_does_not_resolve_says_so(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the host, and says that there is no such name."""
    async with chatting(kind, "postgresql://me:secret@no-such-host.invalid/app") as chat:
        await chat.say("one", user_id="alice")
        (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "is its URL right (host no-such-host.invalid, port 5432, database app)?" in warning
    assert "failed to resolve host 'no-such-host.invalid'" in warning
    assert "secret" not in warning


@pytest.mark.parametrize("kind", KINDS)
async def test_every_error_says_why(kind: str) -> None:
    """With `on_outage="raise"` the first error says why, and so does that of each later call."""
    url = "postgresql://no-such-host.invalid/app"
    options = {"on_outage": "raise", "retry_for": 0}
    async with chatting(kind, url, **options) as chat:
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError, match="failed to resolve host 'no-such"):
                await chat.say("one", user_id="alice")


async def test_a_database_that_was_reached_is_not_asked_about(
    chat: Chat, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Once it was there, an outage is no question of the URL."""
    await chat.say("one", user_id="alice")
    server.stop(signal.SIGKILL)
    await chat.say("two", user_id="alice")
    assert "the database is away" in caplog.text
    assert "never reached" not in caplog.text


class Deaf(threading.Thread):
    """A server that hangs up at once on whoever connects, or never says a word.

    Attributes:
        tries: How many did.
    """

    def __init__(self, *, hangs_up: bool = True) -> None:
        super().__init__(daemon=True)
        self.tries = 0
        self._hangs_up = hangs_up
        self._callers: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        self.url = f"postgresql://127.0.0.1:{port}/app?sslmode=disable&gssencmode=disable"

    def run(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            self.tries += 1
            self._callers.append(caller)
            if self._hangs_up:
                caller.close()

    def __enter__(self) -> Deaf:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.join()
        for caller in self._callers:
            caller.close()


async def test_sync_and_async_know_it_after_as_many_tries() -> None:
    """The async saver connects no more often than the sync one before it says that it cannot."""
    options = {"on_outage": "raise", "retry_for": 0}
    tries = []
    for kind in KINDS:
        with Deaf() as deaf:
            async with chatting(kind, deaf.url, **options) as chat:
                with pytest.raises(psycopg.OperationalError):
                    await chat.say("one", user_id="alice")
            tries.append(deaf.tries)
    assert tries[0] == tries[1] > 0


@pytest.mark.parametrize("kind", KINDS)
async def test_callers_of_a_silent_server_wait_for_one_time_out(kind: str) -> None:
    """Those who come while one of them tries do not try one after another: it is told to all."""
    options = {"on_outage": "raise", "retry_for": 0}
    with Deaf(hangs_up=False) as silent:
        async with chatting(kind, f"{silent.url}&connect_timeout=2", **options) as chat:
            said = (chat.say("one", user_id=f"user {n}") for n in range(4))
            results = await asyncio.gather(*said, return_exceptions=True)
    assert silent.tries == 1
    assert all("timeout expired" in str(error) for error in results)
    assert all(isinstance(error, psycopg.OperationalError) for error in results)


class Tries(logging.Handler):
    """Notes how often a server had been tried when this package warned."""

    def __init__(self, server: Deaf) -> None:
        super().__init__(logging.WARNING)
        self._server = server
        self.seen: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self._server.tries)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_outage_is_known_after_one_probe(kind: str) -> None:
    """What connects is the first use, and then a probe: a try, and whether anybody is there."""
    logger = logging.getLogger("langgraph_sessions")
    with Deaf() as deaf:
        logger.addHandler(tries := Tries(deaf))
        try:
            async with chatting(kind, deaf.url) as chat:
                await chat.say("one", user_id="alice")
                seen = [*tries.seen]
        finally:
            logger.removeHandler(tries)
    assert seen == [3]


async def test_an_unreachable_database_leaves_the_event_loop_free(closed_port: int) -> None:
    """While the async saver tries, whatever else runs in the loop goes on."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    url = f"postgresql://127.0.0.1:{closed_port}/app"
    async with chatting("async", url) as chat:
        turning = asyncio.create_task(turn())
        await chat.say("one", user_id="alice")
        turning.cancel()
    assert turns > 100


@pytest.mark.parametrize("saver", [SessionSaver, AsyncSessionSaver])
@pytest.mark.parametrize("password", ["pa@ss", "pa/ss", "p@a:s/s"])
async def test_a_password_that_ends_early_is_quoted_nowhere(
    saver: type[SessionSaver | AsyncSessionSaver], password: str
) -> None:
    """A password with an `@` or `/` left as it is would stand in the host's place: refused."""
    with pytest.raises(ValueError, match="are written %40, %2F and %3A") as raised:
        saver(f"postgresql://me:{password}@localhost/app")
    assert "ss" not in str(raised.value).replace("password", "")
