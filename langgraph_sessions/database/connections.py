"""The way to a PostgreSQL database: opened and checked on first use.

Here are the steps and their order, as deeds; `Database` and `AsyncDatabase` make the calls, sync
or async.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar, cast

import psycopg
from langgraph.checkpoint.postgres.base import MIGRATIONS as LANGGRAPH_MIGRATIONS

from langgraph_sessions import checks, processes
from langgraph_sessions.database import pools
from langgraph_sessions.database.deeds import Deed
from langgraph_sessions.database.lending import ConnT, Lending, PipeT
from langgraph_sessions.database.place import Place, refuse_missing, refuse_old_server
from langgraph_sessions.database.source import Path, Source, check_autocommit
from langgraph_sessions.errors import SessionError
from langgraph_sessions.sql import schema
from langgraph_sessions.sql.place import look


class Connections(Lending[ConnT, PipeT]):
    """The way to a PostgreSQL database.

    Attributes:
        on_change: Called when `durable` changes.
    """

    # The types that `conn` may have: a connection and a pool.
    _kinds: ClassVar[tuple[type, type]]

    _opening: Any  # A lock: one caller opens at a time.

    def __init__(
        self,
        conn: str | ConnT | None,
        pipe: PipeT | None = None,
        *,
        path: Path | None = None,
        pool_size: int = pools.POOL_SIZE,
        auto_setup: bool = True,
        retry_for: float = 5.0,
    ) -> None:
        """Choose the database; it is opened on first use.

        Raises:
            TypeError, ValueError: As `Source`; *pool_size*, *auto_setup* or *retry_for* has the
                wrong type, or is out of range.
        """
        pool_size = checks.number("pool_size", pool_size, 1)
        self._source = source = Source(conn, path, self._kinds)
        self._gives_up = self._when_to_give_up()
        self.conn: ConnT = source.given or self._new_pool(
            source.conninfo, pool_size, self._gives_up
        )
        self.pipe = pipe
        self.place = Place()
        self._is_pool = isinstance(self.conn, self._kinds[1])
        self.lock: Any = nullcontext() if self._is_pool else self._new_lock()
        self.on_change: Callable[[], object] = lambda: None
        self._auto_setup = checks.boolean("auto_setup", auto_setup)
        self._retry_for = checks.seconds("retry_for", retry_for, checks.LONGEST_WAIT)
        self._is_open = source.given is not None
        self._is_ready = False
        self._is_forked = False  # From a process that had it open already.
        self._make_locks()
        self._unopened: tuple[float, str] = (0.0, "")  # When it last could not be reached, and why.
        self._probed_at = 0.0
        self._reached = True
        processes.watch(self)

    @property
    def durable(self) -> bool:
        """Whether what is saved now is saved in the database."""
        return True

    def __repr__(self) -> str:
        """Say where it leads, without a password."""
        return f"<{type(self).__name__} on {self.where}>"

    @property
    def where(self) -> str:
        """Where it leads, without a password."""
        return str(self._source)

    def _when_to_give_up(self) -> Callable[[], bool]:
        """Return a function that says whether to stop connecting.

        The pool keeps it: it must hold no reference to this.
        """
        return lambda: False

    # --- How it is done, sync or async ---------------------------------------------------------

    @staticmethod
    @abstractmethod
    def _new_pool(conninfo: str, size: int, gives_up: Callable[[], bool]) -> Any:
        """Return a pool, yet to be opened."""

    @staticmethod
    @abstractmethod
    def _new_lock() -> Any:
        """Return a lock."""

    @abstractmethod
    def _make_locks(self) -> None:
        """Make the locks; in a forked child again: nobody would release its copies."""

    def _belong_here(self) -> None:
        """Note the event loop, if any, in which the database is about to be opened."""

    def _belong_nowhere(self) -> None:
        """Forget that event loop: the opening failed."""

    @abstractmethod
    def refuse_others(self) -> None:
        """Raise where connections opened before cannot be used."""

    @abstractmethod
    def _atomically(self, conn: Any, deed: Deed[Any]) -> Any:
        """Do *deed* in a transaction of *conn*'s."""

    # --- Forks ---------------------------------------------------------------------------------

    def forked(self) -> None:
        """Note a fork: unusable in the child if anything was open, or held."""
        self._make_locks()
        given: Any = self._source.given
        opened = self._is_open if given is None else not given.closed
        self._is_forked = self._is_forked or opened or not self.durable

    def refuse_fork(self) -> None:
        """Raise `SessionError` in a process that was forked from one that had it open."""
        if self._is_forked:
            raise SessionError(
                "this saver was opened before the process was forked, and connections cannot be "
                "shared with a parent: make, or first use, one in each worker"
            )

    # --- Opening -------------------------------------------------------------------------------

    def ready_deed(self) -> Deed[None]:
        """On first use, open the pool and see to the tables. Raises as `Database.ready`."""
        self.refuse_others()
        if not self._is_ready:
            yield from self._alone(self._make_ready)

    def setup_deed(self, *, citus: bool = False) -> Deed[None]:
        """Create or upgrade the tables, whatever `auto_setup` says. Raises as `ready_deed`.

        With *citus*, they are distributed.
        """
        self.refuse_others()
        yield from self._alone(partial(self._set_up, citus=citus))

    def _alone(self, work: Callable[[], Deed[None]]) -> Deed[None]:
        """Do *work* while nobody else opens, or sets up.

        Raises:
            psycopg.OperationalError: Somebody else could not reach the database, meanwhile.
        """
        self._belong_here()
        asked = time.monotonic()
        try:
            yield self._opening.acquire
            try:
                yield from self._unless_failed_since(asked, work)
            finally:
                self._opening.release()
        except BaseException:
            if not self._is_open and self.durable:
                self._belong_nowhere()
            raise

    def _unless_failed_since(self, asked: float, work: Callable[[], Deed[None]]) -> Deed[None]:
        """Do *work*; one failure is that of all who waited for it, not a time-out for each."""
        failed, why = self._unopened
        if failed >= asked:
            raise psycopg.OperationalError(why)
        try:
            yield from work()
        except psycopg.Error as error:
            if self.is_broken(error):
                self._unopened = (time.monotonic(), str(error))
            raise

    def _make_ready(self) -> Deed[None]:
        if self._is_ready:
            return
        yield from self._open()
        yield from self.with_connection(self._check_tables)
        self._is_ready = True

    def _set_up(self, *, citus: bool) -> Deed[None]:
        yield from self._open()
        yield from self.with_connection(partial(self._migrate, citus=citus))
        self._is_ready = True

    def _check_tables(self, conn: Any) -> Deed[None]:
        check_autocommit(conn)
        refuse_old_server(conn)
        tables = yield from self.drive_deed(conn, schema.current(LANGGRAPH_MIGRATIONS))
        if tables is not None:
            self.place.found(conn, tables)
        elif not self._auto_setup:
            yield from self.drive_deed(conn, refuse_missing(conn))
        else:
            yield from self._migrate(conn)

    def _migrate(self, conn: Any, *, citus: bool = False) -> Deed[None]:
        check_autocommit(conn)
        refuse_old_server(conn)
        if self.pipe:
            yield cast(Any, self.pipe).sync
        deed = self.drive_deed(conn, schema.migrate(LANGGRAPH_MIGRATIONS, citus=citus))
        tables = yield lambda: self._atomically(conn, deed)
        self.place.found(conn, tables)

    def _open(self) -> Deed[None]:
        if self._is_open:
            return
        pool = cast(Any, self.conn)
        if self._source.server:
            server = self._source.server
            pool.conninfo = yield lambda: self._block(server.start)
        # Once without the pool, which hides why it cannot connect and goes on trying.
        conn = yield from self.connect_deed()
        try:
            # The pool's own connections know the place alone, not the path that led to it.
            yield from self.drive_deed(conn, look())
        finally:
            yield conn.close
        self._is_open = True
        yield from self._open_pool(pool)

    def _open_pool(self, pool: Any) -> Deed[None]:
        """Open *pool* with one connection.

        Asked for one while its first is on its way, it would open a second, and go on to use both
        in turn: one caller's statements would be prepared, planned and executed in two processes.
        """
        size = pool.max_size
        yield pool.open
        try:
            yield partial(pool.resize, 1, 1)
            conn = yield partial(self._take, pool)
            yield partial(self._give_back, pool, conn)
        finally:
            yield partial(pool.resize, 1, size)
