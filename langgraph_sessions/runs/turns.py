"""A run's saves, one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Turns:
    """Lets one save of a run at a time go on, however wide the run fans out.

    All of them write to one row, the thread's. They queue here rather than in the database, so that
    a run holds one connection at most. It also settles who makes the session: a save that was sent
    before the session was made, and carried out after it was made and deleted, would outlive the
    deletion.

    After a save has failed the others fail side by side: each may wait for a database that is away.
    """

    def __init__(self) -> None:
        """Begin with the first save."""
        self._failed = False
        self._threads, self._tasks = threading.Lock(), asyncio.Lock()

    def __reduce__(self) -> tuple[type[Turns], tuple[()]]:
        """Copy and pickle with the runs of a config, without the locks."""
        return Turns, ()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Save in this block, in a thread."""
        with self._threads:
            if not self._failed:
                try:
                    yield
                except BaseException:
                    self._failed = True
                    raise
                return
        yield

    @asynccontextmanager
    async def aturn(self) -> AsyncIterator[None]:
        """Async version of `turn`, in a task."""
        async with self._tasks:
            if not self._failed:
                try:
                    yield
                except BaseException:
                    self._failed = True
                    raise
                return
        yield
