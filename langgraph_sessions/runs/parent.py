"""LangGraph's own saver as plans: its code runs here, its statements where the plan runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions.plans import Execute, ExecuteMany, Fetch, Params, Plan, Rows, Statement

T = TypeVar("T")


class Parent(PostgresSaver):
    """A `PostgresSaver` without a connection.

    What it executes is recorded, as what gives no rows. For a reader, the rows that it fetches are
    those that were *answered* before, in order; where there are no more, `Wanted` is raised.
    """

    def __init__(self, serde: SerializerProtocol, answered: Sequence[Rows] | None = None) -> None:
        """Load and dump with *serde*."""
        self.serde = serde
        self.executed: list[Statement] = []
        self._answered = iter(answered or ())
        self._kind = Execute if answered is None else Fetch

    # --- What its methods take for a cursor ---------------------------------------------------

    def _cursor(self, *, pipeline: bool = False) -> Self:  # type: ignore[override]
        return self

    def __enter__(self) -> Self:
        """Return itself: there is nothing to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is nothing to close."""

    def execute(self, sql: str, params: Params) -> None:
        """Record a statement."""
        self.executed.append(self._kind(sql, params))

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Record a statement for each of *rows*."""
        if rows:
            self.executed.append(ExecuteMany(sql, rows))

    def fetchall(self) -> Rows:
        """Return the rows of the statement executed last."""
        statement = self.executed[-1]
        try:
            return next(self._answered)
        except StopIteration:
            raise Wanted(statement) from None

    def fetchone(self) -> dict[str, Any] | None:
        """Return the first of the rows, if there are any."""
        return next(iter(self), None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the rows."""
        return iter(self.fetchall())


class Wanted(Exception):
    """The rows of a statement are wanted."""

    def __init__(self, statement: Statement) -> None:
        """Want those of *statement*."""
        super().__init__(statement)
        self.statement = statement


def reading(serde: SerializerProtocol, read: Callable[[Parent], T]) -> Plan[T]:
    """Return the result of *read*.

    Each answer starts *read* again from its beginning, with the answers so far.
    """
    answered: list[Rows] = []
    while True:
        try:
            return read(Parent(serde, answered))
        except Wanted as wanted:
            statement = wanted.statement
        answered.append((yield statement))
