"""Plans: an operation's logic, written once for sync and async.

A plan is a generator that yields steps and returns a result. It does no I/O, so it can be
tested with `next()` and `send(answer)`. A `Database` runs it: it answers each step, or throws
its error into the plan.

    step ── a `Statement`, one SQL statement, whose answer are its rows
         ├─ a `Batch` of them, sent together
         ├─ a `Composite`: several statements in PostgreSQL, one answer in memory
         ├─ a `Call` of a function of the caller's
         └─ a `Give`: a value for the caller, while the plan goes on
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, LiteralString, NamedTuple, TypeVar

T = TypeVar("T")

Params = Mapping[str, Any] | Sequence[Any] | None
Rows = list[dict[str, Any]]
LARGE: Final = 32 * 1024  # Bytes of parameters, or rows, that no connection is to keep.


def _name(asked: object) -> str:
    return f"<{type(asked).__name__}>"


class Asked:
    """A question of a plan, which PostgreSQL answers, or memory during an outage.

    Attributes:
        repeatable: Whether it may be executed twice: its connection may break after it was
            executed and before the answer came.
        once: Whether it is tried once, and only where nothing is known to be broken: whoever asks
            goes on without the answer.
    """

    repeatable: ClassVar[bool] = True
    once: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Keep what is asked, which may be somebody's words, out of its repr, and so of logs."""
        super().__init_subclass__()
        cls.__repr__ = _name  # type: ignore[method-assign]  # A dataclass leaves it so.

    @property
    def holdable(self) -> bool:
        """Whether memory may answer it during an outage; not without a user."""
        return True


class Statement(Asked):
    """An SQL statement: subclasses are dataclasses, never changed; the fields are its parameters.

    Attributes:
        returns_rows: Whether it gives rows that are wanted.
        often: Whether each turn executes it, so that a connection keeps its cursor, with the
            parameters and rows that it had last, unless they are large.
    """

    returns_rows: ClassVar[bool] = True
    often: ClassVar[bool] = False

    @property
    @abstractmethod
    def sql(self) -> str:
        """The SQL, with a placeholder for each parameter."""

    @property
    def params(self) -> Params:
        """The parameters, by name."""
        return vars(self)

    def are_large(self, rows: Rows) -> bool:
        """Say whether these *rows* are more than a connection is to keep."""
        return False


@dataclass(frozen=True)
class Fetch(Statement):
    """A statement without a type of its own, such as the doctor's, whose rows are wanted."""

    sql: str = ""
    params: Params = None


@dataclass(frozen=True)
class Execute(Fetch):
    """A statement that gives no rows; in pipeline mode its error surfaces later."""

    returns_rows = False


@dataclass(frozen=True)
class ExecuteMany(Statement):
    """A statement that is executed once for each of *rows*."""

    sql: str = ""
    rows: Sequence[Sequence[Any]] = ()
    returns_rows = False


@dataclass(frozen=True)
class Batch(Asked):
    """Statements that are sent at once, and succeed or fail together; the last gives the rows."""

    statements: Sequence[Statement]


class Composite(Asked):
    """Several statements in PostgreSQL; its plan has no `Call` and no `Give`.

    Attributes:
        atomic: Whether they are one transaction; else each commits by itself.
    """

    atomic: ClassVar[bool] = False

    @abstractmethod
    def plan(self) -> Plan[Any]:
        """Return its questions to PostgreSQL, anew for each try; its result is the answer."""


class Call(NamedTuple):
    """A function of the caller's, called while no connection is held: it may want one itself.

    Of a coroutine function, an async database awaits what it returns.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()

    def __call__(self) -> Any:
        """Call it."""
        return self.function(*self.arguments)


class Give(NamedTuple):
    """A value for the caller of `Database.stream`, while the plan goes on."""

    value: Any


class Done(NamedTuple):
    """The plan's result."""

    value: Any


def vouched(sql: str) -> LiteralString:
    """Vouch for *sql*: all of it is put together from this package's and the parents' literals."""
    return sql


Question = Statement | Batch | Composite
Step = Question | Call | Give
Plan = Generator[Step, Any, T]


def proceed(plan: Plan[T], answer: Any = None) -> Step | Done:
    """Give *plan* the answer to its last step, and return its next one."""
    try:
        return plan.send(answer)
    except StopIteration as done:
        return Done(done.value)


def fail(plan: Plan[T], error: Exception) -> Step | Done:
    """Throw *error*, the answer to its last step, into *plan*, and return its next one."""
    try:
        return plan.throw(error)
    except StopIteration as done:
        return Done(done.value)


def drive(plan: Plan[T], answer: Callable[[Any], Any]) -> T:
    """Run *plan*, whose steps *answer* answers, or raises errors for. Raises what the plan does."""
    try:
        step = plan.send(None)
        while True:
            try:
                found = answer(step)
            except Exception as error:
                step = plan.throw(error)
            else:
                step = plan.send(found)
    except StopIteration as done:
        result: T = done.value
        return result
    except BaseException:
        plan.close()
        raise


async def adrive(plan: Plan[T], answer: Callable[[Any], Awaitable[Any]]) -> T:
    """Async version of `drive`."""
    try:
        step = plan.send(None)
        while True:
            try:
                found = await answer(step)
            except Exception as error:
                step = plan.throw(error)
            else:
                step = plan.send(found)
    except StopIteration as done:
        result: T = done.value
        return result
    except BaseException:
        plan.close()
        raise


def called(function: Callable[..., T], *arguments: Any) -> Plan[T]:
    """Return the plan of a call of *function*."""
    result: T = yield Call(function, arguments)
    return result
