"""A run's saves while its session is being made: one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager


class Making:
    """Lets one save of a run at a time go on until one has made the session.

    LangGraph saves a task's writes, and a subgraph's checkpoints, beside the checkpoint that
    makes the session. A save says whether the session existed when it was sent. One sent before
    the session was made, and carried out after it was made and deleted, would look to the database
    like one for a session yet to be made, and outlive the deletion.

    Attributes:
        over: Whether saves may overlap: the session exists, or a save failed; the others then
            fail side by side, not one after another.
    """

    def __init__(self, *, over: bool = False) -> None:
        """Begin with the first save, unless it is *over*."""
        self.over = over
        self._threads, self._tasks = threading.Lock(), asyncio.Lock()

    def __reduce__(self) -> tuple[type[Making], tuple[()], dict[str, bool]]:
        """Copy and pickle with the runs of a config, without the locks."""
        return Making, (), {"over": self.over}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Save in this block, in a thread."""
        with ExitStack() as waiting:
            if not self.over:
                waiting.enter_context(self._threads)
            if self.over:
                waiting.close()
            try:
                yield
            except BaseException:
                self.over = True
                raise

    @asynccontextmanager
    async def aturn(self) -> AsyncIterator[None]:
        """Async version of `turn`, in a task."""
        async with AsyncExitStack() as waiting:
            if not self.over:
                await waiting.enter_async_context(self._tasks)
            if self.over:
                await waiting.aclose()
            try:
                yield
            except BaseException:
                self.over = True
                raise
