"""Connections, lent to those who use one: the one that there is, or one of a pool's.

Those of a pool that died meanwhile are noticed, and replaced.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolTimeout

from langgraph_sessions.database import failures, pools
from langgraph_sessions.database.deeds import Deed, T
from langgraph_sessions.database.place import Place
from langgraph_sessions.database.probing import probe
from langgraph_sessions.plans import Plan

ConnT = TypeVar("ConnT")
PipeT = TypeVar("PipeT")

IDLE: Final = TransactionStatus.IDLE


class Lending(ABC, Generic[ConnT, PipeT]):
    """What lends connections.

    Attributes:
        conn: The connection or pool.
        pipe: The pipeline that the connection is in, if any.
        lock: Held during a use of a single connection; of a pool, no lock at all.
        place: The schema of the tables, to which every connection must lead.
    """

    conn: ConnT
    pipe: PipeT | None
    lock: Any
    place: Place
    _is_pool: bool
    _is_open: bool
    _probing: Any  # A lock: one caller probes the server at a time.
    _probed_at: float
    _reached: bool

    # --- How it is done, sync or async ---------------------------------------------------------

    @abstractmethod
    def _connect(self, conninfo: str, **options: Any) -> Any:
        """Open a connection."""

    @abstractmethod
    def _block(self, function: Callable[[], Any]) -> Any:
        """Call a function that blocks."""

    @abstractmethod
    def _trouble(self, conn: Any) -> Any:
        """Return what is wrong with an idle connection, if anything is."""

    @abstractmethod
    def _take(self, pool: Any) -> Any:
        """Take a connection out of *pool*."""

    @abstractmethod
    def _give_back(self, pool: Any, conn: Any) -> Any:
        """Give *conn* back to *pool*."""

    @abstractmethod
    def drive_deed(self, conn: Any, plan: Plan[T]) -> Deed[T]:
        """Run a plan of questions alone on *conn*."""

    # --- Lending -------------------------------------------------------------------------------

    def with_connection(self, use: Callable[[Any], Deed[T]]) -> Deed[T]:
        """Do what *use* does with a connection.

        Raises:
            SessionError: Its search path does not lead to the tables.
        """
        return self._with_pooled(use) if self._is_pool else self._with_own(use)

    def _with_own(self, use: Callable[[Any], Deed[T]]) -> Deed[T]:
        """Use the one connection, alone."""
        yield self.lock.acquire
        try:
            return (yield from self._in_place(self.conn, use))
        finally:
            try:
                if self.pipe:
                    yield cast(Any, self.pipe).sync
            finally:
                self.lock.release()

    def _in_place(self, conn: Any, use: Callable[[Any], Deed[T]]) -> Deed[T]:
        return use(conn) if self.place.knows(conn) else self._put_in_place(conn, use)

    def _put_in_place(self, conn: Any, use: Callable[[Any], Deed[T]]) -> Deed[T]:
        yield from self.drive_deed(conn, self.place.ask(conn))
        return (yield from use(conn))

    def _with_pooled(self, use: Callable[[Any], Deed[T]]) -> Deed[T]:
        """Use a connection of the pool's that is not known to be dead, and commit.

        There is nothing to commit unless somebody who borrowed it before turned autocommit off.
        """
        pool: Any = self.conn
        conn = yield partial(self._take, pool)
        try:
            error = (yield partial(self._trouble, conn)) if pools.has_news(conn) else None
            if error is None:
                result = yield from self._in_place(conn, use)
                if conn.pgconn.transaction_status != IDLE and not conn.closed:
                    yield conn.commit
                return result
        except BaseException:
            with suppress(psycopg.Error):
                yield conn.rollback
            raise
        finally:
            yield partial(self._give_back, pool, conn)
        # The others may be dead, too: `reaches_deed` replaces them all.
        if not (yield from self.reaches_deed(error)):
            raise error
        return (yield from self._with_pooled(use))

    def is_broken(self, error: psycopg.Error) -> bool:
        """Say whether *error* is about a connection that another one may replace.

        A read-only server is only where a failover is followed: any other stays as it is.
        """
        if not self._is_pool or not failures.is_broken(error):
            return False
        if error.sqlstate != failures.READ_ONLY:
            return True
        found = pools.endpoint(self.conn)
        return found is None or failures.follows_primary(found[0])

    def reaches_deed(self, failure: BaseException | None = None) -> Deed[bool]:
        """Say whether a new connection can be made, after *failure*.

        If so, the pool replaces its old ones, unless *failure* is a `PoolTimeout`.

        Raises:
            psycopg.OperationalError: A server answers, but refuses the login.
        """
        found = pools.endpoint(self.conn)
        if found is None:
            self._reached = True  # As far as can be known.
            return True
        asked = time.monotonic()
        yield self._probing.acquire
        try:
            if self._probed_at < asked:  # Else another caller probed meanwhile.
                self._reached = yield from probe(self._connect, self._block, *found)
                self._probed_at = time.monotonic()
                if self._reached and self._is_open and not isinstance(failure, PoolTimeout):
                    yield cast(Any, self.conn).drain
            return self._reached
        finally:
            self._probing.release()

    def connect_deed(self) -> Deed[Any]:
        """Open another connection, for the caller to close.

        Raises:
            ValueError: The pool's conninfo or kwargs are functions.
            psycopg.OperationalError: There is no such server or database, or it refuses the login.
        """
        found = pools.endpoint(self.conn)
        if found is None:
            raise ValueError("conn must be a pool whose conninfo and kwargs are no functions")
        conninfo, options = found
        return (yield lambda: self._connect(conninfo, **options))
