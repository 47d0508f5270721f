"""Databases for which memory answers during an outage; they are written to after it."""

from __future__ import annotations

import asyncio
import atexit
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, get_args

import psycopg

from langgraph_sessions import checks
from langgraph_sessions.database import failures, pools
from langgraph_sessions.database.aio_database import AsyncDatabase
from langgraph_sessions.database.database import Database
from langgraph_sessions.database.deeds import Deed, T, ado, do
from langgraph_sessions.database.lending import ConnT, PipeT
from langgraph_sessions.database.running import Running
from langgraph_sessions.errors import ConcurrentRunError, described
from langgraph_sessions.outage.journal import Entry
from langgraph_sessions.outage.sessions import refuse
from langgraph_sessions.outage.state import AWAY, HERE, RETURNING, Outage
from langgraph_sessions.outage.writing import Taken, write
from langgraph_sessions.plans import Question
from langgraph_sessions.runs.thread_ids import ThreadIdFactory
from langgraph_sessions.types import OnOutage

ON_OUTAGE: Final[tuple[str, ...]] = get_args(OnOutage)


def database(
    *args: Any,
    on_outage: str,
    outage_limit: int,
    thread_id_factory: ThreadIdFactory,
    **options: Any,
) -> Database:
    """Return a database that is bridged if *on_outage* is `"memory"`. Raises as `Bridge`."""
    limit = _limit(outage_limit)
    if _holds(on_outage):
        return Bridge(*args, limit=limit, thread_id_factory=thread_id_factory, **options)
    return Database(*args, **options)


def async_database(
    *args: Any,
    on_outage: str,
    outage_limit: int,
    thread_id_factory: ThreadIdFactory,
    **options: Any,
) -> AsyncDatabase:
    """Async version of `database`."""
    limit = _limit(outage_limit)
    if _holds(on_outage):
        return AsyncBridge(*args, limit=limit, thread_id_factory=thread_id_factory, **options)
    return AsyncDatabase(*args, **options)


def _holds(on_outage: object) -> bool:
    return checks.one_of("on_outage", on_outage, ON_OUTAGE) == "memory"


def _limit(outage_limit: object) -> int:
    return checks.number("outage_limit", outage_limit, 0, 2**63 - 1)


class Bridging(Running[ConnT, PipeT]):
    """A database for which memory answers while it is away."""

    _recovery: Any = None

    def __init__(
        self,
        *args: Any,
        limit: int,
        thread_id_factory: ThreadIdFactory,
        **options: Any,
    ) -> None:
        """Choose the database. Raises as the base.

        Args:
            *args: As the base.
            limit: How many bytes may be held in memory.
            thread_id_factory: Makes the thread ids to which overtaken runs move.
            **options: As the base.
        """
        self._outage = Outage(limit)
        self._thread_id_factory = thread_id_factory
        super().__init__(*args, **options)

    @property
    def durable(self) -> bool:
        """Whether what is saved now is saved in the database."""
        return self._outage.state == HERE

    def _when_to_give_up(self) -> Callable[[], bool]:
        outage = self._outage
        return lambda: outage.state == AWAY

    # --- How it is done, sync or async -----------------------------------------------------------

    # Of the outage and of what is held in it; never for long. Serializers and log handlers run
    # under it, and may come back.
    _guard: threading.RLock
    _settled: Any  # Not set while what was held is being written.
    _closing: Any  # Set by `close`: no recovery begins after it.

    @abstractmethod
    def _wait_for(self, event: Any, seconds: float) -> Any:
        """Wait for *event*, for at most so many seconds; return whether it is set."""

    @abstractmethod
    def _start_recovery(self) -> None:
        """Have `_recover` done beside all else."""

    @abstractmethod
    def _stop_recovery(self) -> Any:
        """Wait until `_recover` has ended, which it soon does."""

    def _recovered(self) -> None:
        """Note that all is written."""

    # --- There -----------------------------------------------------------------------------------

    @property
    def _is_there(self) -> bool:
        return self._is_ready and self._reached and self._outage.state == HERE

    def attempt_deed(
        self, work: Callable[[], Deed[T]], failure: psycopg.Error | None = None
    ) -> Deed[T]:
        """Do *work*, as the base does; not at all while the database is known to be away."""
        self.refuse_others()
        if self._outage.state == AWAY:
            error = self._outage.error
            why = described(error) if error else "it could not be reached"
            raise psycopg.OperationalError(f"the database is away: {why}")
        return (yield from super().attempt_deed(work, failure))

    def _ask(self, question: Question, failure: psycopg.Error | None) -> Deed[Any]:
        """Ask the database, or memory while that is away.

        Raises:
            SessionsUnavailableError: The database is away, and memory cannot answer.
        """
        ask = super()._ask
        if not question.holdable:
            return ask(question, failure)
        return self._either(
            lambda: ask(question, failure), lambda: self._outage.memory.answer(question)
        )

    def durably_deed(self, work: Callable[[], Deed[T]]) -> Deed[T]:
        """Do *work* with the database.

        Raises:
            SessionsUnavailableError: The database is away.
        """
        do_it = super().durably_deed
        return self._either(lambda: do_it(work), refuse)

    def _either(self, work: Callable[[], Deed[T]], held: Callable[[], T]) -> Deed[T]:
        """Do *work*; while the database is away, return what is *held* instead."""
        self.refuse_others()
        while True:
            if not self._settled.is_set():
                # After `retry_for` seconds go on in memory; the recovery writes that, too.
                yield lambda: self._wait_for(self._settled, self._retry_for)
            with self._guard:
                if self._outage.state != HERE:
                    return held()
            try:
                return (yield from work())
            except psycopg.Error as error:
                if not (yield from self._goes_away(error)):
                    raise

    def _goes_away(self, error: psycopg.Error) -> Deed[bool]:
        """Say whether *error* means an outage; begin one if none is under way."""
        if not self.is_broken(error):
            return False
        if self._closing.is_set():
            return False  # No recovery would write what memory held.
        if self._outage.state != HERE:
            return True
        if pools.endpoint(self.conn) is None:
            return False
        # After a probe that failed, which was the last that was tried, not another one.
        if self._reached and (yield from self.reaches_deed(error)):
            return False
        with self._guard:
            if self._closing.is_set():
                return False
            if self._outage.state == HERE:
                known = self._is_ready or self._source.server
                self._outage.begin(error, None if known else pools.asked_for(self.conn))
                self.on_change()
                self._start_recovery()
        return True

    # --- And back --------------------------------------------------------------------------------

    def _recover(self) -> Deed[None]:
        """Wait for the database, and write what memory holds."""
        for pause in failures.pauses():
            if (yield partial(self._wait_for, self._closing, pause)):
                return
            if (yield from self._returns()):
                return

    def _returns(self) -> Deed[bool]:
        """Say whether the database is back, and all that was held is written."""
        try:
            if not (yield from self.reaches_deed()):
                return False
            with self._guard:
                self._settled.clear()
                self._outage.state = RETURNING
            yield from self.ready_deed()
            while (entry := self._next()) is not None:
                yield from self._write(entry)
        except Exception as error:
            with self._guard:
                self._outage.stay(error)
                self._settled.set()
            return False
        except BaseException:  # Cancelled in the middle.
            with self._guard:
                self._outage.state = AWAY
                self._settled.set()
            raise
        self._recovered()
        return True

    def _next(self) -> Entry | None:
        """Return what is to be written next; when that is nothing, the outage is over."""
        with self._guard:
            entry = self._outage.memory.next()
            if entry is None:
                self._outage.end()
                self.on_change()
                self._settled.set()
            return entry

    def _write(self, entry: Entry) -> Deed[None]:
        """Write what was held; what the database refuses is logged."""
        try:
            yield from self._write_or_move(entry)
        except Exception as error:
            if failures.is_passing(error):
                raise
            with self._guard:
                self._outage.refused(error)

    def _write_or_move(self, entry: Entry) -> Deed[None]:
        """Write *entry*; if somebody else saved to its thread, move its run to a new one."""
        item: Any = entry.item
        try:
            yield from self.run_deed(write(item), self.answer_once_deed)
        except (ConcurrentRunError, Taken):
            move = self._outage.memory.move(item, self._thread_id_factory)
            yield from self.run_deed(move, self.answer_once_deed)
            return  # The moved entry is written next.
        with self._guard:
            self._outage.wrote()

    def end_deed(self) -> Deed[None]:
        """Write what memory holds if the database is back; else log how much is lost."""
        self._closing.set()
        if self._recovery is None or self._is_forked:
            return
        yield self._stop_recovery
        self._recovery = None
        if not self.durable and not (yield from self._returns()):
            self._outage.lose()


class Bridge(Bridging[Any, Any], Database):
    """A `Database` whose outages are bridged."""

    _recovery: threading.Thread | None = None

    def close(self) -> None:
        """Close what this opened, and nothing else; first write what memory holds, if possible."""
        do(self.end_deed())
        super().close()

    def _make_locks(self) -> None:
        super()._make_locks()
        self._guard = threading.RLock()
        self._closing = threading.Event()
        self._settled = threading.Event()
        self._settled.set()

    def _wait_for(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)

    def _start_recovery(self) -> None:
        atexit.register(self.close)
        self._recovery = threading.Thread(
            target=lambda: do(self._recover()), name="langgraph-sessions-recovery", daemon=True
        )
        self._recovery.start()

    def _stop_recovery(self) -> None:
        atexit.unregister(self.close)
        if self._recovery is not None:
            self._recovery.join()

    def _recovered(self) -> None:
        atexit.unregister(self.close)


class AsyncBridge(Bridging[Any, Any], AsyncDatabase):
    """Async version of `Bridge`."""

    _recovery: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Async version of `Bridge.close`."""
        if not self._is_forked:
            self.refuse_other_loop()
            await ado(self.end_deed())
        await super().close()

    def _make_locks(self) -> None:
        super()._make_locks()
        self._guard = threading.RLock()
        self._closing = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    async def _wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)
        return event.is_set()

    def _start_recovery(self) -> None:
        self._belong_here()  # The recovery runs in this loop.
        self._recovery = asyncio.create_task(self._recovering())

    async def _recovering(self) -> None:
        try:
            await ado(self._recover())
        except asyncio.CancelledError:
            if not self._closing.is_set():  # The loop ends, and nobody closed this.
                if not await ado(self._returns()):
                    self._outage.lose()
                await self._close_pool()
            raise

    async def _stop_recovery(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)
