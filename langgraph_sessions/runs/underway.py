"""The saves under way in a saver: one at a time for each run, and carried out to their end."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from langchain_core.runnables import RunnableConfig

from langgraph_sessions.plans import Plan
from langgraph_sessions.runs.active import ActiveRun, active_run
from langgraph_sessions.runs.together import SaveTogether
from langgraph_sessions.runs.turns import Turns

T = TypeVar("T")
Key = str | tuple[None, str]  # A thread id; a user's, whatever the thread.

STEPS: Final = 50  # Of the event loop; closing a stream takes about ten.
CLEANING: Final = 5.0  # Seconds for which a run waits for another's task, or for the event loop.
TRIES: Final = 20  # Of what begins, or closes, while a run really goes on, and saves and saves.


class _Save:
    """A save under way; its end is a future once somebody waits for that, as seldom happens."""

    end: Future[None] | None = None
    is_over = False


class UnderWay:
    """The saves under way, by thread, and the run that began last on each.

    When a run is stopped, what it was saving goes on a little after its caller has gone on. A run
    that begins meanwhile loads the thread again when that is saved: else it would miss it, and be
    refused for it.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._saves: dict[str, list[_Save]] = {}
        self._loads: list[set[str]] = []
        self._runs: WeakValueDictionary[Key, ActiveRun] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- Saves -------------------------------------------------------------------------------

    def save(self, config: RunnableConfig, plan: Plan[T], run: Callable[[Plan[Any]], Any]) -> T:
        """Have *run* carry out *plan* in its run's turn."""
        thread_id, turns = _place(config)
        under_way = self._enter(thread_id)
        try:
            return turns.turn(plan, run, SaveTogether.of)
        finally:
            self._leave(thread_id, under_way)

    async def asave(
        self, config: RunnableConfig, plan: Plan[T], run: Callable[[Plan[Any]], Awaitable[Any]]
    ) -> T:
        """Async version of `save`; it goes on if the caller is cancelled.

        What somebody said is not to be lost by a stop at the wrong moment.
        """
        thread_id, turns = _place(config)
        under_way = self._enter(thread_id)
        loop = asyncio.get_running_loop()
        told: asyncio.Future[T] = loop.create_future()

        async def carry_out() -> None:
            try:
                result = await turns.aturn(plan, run, SaveTogether.of)
            except Exception as error:
                self._leave(thread_id, under_way)
                if not told.done():
                    told.set_exception(error)
            else:
                self._leave(thread_id, under_way)
                if not told.done():
                    told.set_result(result)

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not under_way.is_over:  # It was cancelled with the event loop.
                self._leave(thread_id, under_way)
                told.cancel()

        task = loop.create_task(carry_out())
        self._tasks.add(task)
        task.add_done_callback(end)
        return await told  # Not `shield`, which is told a turn of the event loop later.

    async def end(self) -> None:
        """Wait until the saves under way are over, whose callers may be gone, and what follows.

        A run that was stopped saves the rest of what it has when that is over: some steps later.
        One that really goes on saves and saves, and is not waited for any longer.
        """
        for _ in range(TRIES):
            await steps(lambda: bool(self._tasks))
            if not self._tasks:
                return
            await asyncio.wait(self._tasks)

    def _enter(self, thread_id: str) -> _Save:
        save = _Save()
        with self._lock:
            self._saves.setdefault(thread_id, []).append(save)
        return save

    def _leave(self, thread_id: str, save: _Save) -> None:
        with self._lock:
            saves = self._saves[thread_id]
            saves.remove(save)
            if not saves:
                del self._saves[thread_id]
            for saved in self._loads:
                saved.add(thread_id)
            save.is_over = True
        if save.end is not None:
            save.end.set_result(None)

    # --- Runs that begin ---------------------------------------------------------------------

    @contextmanager
    def loading(self) -> Iterator[set[str]]:
        """Load in this block; the set is of the threads to which something was saved meanwhile."""
        saved: set[str] = set()
        with self._lock:
            self._loads.append(saved)
        try:
            yield saved
        finally:
            with self._lock:
                self._loads = [each for each in self._loads if each is not saved]

    def saves(self, thread_id: str) -> list[Future[None]]:
        """Return the saves under way to a thread."""
        with self._lock:
            under_way = self._saves.get(thread_id, ())
            for save in under_way:
                save.end = save.end or Future()
            return [save.end for save in under_way if save.end]

    def goes_on(self, thread_id: str) -> bool:
        """Say whether a run of the thread may save more.

        One that has ended is referenced no more; or by the traceback of what it asked, or failed
        with, which is the last that it saves.
        """
        run = self._runs.get(thread_id)
        return run is not None and not run.is_stopped and run.asked_on is None

    async def settle(self, config: RunnableConfig) -> None:
        """Let a run end that was left in the middle before *config*'s begins.

        A stream that was left is closed by the event loop, some steps later, and may then save
        more. So may a task that was cancelled, whose nodes clean up first. Any other run that is
        still referenced after these steps is really under way.
        """
        if active_run(config) is not None:
            return
        key = _key(config["configurable"])
        await steps(lambda: key not in self._runs)
        if (task := _cancelled_task(self._runs.get(key))) is not None:
            await asyncio.wait([task], timeout=CLEANING)

    def note_task(self, config: RunnableConfig) -> None:
        """Note that *config*'s run, if it is one that has just begun, is this task's."""
        run = active_run(config)
        if run is not None and run.task is None and (task := asyncio.current_task()):
            run.task = weakref.ref(task)

    def begin(self, run: ActiveRun) -> None:
        """Note that *run* begins; one of its thread that was stopped before is over.

        One by which no session becomes current, such as that of a graph called inside another run,
        takes no other's place: where the user goes on without a thread id, it is not.
        """
        with self._lock:
            before = self._runs.get(run.thread_id)
            self._runs[run.thread_id] = run
            if run.makes_current:
                self._runs[None, run.user_id] = run
            else:
                self._runs.setdefault((None, run.user_id), run)
        if before is not None and before.is_stopped:
            before.claim.overtaken = True

    def stop(self, run: ActiveRun) -> None:
        """Note that *run* was stopped; it is over if another one has begun."""
        run.is_stopped = True
        with self._lock:
            last = self._runs.get(run.thread_id)
        if last is not None and last is not run:
            run.claim.overtaken = True


async def steps(enough: Callable[[], bool] = lambda: False) -> None:
    """Let the event loop take so many steps as a run that was left needs to end, or *enough*."""
    for _ in range(STEPS):
        if enough():
            return
        await asyncio.sleep(0)


def _cancelled_task(run: ActiveRun | None) -> asyncio.Task[Any] | None:
    """Return the task of *run* if it was cancelled, and has not ended yet."""
    task = run.task() if run is not None and run.task is not None else None
    if task is None or task.done() or task is asyncio.current_task():
        return None
    return task if task.cancelling() else None


def _key(configurable: Mapping[str, Any]) -> Key:
    """Return the key of the run that began last where one of this configurable goes."""
    thread_id, user_id = configurable.get("thread_id"), configurable.get("user_id")
    return (None, str(user_id)) if thread_id is None else str(thread_id)


def _place(config: RunnableConfig) -> tuple[str, Turns]:
    """Return where *config* saves to, and when it may; outside a run, at once."""
    run = active_run(config)
    if run is None:
        return str(config["configurable"].get("thread_id")), Turns()
    return run.thread_id, run.turns
