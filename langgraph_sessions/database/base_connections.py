"""What `Connections` and `AsyncConnections` are made of, before anything is opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar, Generic, TypeVar

import psycopg

from langgraph_sessions import checks, processes
from langgraph_sessions.database.pools import POOL_SIZE
from langgraph_sessions.database.source import Path, Source
from langgraph_sessions.errors import SessionError
from langgraph_sessions.outage.state import AWAY, HERE, OUTAGE_LIMIT, Outage
from langgraph_sessions.runs.thread_ids import ThreadIdFactory, default_thread_id

ConnT = TypeVar("ConnT")
PipeT = TypeVar("PipeT")


class BaseConnections(ABC, Generic[ConnT, PipeT]):
    """The way to a PostgreSQL database.

    Attributes:
        conn: The connection or pool.
        pipe: The pipeline that the connection is in, if any.
        lock: Held during a use of a single connection; of a pool, no lock at all.
        thread_id_factory: Makes the thread ids of new sessions.
        on_change: Called when the database goes away, and when it is back.
    """

    # The types that `conn` may have: a connection and a pool.
    _kinds: ClassVar[tuple[type, type]]

    def __init__(
        self,
        conn: str | ConnT | None,
        pipe: PipeT | None = None,
        *,
        path: Path | None = None,
        pool_size: int = POOL_SIZE,
        auto_setup: bool = True,
        thread_id_factory: ThreadIdFactory = default_thread_id,
        on_outage: str = "memory",
        outage_limit: int = OUTAGE_LIMIT,
        retry_for: float = 5.0,
    ) -> None:
        """Choose the database; it is opened on first use. Raises as `Source`."""
        pool_size = checks.number("pool_size", pool_size, 1)
        self._source = source = Source(conn, path, self._kinds)
        # Not by way of self: the pool's callback would keep it alive, and open, for ever.
        self._outage = outage = Outage.of(on_outage, outage_limit, retry_for)
        self.conn: ConnT = source.given or self._new_pool(
            source.conninfo, pool_size, lambda: outage.state == AWAY
        )
        self.pipe = pipe
        self._is_pool = isinstance(self.conn, self._kinds[1])
        self.lock: Any = nullcontext() if self._is_pool else self._new_lock()
        checks.function("thread_id_factory", thread_id_factory)
        self.thread_id_factory = thread_id_factory
        self.on_change: Callable[[], object] = lambda: None
        self._auto_setup = checks.boolean("auto_setup", auto_setup)
        self._is_open = source.given is not None
        self._is_ready = False
        self._is_forked = False  # From a process that had it open already.
        self._make_locks()
        self._probed_at = 0.0
        self._reached = True
        processes.watch(self)

    @staticmethod
    @abstractmethod
    def _new_pool(conninfo: str, size: int, is_away: Callable[[], bool]) -> Any:
        """Return a pool, yet to be opened."""

    @staticmethod
    @abstractmethod
    def _new_lock() -> Any:
        """Return a lock."""

    @abstractmethod
    def _make_locks(self) -> None:
        """Make what guards opening and probing: anew in a child, where nobody frees them."""

    @abstractmethod
    def forked(self) -> None:
        """Be of use to a forked child only if nothing was opened, or held, before."""

    def _was_used(self) -> bool:
        """Say whether anything was opened, or is held, that a child cannot share."""
        given: Any = self._source.given
        opened = self._is_open if given is None else not given.closed
        return opened or not self.durable

    @property
    def durable(self) -> bool:
        """Whether what is saved now is saved in the database."""
        return self._outage.state == HERE


def forked() -> SessionError:
    """Return the error for connections that were opened before this process was forked."""
    return SessionError(
        "this saver was opened before the process was forked, and connections cannot be shared "
        "with a parent: make, or first use, one in each worker"
    )


def missing(conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> SessionError:
    """Return the error for a database without our tables."""
    where = f"database {conn.info.dbname!r} at {conn.info.host or 'localhost'}"
    return SessionError(
        f"the tables of langgraph-sessions are missing or out of date in {where}: call "
        "setup() once, or leave auto_setup on"
    )
