"""Jobs beside the runs: calls of a titler, which nobody waits for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from langgraph_sessions.errors import described
from langgraph_sessions.log import logger

T = TypeVar("T")

CLOSE_SECONDS: Final = 5.0  # How long close() waits for titles under way.


def in_daemon(function: Callable[[], T]) -> Future[T]:
    """Call *function* in a thread of its own, in this context; no program waits for it to end.

    An executor's threads are waited for, by `asyncio.run` and when the interpreter exits.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result = context.run(function)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    _thread(work).start()
    return future


def _failed(thread_id: str, error: Exception) -> None:
    logger.warning(
        "a titler failed, and the session keeps its title: %s",
        described(error),
        extra={"thread_id": thread_id},
    )


def _thread(work: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=work, name="langgraph-sessions-titler", daemon=True)


class Background:
    """Jobs beside the runs: in daemon threads, which never keep a program from ending."""

    def __init__(self) -> None:
        """Start with none."""
        self._threads: set[threading.Thread] = set()

    def start(self, job: Callable[[], object], thread_id: str) -> None:
        """Do *job*, a title's of *thread_id*, in the background; its errors are logged."""

        def work() -> None:
            try:
                job()
            except Exception as error:
                _failed(thread_id, error)
            finally:
                self._threads.discard(thread)

        thread = _thread(work)
        self._threads.add(thread)
        thread.start()

    def close(self) -> None:
        """Wait a little for what is under way."""
        deadline = time.monotonic() + CLOSE_SECONDS
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))


class AsyncBackground:
    """Async version of `Background`, as tasks."""

    def __init__(self) -> None:
        """Start with none."""
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, job: Coroutine[Any, Any, object], thread_id: str) -> None:
        """Async version of `Background.start`."""

        async def work() -> None:
            try:
                await job
            except Exception as error:
                _failed(thread_id, error)

        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait a little for what is under way, and cancel the rest."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
