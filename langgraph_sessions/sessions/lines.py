"""Lines of those in this process who want the same thing: threads, and tasks of any event loop."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future
from typing import Final
from weakref import WeakValueDictionary

from langgraph_sessions import processes

Place = Future[None]  # In a line; it is done once it is served.


class Line:
    """A line for something of which there is so much: who comes first is served first."""

    def __init__(self, stock: int) -> None:
        """Serve *stock* at a time."""
        self._lock = threading.Lock()
        self._stock = stock
        self._served: set[Place] = set()
        self._waiting: dict[Place, None] = {}  # In order.

    def enter(self, place: Place) -> None:
        """Stand in line, until `leave`."""
        with self._lock:
            self._waiting[place] = None
            self._serve()

    def leave(self, place: Place) -> None:
        """Make room for the next one, if it was served; else no longer stand in line."""
        with self._lock:
            self._waiting.pop(place, None)
            self._served.discard(place)
            self._serve()

    def _serve(self) -> None:
        while self._waiting and len(self._served) < self._stock:
            place = next(iter(self._waiting))
            self._served.add(place)
            del self._waiting[place]
            place.set_result(None)


class Lines:
    """The lines of a process, each as long as somebody stands in it."""

    def __init__(self) -> None:
        """Begin with none."""
        self.forked()
        processes.watch(self)

    def forked(self) -> None:
        """Begin with none in a forked child, too: who stands in line is in the parent."""
        self._lock = threading.Lock()
        self._lines: WeakValueDictionary[Hashable, Line] = WeakValueDictionary()

    def line(self, wanted: Hashable, stock: int) -> Line:
        """Return the line for what is *wanted*, of which there is so much."""
        with self._lock:
            return self._lines.setdefault(wanted, Line(stock))


LINES: Final = Lines()
