"""Plans: an operation's logic, written once for sync and async.

A plan is a generator that yields steps and returns a result. It does no I/O, so it can be
tested with `next()` and `send(rows)`. `Database.run` drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, LiteralString, NamedTuple, TypeVar

import psycopg
from psycopg.rows import dict_row

T = TypeVar("T")


class Fetch(NamedTuple):
    """A statement whose rows the plan wants back.

    Attributes:
        sql: The statement.
        params: Its parameters.
        repeatable: Whether it does no harm, and answers the same, when it is executed again
            because the connection broke before its answer came.
        held: The method of `HeldSessions` that answers it while the database is away.
    """

    sql: str
    params: Mapping[str, Any] | Sequence[Any] | None = None
    repeatable: bool = True
    held: str | None = None


class Run(NamedTuple):
    """A statement that gives no rows; in pipeline mode its error surfaces later."""

    sql: str
    params: Mapping[str, Any] | Sequence[Any] | None = None


class Call(NamedTuple):
    """A function of the caller's, called while no connection is held: it may want one itself."""

    function: Callable[[], Any]


class Done(NamedTuple):
    """The plan's result."""

    value: Any


Plan = Generator[Fetch | Run | Call, Any, T]


def statement(sql: str) -> LiteralString:
    """Vouch for *sql*: all of it is put together from this package's and the parents' literals."""
    return sql


def proceed(plan: Plan[T], answer: Any = None) -> Fetch | Run | Call | Done:
    """Give *plan* the answer to its last step, and return its next one."""
    try:
        return plan.send(answer)
    except StopIteration as done:
        return Done(done.value)


def fail(plan: Plan[T], error: psycopg.Error) -> Fetch | Run | Call | Done:
    """Throw *error*, which its last step met, into *plan*, and return its next step."""
    try:
        return plan.throw(error)
    except StopIteration as done:
        return Done(done.value)


def execute(conn: psycopg.Connection[Any], step: Fetch | Run) -> list[Any]:
    """Execute a statement, and return its rows if it is a `Fetch`."""
    # A fresh cursor per statement: in pipeline mode a reused one can return an earlier
    # statement's rows.
    with conn.cursor(binary=True, row_factory=dict_row) as cur:
        cur.execute(statement(step.sql), step.params)
        return cur.fetchall() if isinstance(step, Fetch) else []


async def aexecute(conn: psycopg.AsyncConnection[Any], step: Fetch | Run) -> list[Any]:
    """Async version of `execute`."""
    async with conn.cursor(binary=True, row_factory=dict_row) as cur:
        await cur.execute(statement(step.sql), step.params)
        return await cur.fetchall() if isinstance(step, Fetch) else []


def drive(
    conn: psycopg.Connection[Any], plan: Plan[T], step: Fetch | Run | Call | Done
) -> Call | Done:
    """Run *step* and the statements after it; return the `Call` or `Done` that ends them.

    A database error is thrown into the plan.
    """
    while isinstance(step, Fetch | Run):
        try:
            rows = execute(conn, step)
        except psycopg.Error as error:
            step = fail(plan, error)
        else:
            step = proceed(plan, rows)
    return step


async def adrive(
    conn: psycopg.AsyncConnection[Any], plan: Plan[T], step: Fetch | Run | Call | Done
) -> Call | Done:
    """Async version of `drive`."""
    while isinstance(step, Fetch | Run):
        try:
            rows = await aexecute(conn, step)
        except psycopg.Error as error:
            step = fail(plan, error)
        else:
            step = proceed(plan, rows)
    return step
