"""What a test that is not marked `server` must not do: start a process, or connect to anything.

An audit hook sees it in every thread, and whoever swallows its error is found out at the end.
What `multiprocessing` spawns is not seen: https://docs.python.org/3/library/audit_events.html
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import generators

FORBIDDEN = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "psycopg.connect",
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
}


class StartedError(AssertionError):
    """A test that is not marked `server` did what only those may do."""


class Watch:
    """What was seen of it, while somebody watches."""

    seen: list[str] | None = None
    # Threads that an earlier test left may go on: what they do is not this test's.
    earlier: frozenset[threading.Thread] = frozenset()


@contextmanager
def watching() -> Iterator[None]:
    """Let nothing be started in this block.

    Raises:
        StartedError: Something was, by whatever thread of the block's.
    """
    before = Watch.seen, Watch.earlier
    seen: list[str] = []
    Watch.seen = seen
    Watch.earlier = frozenset(threading.enumerate()) - {threading.current_thread()}
    try:
        yield
    finally:
        Watch.seen, Watch.earlier = before
    if seen:
        raise StartedError(_told(seen[0]))


def _told(event: str) -> str:
    return f"a test that is not marked `server` raised {event}"


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    seen = Watch.seen
    if seen is None or event not in FORBIDDEN:
        return
    if threading.current_thread() not in Watch.earlier:
        seen.append(event)
        raise StartedError(_told(event))


# libpq opens its sockets itself, without an event: this raises one for it.
_connect = generators.connect


def _audited(*args: Any, **kwargs: Any) -> Any:
    sys.audit("psycopg.connect", *args)
    return _connect(*args, **kwargs)


generators.connect = _audited
sys.addaudithook(_see)
