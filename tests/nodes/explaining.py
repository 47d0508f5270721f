"""In how many tasks, and on which shards, Citus does what a connection sends.

EXPLAIN says it of each statement of the client's, with its parameters. What functions do inside of
that EXPLAIN does not know: `auto_explain` tells of each statement when it is done, and Citus' log
of its commands says how many it took.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from langgraph_sessions.sql.citus.distributing import THREADS, USERS

_SHARD = re.compile(rf"\b(?:{'|'.join((*THREADS, *USERS))})_(\d{{5,}})\b")
_PLAN = re.compile(r"duration: .*?  plan:\s+(.*)", re.DOTALL)
_COUNT = re.compile(r"Task Count: (\d+)")
_OWN = """
SELECT get_shard_id_for_distribution_column(name::regclass, %(key)s::text) AS shard
FROM unnest(%(tables)s::text[]) AS name"""
_SETTINGS = (
    "LOAD 'auto_explain'",
    "SET auto_explain.log_min_duration = 0",
    "SET auto_explain.log_nested_statements = on",
    "SET citus.explain_distributed_queries = off",  # `auto_explain` would ask workers on its own.
    "SET citus.log_remote_commands = on",
    "SET client_min_messages = log",
)


class Sent(NamedTuple):
    """A statement of the client's."""

    sql: str
    params: Any


class Done(NamedTuple):
    """A statement that was done, a function's or the client's.

    Attributes:
        plan: Its text, and its plan.
        tasks: How many commands to shards it took.
    """

    plan: str
    tasks: int


class Recording(psycopg.Cursor[Any]):
    """A cursor whose connection keeps what it sends."""

    connection: Watched

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = query if isinstance(query, str) else query.decode()
        self.connection.sent.append(Sent(text, params))
        return super().execute(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        """One after another, so that what is told of each comes after it."""
        for params in params_seq:
            self.execute(query, params)


class Watched(psycopg.Connection[Any]):
    """A connection that keeps what it sends, and what is told of that.

    Attributes:
        sent: Each statement of the client's.
        done: These and those inside of them, in the order in which they ended.
        shards: Those that were named in commands.
    """

    @classmethod
    def to(cls, url: str) -> Watched:
        conn = cls.connect(url, autocommit=True)
        conn.sent, conn.done, conn.shards, conn._tasks = [], [], set(), 0
        for setting in _SETTINGS:
            conn.execute(setting)
        conn.cursor_factory = Recording
        conn.add_notice_handler(conn._note)
        return conn

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        said = notice.message_primary or ""
        if plan := _PLAN.match(said):
            self.done.append(Done(plan[1], self._tasks))
            self._tasks = 0
        elif said.startswith("issuing ") and (shards := _SHARD.findall(said)):
            self.shards.update(map(int, shards))
            self._tasks += 1

    @contextmanager
    def during(self) -> Iterator[None]:
        """Forget what was before."""
        self.sent.clear()
        self.done.clear()
        self.shards.clear()
        yield
        assert self.sent
        assert self.done


def tasks(db: psycopg.Connection[Any], sent: Sent) -> list[int]:
    """Return how many tasks each part of a statement has; none: it asks no shard by itself."""
    if sent.sql.startswith("SET "):
        return []
    explain = f"EXPLAIN (VERBOSE FALSE, COSTS FALSE) {sent.sql}".encode()
    rows = db.cursor(row_factory=tuple_row).execute(explain, sent.params).fetchall()
    return [int(count) for count in _COUNT.findall("\n".join(line for (line,) in rows))]


def own(db: psycopg.Connection[Any], tables: tuple[str, ...], key: str) -> set[int]:
    """Return the shards on which *tables* have *key*."""
    return {row["shard"] for row in db.execute(_OWN, {"tables": [*tables], "key": key})}
