"""Plans: an operation's logic, written once for sync and async.

A plan is a generator that yields statements and returns a result. It does no I/O,
so it can be tested with `next()` and `send(rows)`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, LiteralString, NamedTuple, TypeVar, cast

import psycopg
from psycopg.rows import DictRow, dict_row

T = TypeVar("T")


class Fetch(NamedTuple):
    """A statement whose rows the plan wants back."""

    sql: str
    params: Mapping[str, Any] | Sequence[Any] | None = None


class Run(NamedTuple):
    """A statement that gives no rows; in pipeline mode its error surfaces later."""

    sql: str
    params: Mapping[str, Any] | Sequence[Any] | None = None


Plan = Generator[Fetch | Run, Sequence[DictRow], T]


def statement(sql: str) -> LiteralString:
    """Vouch for *sql*: all of it is put together from this package's and the parents' literals."""
    return sql


def drive(conn: psycopg.Connection[Any], plan: Plan[T]) -> T:
    """Run *plan* on *conn* and return its result; a database error is thrown into it."""
    try:
        step = next(plan)
        while True:
            try:
                # A fresh cursor per statement: in pipeline mode a reused one can
                # return an earlier statement's rows.
                with conn.cursor(binary=True, row_factory=dict_row) as cur:
                    cur.execute(statement(step.sql), step.params)
                    rows = cur.fetchall() if isinstance(step, Fetch) else []
            except psycopg.Error as error:
                step = plan.throw(error)
            else:
                step = plan.send(rows)
    except StopIteration as done:
        return cast(T, done.value)


async def adrive(conn: psycopg.AsyncConnection[Any], plan: Plan[T]) -> T:
    """Async version of `drive`."""
    try:
        step = next(plan)
        while True:
            try:
                async with conn.cursor(binary=True, row_factory=dict_row) as cur:
                    await cur.execute(statement(step.sql), step.params)
                    rows = await cur.fetchall() if isinstance(step, Fetch) else []
            except psycopg.Error as error:
                step = plan.throw(error)
            else:
                step = plan.send(rows)
    except StopIteration as done:
        return cast(T, done.value)
