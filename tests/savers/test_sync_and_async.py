"""Either saver's sync and async methods, in threads, loops and one connection."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_sessions import AsyncSessionSaver, SessionSaver
from tests.savers.saved import ALICE, Connection, counts
from tests.support import PATIENCE, config, graph_builder, psycopg_pool_options, texts

# --- The async methods of the sync saver --------------------------------------------------------

SYNC = (
    *("get_tuple", "list", "put", "put_writes", "delete_thread", "prune"),
    "get_delta_channel_history",
)


class Recording(SessionSaver):
    """Notes which of its sync methods ran, and in which threads."""

    def __init__(self, url: str) -> None:
        """Begin with nothing noted."""
        super().__init__(url)
        self.threads: dict[str, set[int]] = {}
        for name in SYNC:
            setattr(self, name, self._noted(name, getattr(self, name)))

    def _noted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **options: Any) -> Any:
            self.threads.setdefault(name, set()).add(threading.get_ident())
            return method(*args, **options)

        return noted

    def off_the_loop(self) -> set[str]:
        """Return the methods that ran, in other threads than this only."""
        here = threading.get_ident()
        return {name for name, threads in self.threads.items() if here not in threads}


@pytest.fixture
def recording(url: str) -> Iterator[Recording]:
    """A sync saver that notes its threads."""
    with Recording(url) as saver:
        yield saver


async def test_the_sync_saver_answers_ainvoke_off_the_loop(recording: Recording) -> None:
    """`ainvoke`, `aget_state` and their like work with `SessionSaver`, in other threads."""
    graph = graph_builder().compile(checkpointer=recording)
    await graph.ainvoke({"messages": ["one"]}, ALICE)
    async for _ in graph.astream({"messages": ["two"]}, ALICE):
        pass
    (session,) = recording.sessions.list_sessions("alice")
    added = {"messages": [AIMessage("added")]}
    await graph.aupdate_state(session.config, added, as_node="node")  # type: ignore[arg-type]
    state = await graph.aget_state(session.config)  # type: ignore[arg-type]
    assert texts(state) == ["one", "1 so far", "two", "3 so far", "added"]
    history = [s async for s in graph.aget_state_history(session.config)]  # type: ignore[arg-type]
    assert len(history) == 7
    assert recording.off_the_loop() == {"get_tuple", "list", "put", "put_writes"}


async def test_the_sync_savers_own_async_methods(recording: Recording, db: Connection) -> None:
    """Each async method of `SessionSaver` does what its sync twin does, off the loop."""
    graph = graph_builder().compile(checkpointer=recording)
    for thread_id in ("a", "b"):
        await graph.ainvoke({"messages": ["one"]}, config(user_id="alice", thread_id=thread_id))
    a = config(user_id="alice", thread_id="a", checkpoint_ns="")
    given = {"config": a, "channels": ["messages"]}
    expected = [
        recording.get_tuple(a),
        [*recording.list(a, limit=2)],
        recording.get_delta_channel_history(**given),
    ]
    recording.threads.clear()
    assert expected == [
        await recording.aget_tuple(a),
        [found async for found in recording.alist(a, limit=2)],
        await recording.aget_delta_channel_history(**given),
    ]
    await recording.aprune(["a"])
    assert counts(db, "a")["checkpoints"] == 1
    await recording.adelete_thread("a")
    await recording.aprune(["b"], strategy="delete")
    assert [sum(counts(db, thread_id).values()) for thread_id in "ab"] == [0, 0]
    assert recording.off_the_loop() == {*SYNC} - {"put", "put_writes"}


# --- The sync methods of the async saver --------------------------------------------------------

T = config(user_id="alice", thread_id="t", checkpoint_ns="")


def sync_calls(saver: AsyncSessionSaver) -> dict[str, Callable[[], Any]]:
    """Return a call of each synchronous method."""
    checkpoint = empty_checkpoint()
    at = config(**T["configurable"], checkpoint_id=checkpoint["id"])
    graph = graph_builder().compile(checkpointer=saver)
    return {
        "invoke": lambda: graph.invoke({"messages": ["one"]}, ALICE),
        "get_state": lambda: graph.get_state(T),
        "put": lambda: saver.put(T, checkpoint, {}, {}),
        "put_writes": lambda: saver.put_writes(at, [("messages", "x")], "task"),
        "get_tuple": lambda: saver.get_tuple(T),
        "list": lambda: [*saver.list(T)],
        "get_delta_channel_history": lambda: saver.get_delta_channel_history(
            config=T, channels=["messages"]
        ),
        "prune": lambda: saver.prune(["t"]),
        "delete_thread": lambda: saver.delete_thread("t"),
    }


async def test_the_async_savers_sync_methods_work_in_other_threads(
    url: str, db: Connection
) -> None:
    """From any other thread, each sync method of `AsyncSessionSaver` does its work."""
    async with AsyncSessionSaver(url) as saver:
        calls = sync_calls(saver)
        results = {name: await asyncio.to_thread(call) for name, call in calls.items()}
    assert texts(results["invoke"]) == ["one", "1 so far"]
    found = results["get_tuple"]
    assert found.config == results["put"]
    assert [write[1:] for write in found.pending_writes] == [("messages", "x")]
    assert results["list"] == [found]
    assert results["get_delta_channel_history"] == {"messages": {"writes": []}}
    assert sum(counts(db, "t").values()) == 0


async def test_a_sync_node_in_an_async_run_may_invoke_a_graph(url: str, db: Connection) -> None:
    """A sync node of an async run calls `invoke` of a subgraph, and all lands in one thread."""
    inner = graph_builder(lambda state: {"messages": [AIMessage("inside")]}).compile()
    async with AsyncSessionSaver(url) as saver:
        graph = graph_builder(lambda state: inner.invoke(state)).compile(checkpointer=saver)
        state = await graph.ainvoke({"messages": ["one"]}, ALICE)
    assert texts(state) == ["one", "inside"]
    found = db.execute("SELECT DISTINCT thread_id, checkpoint_ns <> '' AS inner FROM checkpoints")
    assert sorted(row["inner"] for row in found) == [False, True]
    assert db.execute("SELECT DISTINCT thread_id FROM checkpoints").rowcount == 1


async def test_sync_methods_on_the_loops_thread_are_refused(url: str) -> None:
    """Where waiting would be for ever, each sync method raises at once, and leaves no warning."""
    async with AsyncSessionSaver(url) as saver:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for call in sync_calls(saver).values():
                with pytest.raises(asyncio.InvalidStateError, match="await"):
                    call()
            gc.collect()
        messages = [str(warning.message) for warning in warned]
        assert [message for message in messages if "never awaited" in message] == []
        assert await saver.sessions.list_sessions() == await saver.sessions.list_sessions("alice")
        assert await saver.sessions.count_sessions() == 0


# --- One connection -----------------------------------------------------------------------------


async def test_a_sync_run_on_the_loops_thread_does_not_wait_for_the_loop_for_ever(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save of the loop's own that is under way on its thread ends only after the run."""
    monkeypatch.setattr("langgraph_sessions.savers.saver.CLEANING", 0.05)
    with SessionSaver(url, concurrent_runs="allow") as saver:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["Hello"]}, ALICE)
        here = saver.sessions.get_current_user_session("alice").config
        saved = {"configurable": {**here["configurable"], "checkpoint_ns": ""}}
        save = asyncio.create_task(saver.aput(saved, empty_checkpoint(), {"source": "update"}, {}))
        await asyncio.sleep(0)
        assert saver._under_way.saves(here["configurable"]["thread_id"])
        graph.invoke({"messages": ["Hello again"]}, here)
        assert not save.done()
        await save


def finishes(function: Callable[[], Any]) -> bool:
    """Say whether *function* returns, in a thread that a deadlock may keep."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


@pytest.mark.parametrize("who", [{"user_id": "alice"}, {}], ids=["user", "nobody"])
def test_the_saver_may_be_called_while_listing(url: str, who: dict[str, Any]) -> None:
    """Inside `for … in saver.list(…)` on one connection, the saver and its manager answer."""
    seen: list[Any] = []
    thread = config(**who, thread_id="t")

    def use(saver: SessionSaver) -> None:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": ["one"]}, thread)
        for found in saver.list(thread):
            assert saver.get_tuple(found.config) == found
            saver.put_writes(found.config, [("messages", "x")], "task")
            seen.append(saver.sessions.count_sessions("alice"))
            if len(seen) == 2:
                graph.invoke({"messages": ["two"]}, thread)

    with psycopg.connect(url, **psycopg_pool_options()) as connection:
        saver = SessionSaver(connection)
        assert finishes(lambda: use(saver))
    assert seen == [len(who)] * 3


@pytest.mark.parametrize("who", [{"user_id": "alice"}, {}], ids=["user", "nobody"])
async def test_the_async_saver_may_be_called_while_listing(url: str, who: dict[str, Any]) -> None:
    """Inside `async for … in saver.alist(…)` on one connection, saver and manager answer."""
    seen: list[Any] = []
    thread = config(**who, thread_id="t")
    options = psycopg_pool_options()
    async with await psycopg.AsyncConnection.connect(url, **options) as connection:
        saver = AsyncSessionSaver(connection)
        graph = graph_builder().compile(checkpointer=saver)
        async with asyncio.timeout(60):
            await graph.ainvoke({"messages": ["one"]}, thread)
            async for found in saver.alist(thread):
                assert await saver.aget_tuple(found.config) == found
                await saver.aput_writes(found.config, [("messages", "x")], "task")
                seen.append(await saver.sessions.count_sessions("alice"))
                if len(seen) == 2:
                    await graph.ainvoke({"messages": ["two"]}, thread)
    assert seen == [len(who)] * 3
