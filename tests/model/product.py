"""The product as the machine drives it: a sync and an async saver on one database.

The async saver lives in a loop of its own, in a thread, so that what a run leaves behind goes on
while the machine does something else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from functools import partial
from typing import Any, Final

import psycopg
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import MessagesState
from langgraph.types import Command, interrupt

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.model.conversations import Answer, Given, called, last_human, question, reply
from tests.model.records import DEFAULT
from tests.support import PATIENCE, graph_builder, texts

GATE: Final = "__gate"  # LangGraph keeps keys that begin so out of metadata.


class NodeError(Exception):
    """What a node raises that was told to fail."""


def answer(state: MessagesState) -> dict[str, Any]:
    """Answer the last human message by what that says, as `conversations` has it."""
    text = last_human(texts(state))
    if text.startswith("fail"):
        raise NodeError
    answers: list[str] = []
    while asked := question(text, len(answers)):
        answers.append(interrupt(asked))
    return {"messages": [AIMessage(reply(text, answers))]}


class Gate:
    """Where the node of a run waits until it is told to go on.

    Attributes:
        reached: Set when the node waits, or the run has ended before.
    """

    def __init__(self) -> None:
        """Begin closed."""
        self.reached, self._opened = threading.Event(), threading.Event()
        self._awaited: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def wait(self) -> None:
        """Wait in the node."""
        self.reached.set()
        assert self._opened.wait(PATIENCE)

    async def await_(self) -> None:
        """Wait in an async node."""
        self._awaited = asyncio.get_running_loop(), asyncio.Event()
        self.reached.set()
        await self._awaited[1].wait()

    def open(self) -> None:
        """Let the node go on."""
        self._opened.set()
        if self._awaited:
            loop, event = self._awaited
            loop.call_soon_threadsafe(event.set)


class UnderWay:
    """A run that waits in its node, or has ended before.

    Attributes:
        kind: Whose run it is.
        before: What was under way in the loop when it began.
    """

    def __init__(self, product: Product, kind: str, given: Any, options: dict[str, Any]) -> None:
        """Start it, and wait until its node waits."""
        self._product, self.kind, self._gate = product, kind, Gate()
        self.before = product.wait(_tasks())
        options["config"]["configurable"][GATE] = self._gate
        graph = product.graphs[kind]
        if not is_async(kind):
            self._run: Any = product.threads.submit(graph.invoke, given, **options)
            self._run.add_done_callback(self._ended)
        else:
            self._run = product.wait(_as_task(graph.ainvoke(given, **options), self._ended))
        assert self._gate.reached.wait(PATIENCE)
        if self._run.done():
            self.end()

    def _ended(self, _: object) -> None:
        self._gate.reached.set()

    def end(self) -> Any:
        """Let it go on, and return what it returns."""
        self._gate.open()
        if not is_async(self.kind):
            return self._run.result(PATIENCE)
        return self._product.wait(_result_of(self._run))

    def stop(self, then: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Cancel it, and do something else at once when it has ended; return what that returns."""
        stopped = self._product.wait(_cancelled(self._run, then))
        self._gate.open()
        return stopped


async def _as_task(
    run: Coroutine[Any, Any, Any], ended: Callable[[object], None]
) -> asyncio.Task[Any]:
    """Begin it; *ended* is added here, since from another thread that would not wake the loop."""
    task = asyncio.create_task(run)
    task.add_done_callback(ended)
    return task


async def _result_of(task: asyncio.Task[Any]) -> Any:
    return await task


async def _cancelled(task: asyncio.Task[Any], then: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    task.cancel()
    await asyncio.wait([task])
    return await then()


async def _tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks()


async def _settled(before: set[asyncio.Task[Any]]) -> None:
    """Wait until nothing is under way that was not *before*, but for what pools do."""
    known = {*before, asyncio.current_task()}
    while left := {
        task for task in asyncio.all_tasks() - known if not task.get_name().startswith("pool-")
    }:
        await asyncio.wait(left)


class Product:
    """The savers, and what there is to be done with them.

    Attributes:
        agents: The savers' agents.
        graphs: The compiled graph of each saver.
        threads: Where sync runs wait in their nodes.
    """

    def __init__(self, url: str, agents: Mapping[str, str | None]) -> None:
        """Open the savers: *agents* are theirs, by names that begin with `sync` or `async`."""
        self._url, self.agents = url, agents
        self.threads = ThreadPoolExecutor(8)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._savers: dict[str, Any] = {}
        self.graphs: dict[str, Any] = {}
        for kind in self.agents:
            self._open(kind)

    def close(self) -> None:
        """Close them."""
        for kind in self.agents:
            self.call(kind, self._savers[kind], "close")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.threads.shutdown()

    def restart(self, kind: str) -> None:
        """Close a saver, and open a new one."""
        self.call(kind, self._savers[kind], "close")
        self._open(kind)

    def _open(self, kind: str) -> None:
        agent = self.agents[kind]
        options: dict[str, Any] = {"pool_size": 4, "default_title": DEFAULT}
        options |= {"agent": agent} if agent else {}

        async def opened() -> AsyncSessionSaver:
            return AsyncSessionSaver(self._url, **options)

        def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            if gate := config["configurable"].get(GATE):
                gate.wait()
            if inner := called(last_human(texts(state))):
                self.graphs[kind].invoke(*_nested(inner))
            return answer(state)

        async def anode(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            if gate := config["configurable"].get(GATE):
                await gate.await_()
            if inner := called(last_human(texts(state))):
                await self.graphs[kind].ainvoke(*_nested(inner))
            return answer(state)

        if is_async(kind):
            self._savers[kind], builder = self.wait(opened()), graph_builder(anode)
        else:
            self._savers[kind], builder = SessionSaver(self._url, **options), graph_builder(node)
        self.graphs[kind] = builder.compile(checkpointer=self._savers[kind])
        self.session(kind, "has_session", "nobody")  # Its pool is open from now on.

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Wait for a coroutine of the loop's."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def call(self, kind: str, target: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of a saver, or its manager."""
        called = getattr(target, method)(*args, **kwargs)
        return self.wait(called) if is_async(kind) else called

    def session(self, kind: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the session manager."""
        return self.call(kind, self._savers[kind].sessions, method, *args, **kwargs)

    def graph(self, kind: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the graph, or its async twin."""
        return self.call(kind, self.graphs[kind], _of(kind, method), *args, **kwargs)

    def uses(self, kind: str, config: RunnableConfig) -> list[Callable[[], Any]]:
        """Return what can be done with a config: run, read, write."""
        return [
            lambda: self.run(kind, "hello", config, "sync"),
            lambda: self.graph(kind, "get_state", config),
            lambda: self._states(kind, config),
            lambda: self.update_state(kind, config, "> noted"),
        ]

    def changes(self, kind: str, user: str, thread: str | None) -> list[Callable[[], Any]]:
        """Return what can be done to a session by the manager, but for deactivating it."""
        methods = ("get_session", "switch_session", "fork_session", "delete_session")
        return [
            *(partial(self.session, kind, method, user, thread) for method in methods),
            partial(self.session, kind, "update_session", user, {"title": "X"}, thread_id=thread),
        ]

    def history(self, kind: str, user: str, thread: str | None) -> list[Any]:
        """Return the states of a thread, oldest first."""
        return self._states(kind, {"configurable": {"user_id": user, "thread_id": thread}})

    def _states(self, kind: str, config: RunnableConfig) -> list[Any]:
        if not is_async(kind):
            return [*self.graphs[kind].get_state_history(config)][::-1]

        async def listed() -> list[Any]:
            return [state async for state in self.graphs[kind].aget_state_history(config)][::-1]

        return self.wait(listed())

    def run(self, kind: str, given: Given, config: RunnableConfig, durability: str) -> Any:
        """Run the graph to its end."""
        return self.graph(kind, "invoke", _input(given), config, durability=durability)

    def update_state(self, kind: str, config: RunnableConfig, said: str) -> None:
        """Have the node say something."""
        self.graph(kind, "update_state", config, {"messages": [AIMessage(said)]}, as_node="node")

    def open(self, kind: str, given: str, config: RunnableConfig, durability: str) -> UnderWay:
        """Run the graph until its node waits."""
        return UnderWay(self, kind, _input(given), {"config": config, "durability": durability})

    def cancel(self, given: str, config: RunnableConfig, durability: str, then: str | None) -> Any:
        """Cancel an async run in its node, and say something else at once, or see it settle."""

        def said() -> Coroutine[Any, Any, Any]:
            if then is None:
                return _settled(waiting.before)
            fresh = {"configurable": dict(plain)}
            return self.graphs["async"].ainvoke(_input(then), fresh, durability=durability)

        plain = dict(config["configurable"])
        waiting = self.open("async", given, config, durability)
        return waiting.stop(said)

    def leave(self, kind: str, given: str, config: RunnableConfig, durability: str) -> None:
        """Leave a stream before the node runs."""
        options: dict[str, Any] = {"durability": durability, "stream_mode": "values"}
        graph = self.graphs[kind]
        if not is_async(kind):
            with closing(graph.stream(_input(given), config, **options)) as stream:
                next(stream)
            return

        async def left() -> None:
            async with aclosing(graph.astream(_input(given), config, **options)) as stream:
                await anext(stream)

        self.wait(left())

    def push_into_future(self, thread: str | None) -> None:
        """Have the time of a session's row lie in the future, as an older tool's may."""
        times = "SELECT updated_at + interval '1 hour' FROM user_sessions WHERE thread_id = %s"
        with psycopg.connect(self._url, autocommit=True) as conn:
            for (later,) in conn.execute(times, [thread]).fetchall():
                sql = "UPDATE user_sessions SET updated_at = %s WHERE thread_id = %s"
                conn.execute(sql, [later, thread])
        for kind in self.agents:
            self.forget(kind)

    def forget(self, kind: str) -> None:
        """Empty a saver's cache, as time does."""
        self.session(kind, "clear_memory_cache")


def is_async(kind: str) -> bool:
    """Say whether it is an async saver."""
    return kind.startswith("async")


def _nested(inner: str) -> tuple[Any, RunnableConfig]:
    """Return what a node calls a graph with."""
    return _input(inner), {"configurable": {"thread_id": inner}}


def _of(kind: str, method: str) -> str:
    return f"a{method}" if is_async(kind) else method


def _input(given: Given) -> Any:
    if isinstance(given, Answer):
        return Command(resume=given.text)
    return None if given is None else {"messages": [HumanMessage(given)]}
