"""Plans, run on a database: each question is asked again while connections break."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import psycopg
from psycopg_pool import PoolTimeout

from langgraph_sessions.database import failures
from langgraph_sessions.database.connections import Connections
from langgraph_sessions.database.deeds import Deed, T
from langgraph_sessions.database.lending import ConnT, PipeT
from langgraph_sessions.errors import SessionsUnavailableError, described
from langgraph_sessions.plans import (
    Batch,
    Call,
    Composite,
    Done,
    Give,
    Plan,
    Question,
    Statement,
    fail,
    proceed,
)
from langgraph_sessions.sql.citus.translating import translated

Answer = Callable[[Question], Deed[Any]]
UNFIT: Final = object()  # The answer where a connection is to be seen to, before it is used.


class Running(Connections[ConnT, PipeT]):
    """A PostgreSQL database on which plans run."""

    _failure: psycopg.Error | None = None  # The last by which a connection broke.

    # --- How it is done, sync or async -----------------------------------------------------------

    @abstractmethod
    def _execute(self, conn: Any, statement: Statement) -> Any:
        """Execute a statement, and return its rows if it returns any."""

    @abstractmethod
    def _execute_batch(self, conn: Any, batch: Batch) -> Any:
        """Send statements at once, in one transaction, and return the rows of the last."""

    @abstractmethod
    def _sleep(self, seconds: float) -> Any:
        """Wait."""

    @abstractmethod
    def wait_until_done(self, future: Future[Any], seconds: float | None) -> Any:
        """Wait until *future* is done, or so many seconds, and leave it as it is."""

    @abstractmethod
    def _call(self, call: Call) -> Any:
        """Call a function of the caller's."""

    # --- Running ---------------------------------------------------------------------------------

    def run_deed(self, plan: Plan[T], answer: Answer) -> Deed[T]:
        """Run *plan*, step by step, by *answer*. Raises what that raises."""
        step = yield from self._advanced(plan, answer)
        assert isinstance(step, Done), "this plan wants `stream`"
        result: T = step.value
        return result

    def advance_deed(self, plan: Plan[Any], answer: Answer) -> Deed[tuple[bool, Any]]:
        """Run *plan* to its next `Give` or its end; return (is it a `Give`, value)."""
        step = yield from self._advanced(plan, answer)
        return isinstance(step, Give), step.value

    def _advanced(self, plan: Plan[Any], answer: Answer) -> Deed[Done | Give]:
        """Run *plan*, as far as *answer* can, and return what it cannot answer."""
        try:
            step = proceed(plan)
            while not isinstance(step, Done | Give):
                try:
                    if isinstance(step, Call):
                        found = yield partial(self._call, step)
                    else:
                        found = yield from answer(step)
                except Exception as error:
                    step = fail(plan, error)
                else:
                    step = proceed(plan, found)
        except BaseException:
            plan.close()
            raise
        return step

    def answer_deed(self, question: Question, failure: psycopg.Error | None = None) -> Deed[Any]:
        """Answer *question*; if a connection breaks, ask again, for `retry_for` seconds.

        A *failure* is that of a first try, made before.

        Raises:
            psycopg.Error: Any error of the database.
            SessionsUnavailableError: The database is there, and one of its nodes is not.
            SessionError, ValueError: As `Database.ready`.
            Exception: What a `Composite` raises.
        """
        self.refuse_others()
        if failure is None and self._is_there and question.repeatable:
            try:  # As a rule, that is all.
                return (yield from self.with_connection(partial(self._answer_here, question)))
            except psycopg.Error as error:
                if not self._may_go_again(error):
                    raise
                failure = error
        if question.once:
            self._note(failure)
            raise failure or psycopg.OperationalError("the database may be away")
        return (yield from _told(_unwrapped(self._ask(question, failure))))

    def _may_go_again(self, error: psycopg.Error) -> bool:
        """Say whether what failed by *error* may succeed in another try."""
        return failures.is_passing_here(error) or self.is_broken(error)

    def _note(self, failure: psycopg.Error | None) -> None:
        """Have whoever asks next see to a broken connection, and not wait for a pool.

        A pool that is only busy is to keep its connections, which would be replaced.
        """
        is_busy = isinstance(failure, PoolTimeout)
        if failure is not None and not is_busy and self.is_broken(failure):
            self._reached = False

    @property
    def _is_there(self) -> bool:
        """Whether nothing is known that is to be seen to before a question is asked."""
        return self._is_ready and self._reached

    def answer_once_deed(self, question: Question) -> Deed[Any]:
        """Answer *question* and do not try again; raise as `answer_deed` but for nodes' errors."""
        return _unwrapped(self._ask_once(question))

    def _ask(self, question: Question, failure: psycopg.Error | None) -> Deed[Any]:
        return self.attempt_deed(lambda: self._ask_once(question), failure)

    def durably_deed(self, work: Callable[[], Deed[T]]) -> Deed[T]:
        """Do *work* that needs the database itself. Raises as `attempt_deed`, and as `_told`."""
        return _told(self.attempt_deed(work))

    def _ask_once(self, question: Question) -> Deed[Any]:
        yield from self.ready_deed()

        def ask(conn: Any) -> Deed[Any]:
            try:
                return (yield from self._answer_here(question, conn))
            except psycopg.Error as error:
                if not question.repeatable and not failures.is_rolled_back(error):
                    raise Unrepeatable(error) from error
                raise

        return (yield from self.with_connection(ask))

    def _answer_here(self, question: Question, conn: Any) -> Deed[Any]:
        """Answer on *conn*; if Citus has distributed the tables since they were found, anew."""
        were_distributed = self.place.are_distributed
        try:
            return (yield from self._answer_on(question, conn))
        except psycopg.errors.FeatureNotSupported:
            # A pipeline is of no use after an error.
            if self.pipe or were_distributed:
                raise
            if not (yield from self.drive_deed(conn, self.place.look_again())):
                raise
            if isinstance(question, Composite) and not (question.atomic or question.repeatable):
                raise
        return (yield from self._answer_on(question, conn))

    def _answer_on(self, question: Question, conn: Any) -> Deed[Any]:
        if self.place.are_distributed:
            question = translated(question)
        if not isinstance(question, Composite):
            return self._executed(question, conn)
        if not question.atomic:
            return self.drive_deed(conn, question.plan())
        return self._together(question, conn)

    def _executed(self, question: Statement | Batch, conn: Any) -> Deed[Any]:
        if isinstance(question, Batch):
            return (yield partial(self._execute_batch, conn, question))
        if self.pipe:  # What is not ended by a sync is not committed.
            return (yield partial(self._execute_batch, conn, Batch([question])))
        return (yield partial(self._execute, conn, question))

    def _together(self, question: Composite, conn: Any) -> Deed[Any]:
        if self.pipe:
            yield cast(Any, self.pipe).sync
        deed = self.drive_deed(conn, _limited(question))
        return (yield partial(self._atomically, conn, deed))

    def drive_deed(self, conn: Any, plan: Plan[T]) -> Deed[T]:
        """Run a plan of questions alone on *conn*."""
        step = yield from self._advanced(plan, lambda question: self._answer_on(question, conn))
        assert isinstance(step, Done)
        result: T = step.value
        return result

    def attempt_deed(
        self, work: Callable[[], Deed[T]], failure: psycopg.Error | None = None
    ) -> Deed[T]:
        """Do *work*; if a connection breaks in it, again, for `retry_for` seconds.

        So it is if the server rolled back its transaction because of another one, or does not reach
        a node of its own. A *failure* is that of a first try, made before.

        Raises what *work* raises; at once, the error of a server that refuses the login.
        """
        self.refuse_others()
        is_whole = failure is not None and failures.is_passing_here(failure)
        until = 0.0
        for pause in failures.pauses():
            # After a failed probe, probe again: the pool would only time out.
            is_there = is_whole or (failure is None and self._reached)
            if is_there or (yield from self.reaches_deed(failure)):
                try:
                    return (yield from work())
                except psycopg.Error as error:
                    is_whole = failures.is_passing_here(error)
                    if not is_whole and not self.is_broken(error):
                        raise
                    failure = self._failure = error
            failure = failure or self._no_answer()
            # Counted from the first failure: a wait for a free connection is none.
            until = until or time.monotonic() + self._retry_for
            if self._gives_up() or time.monotonic() + pause > until:
                raise failure
            yield partial(self._sleep, pause)
        raise AssertionError

    def _no_answer(self) -> psycopg.OperationalError:
        """Return the error of a caller whose only tries were probes, with what is known of why."""
        why = f": {described(self._failure)}" if self._failure else ""
        return psycopg.OperationalError(f"the database does not answer{why}")


@dataclass(frozen=True)
class LimitIdleness(Statement):
    """Have the server end this transaction if the client leaves it idle for so long.

    Else a client that is stopped, or whose machine is gone, would keep its locks.
    """

    milliseconds: str = "10000"

    sql = "SELECT set_config('idle_in_transaction_session_timeout', %(milliseconds)s, TRUE)"


def _limited(question: Composite) -> Plan[Any]:
    yield LimitIdleness()
    return (yield from question.plan())


class Unrepeatable(Exception):
    """A question that is not repeatable may have been executed: do not ask it again.

    Attributes:
        error: The connection's error, or the database's.
    """

    def __init__(self, error: psycopg.Error) -> None:
        """Carry *error* past the tries of `attempt_deed`."""
        super().__init__(error)
        self.error = error


def _told(deed: Deed[T]) -> Deed[T]:
    """Do *deed*.

    Raises:
        SessionsUnavailableError: The database is there, and one of its nodes is not: that is no
            outage, for others go on, and none of what only the database knows is said from memory.
    """
    try:
        return (yield from deed)
    except psycopg.Error as error:
        if not failures.is_remote(error):
            raise
        raise SessionsUnavailableError(
            f"the database does not reach the node on which this is: {described(error)}"
        ) from error


def _unwrapped(deed: Deed[T]) -> Deed[T]:
    """Do *deed*; of an `Unrepeatable`, raise the error inside."""
    try:
        return (yield from deed)
    except Unrepeatable as unrepeatable:
        raise unrepeatable.error from None
