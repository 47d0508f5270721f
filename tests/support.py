"""What several tests share."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

import psycopg
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from psycopg.rows import dict_row

from langgraph_sessions import AsyncSessionSaver, Session, SessionPage, SessionSaver
from tests import pgbouncer

PATIENCE = 300.0  # Seconds after which what was waited for will not come.
TABLES = (
    "user_sessions",
    "session_threads",
    "session_users",
    "session_reservations",
    "checkpoints",
    "checkpoint_blobs",
    "checkpoint_writes",
)
# Of the database's connections, but for the one that asks, and those of Citus' own nodes.
CLIENTS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
AND pid <> pg_backend_pid() AND application_name NOT LIKE 'citus%'"""


def until(condition: Callable[[], object]) -> None:
    """Wait for *condition*."""
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.02)


def psycopg_pool_options() -> dict[str, Any]:
    """Return the options of the connections that tests open themselves."""
    options: dict[str, Any] = {"autocommit": True, "row_factory": dict_row}
    # A server's statements prepared by one client would be another's.
    return {**options, "prepare_threshold": None} if pgbouncer.wanted() else options


def past_pooler(conninfo: str) -> str:
    """Return *conninfo* for the plain saver, which prepares statements and so needs the server."""
    return pgbouncer.past(conninfo)


def pair(db: psycopg.Connection[Any]) -> None:
    """Give sessions that were made, or deleted, by hand the rows of their threads."""
    db.execute("""
        INSERT INTO session_threads (thread_id, user_id) SELECT thread_id, user_id
        FROM user_sessions ON CONFLICT (thread_id) DO NOTHING""")
    db.execute("""
        DELETE FROM session_threads WHERE thread_id NOT IN (SELECT thread_id FROM user_sessions)""")


def config(**configurable: Any) -> RunnableConfig:
    """Return a config with this configurable."""
    return {"configurable": configurable}


def graph_builder(
    node: Callable[..., Any] | None = None,
) -> StateGraph[MessagesState, None, MessagesState, MessagesState]:
    """Return a one-node graph whose answer counts the messages before it."""

    def count(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{len(state['messages'])} so far")]}

    builder = StateGraph(MessagesState)
    builder.add_node("node", node or count)
    builder.add_edge(START, "node")
    return builder


def texts(state: Any) -> list[str]:
    """Return the texts of a state's messages."""
    values = state if isinstance(state, dict) else state.values
    return [str(message.content) for message in values.get("messages", [])]


class Chat:
    """One way to talk to either saver: every method is a coroutine.

    The sync saver's methods run in a thread, as they would in a program without a loop.
    """

    def __init__(self, saver: SessionSaver | AsyncSessionSaver) -> None:
        """Compile the counting graph with *saver*."""
        self.saver = saver
        self.is_async = isinstance(saver, AsyncSessionSaver)
        self.graph = self.compile(graph_builder())

    def compile(self, builder: Any, **options: Any) -> Any:
        """Compile *builder* with the saver."""
        return builder.compile(checkpointer=self.saver, **options)

    async def call(self, target: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method* of *target*, or its `a…` twin for the async saver."""
        if not self.is_async:
            return await asyncio.to_thread(_exhausted, getattr(target, method), args, kwargs)
        result = getattr(target, f"a{method}")(*args, **kwargs)
        if inspect.isasyncgen(result) or hasattr(result, "__aiter__"):
            return [item async for item in result]
        return await result

    async def say(self, text: Any = "Hello", graph: Any = None, **configurable: Any) -> Any:
        """Run the graph with one human message, which *text* is."""
        given = {"messages": [text]}
        return await self.call(graph or self.graph, "invoke", given, config(**configurable))

    async def session(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call *method* of the session manager."""
        bound = getattr(self.saver.sessions, method)
        if self.is_async:
            return await bound(*args, **kwargs)
        return await asyncio.to_thread(bound, *args, **kwargs)

    async def current(self, user_id: str = "alice") -> Session:
        """Return the user's current session, from the database."""
        await self.session("clear_memory_cache")
        session = await self.session("get_current_user_session", user_id)
        assert isinstance(session, Session)
        return session

    async def sessions(self, user_id: str | None = "alice", **filters: Any) -> list[Session]:
        """Return the user's sessions; without one, everybody's."""
        users = () if user_id is None else (user_id,)
        page = await self.session("list_sessions", *users, **filters)
        assert isinstance(page, SessionPage)
        return list(page)

    async def history(self, session: Session) -> list[str]:
        """Return the texts of a session's messages."""
        return texts(await self.call(self.graph, "get_state", session.config))


async def in_one_moment(
    chat: Chat, graph: Any, given: list[Any], durability: str, where: RunnableConfig | None = None
) -> list[Any]:
    """Run *graph* with all inputs *given* at once, for alice; return what became of them."""
    place = where or config(user_id="alice")
    runs = (chat.call(graph, "invoke", each, place, durability=durability) for each in given)
    return await asyncio.gather(*runs, return_exceptions=True)


def asking(
    questions: int = 1, *, together: threading.Barrier | None = None, below: bool = False
) -> Any:
    """Return a graph that asks in a row, and has answers to the first one meet."""

    def ask(state: MessagesState) -> dict[str, Any]:
        said = [interrupt("0")]
        if together is not None:
            together.wait(PATIENCE)
        said += [interrupt(str(number)) for number in range(1, questions)]
        return {"messages": [AIMessage(f"You said {' and '.join(said)}")]}

    asks = graph_builder(ask)
    return graph_builder(asks.compile()) if below else asks  # type: ignore[arg-type]


def _exhausted(function: Any, args: Any, kwargs: Any) -> Any:
    result = function(*args, **kwargs)
    return list(result) if inspect.isgenerator(result) else result


def python(program: str, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run *program* in a new interpreter that treats every warning as an error."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program, *args],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
    # In this mode asyncio tells of each step over 0.1 seconds: of how busy the machine is.
    ended.stderr = re.sub(r"Executing <.*> took [\d.]+ seconds\n", "", ended.stderr)
    return ended


def stream(pipe: IO[str] | None) -> IO[str]:
    """Return *pipe*, which is there."""
    assert pipe is not None
    return pipe
