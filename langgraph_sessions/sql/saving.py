"""Statements that save what LangGraph's own statements save, and the session beside it.

As a rule all of it is one statement, and so one transaction of one round trip: LangGraph's INSERTs
become parts of it, see `Beside`. Many rows are sent as a batch behind a lock, see `fits`. It raises
where the thread is not the user's, and where another run has saved meanwhile, which undoes all.

What each save makes is not frozen, though never changed: that takes as long as all else of it.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Final

from psycopg.types.json import Jsonb

from langgraph_sessions.plans import ExecuteMany, Params, Statement
from langgraph_sessions.sql.columns import IN_RUNS, record, shown
from langgraph_sessions.sql.rows import SESSION_ROW

_dumps: Final = json.JSONEncoder(default=datetime.isoformat).encode


class Guard(Statement):
    """A statement that refuses a save; its parameters are a sequence, as LangGraph's are.

    Attributes:
        user_id: The run's user; `None` for a run without one.
        thread_id: The thread to which it saves.
    """

    user_id: str | None
    thread_id: str

    returns_rows: ClassVar[bool] = False

    @property
    def part(self) -> str:
        """The part that comes before LangGraph's, with the first of the parameters."""
        return ""

    @property
    @abstractmethod
    def params(self) -> Sequence[Any]:
        """The parameters, in order."""


@dataclass
class GuardPlainThread(Guard):
    """Refuse a save of a run without a user to a user's thread."""

    thread_id: str
    user_id: None = None

    sql: ClassVar[str] = """
SELECT user_sessions_plain(jsonb_build_object('thread_id', %s::text))"""

    @property
    def params(self) -> Sequence[Any]:
        return (self.thread_id,)


@dataclass(kw_only=True)
class GuardThread(Guard):
    """Refuse a save if the thread is not the user's, or another run saved to it.

    It touches the thread's narrow row alone. Writes that are part of what their checkpoint's own
    save, or the next one, is checked for need not be noticed by other runs: they leave no name.

    Attributes:
        user_id: The run's user.
        thread_id: The thread to which it saves.
        checked: Whether another run's saves are an error.
        save: The save's name; `None` for a save outside a run.
        named: Whether other runs are to notice it.
    """

    user_id: str
    thread_id: str
    checked: bool = False
    save: str | None = None
    named: bool = True

    @property
    def part(self) -> str:
        is_named = self.save is not None
        return _thread(is_named and self.named, is_named and self.checked)

    sql: ClassVar[str] = """
SELECT CASE WHEN EXISTS (SELECT 1 FROM thread) THEN TRUE ELSE user_sessions_refuse(
    jsonb_build_object('thread_id', %s::text, 'user_id', %s::text)) END"""

    @property
    def params(self) -> Sequence[Any]:
        """As `_thread` has them, and then those of the refusal."""
        params: list[str] = []
        if self.save is not None and self.named:
            params.append(self.save)
        params += (self.thread_id, self.user_id)
        if self.save is not None and self.checked:
            params.append(self.save.partition(".")[0])  # The run's saves alone may be later.
        params += (self.thread_id, self.user_id)
        return tuple(params)


@cache
def _thread(names: bool, checks: bool) -> str:
    own = " AND split_part(last_save, '.', 1) = %s" if checks else ""
    where = f"WHERE thread_id = %s AND user_id = %s{own}"
    if not names:
        # A lock that others' names need not wait for, but a deletion does.
        return f"thread AS (SELECT 1 FROM session_threads {where} FOR KEY SHARE)"
    return f"thread AS (UPDATE session_threads SET last_save = %s {where} RETURNING 1)"


@dataclass(kw_only=True)
class PutSession(Guard):
    """Make a session, or update it, as `user_sessions_put` says; returns its row.

    Where it `touches` the session, that was used, becomes current, and waits for nothing: when,
    and the status, is all that it returns.

    Attributes:
        user_id: Whose it is.
        thread_id: The thread to which the run saves.
        agent: The agent of which it must be, and a new one is; `None`: whichever, and a new one is
            of none.
        known: Whether the session existed when the run began.
        checked: Whether another run's saves are an error.
        save: The save's name; `None` for a save outside a run.
        seen: The name of the last save that the run knows of.
        base: The newest root checkpoint when the run began; `""` for none, `None` for a run
            that started from an older one.
        first: Whether this is the run's first save, which carries out its instructions.
        title: The title to give.
        message_title: The title that the messages suggest.
        default_title: What a new session without a title is called; `None`: "New Chat".
        is_active: Whether to activate or deactivate it; `None` for neither.
        make_current: `False`: it does not become current by this.
        own: The root checkpoint that is being saved, or that writes belong to.
        task: The task whose writes are being saved.
        channels: The channels of these writes.
        at: When it was saved, if the database was away then.
        idle: Whether the session waits for nothing, as far as the run knows.
    """

    user_id: str
    thread_id: str
    agent: str | None = None
    known: bool = False
    checked: bool = False
    save: str | None = None
    seen: str | None = None
    base: str | None = None
    first: bool = False
    title: str | None = None
    message_title: str | None = None
    default_title: str | None = None
    is_active: bool | None = None
    make_current: bool | None = None
    own: str | None = None
    task: str | None = None
    channels: Sequence[str] = ()
    at: datetime | None = None
    idle: bool = False

    returns_rows = True

    @property
    def touches(self) -> bool:
        """Whether it is the first save of a run like most: it tells the session that it goes on."""
        given = (self.title, self.message_title, self.is_active, self.task, self.at)
        named = self.save is not None and self.own is not None
        first = self.first and self.known and self.checked and self.idle
        return first and named and given == (None,) * 5

    @property
    def part(self) -> str:
        return _TOUCHED if self.touches else ""

    @property
    def sql(self) -> str:
        return _TOUCH if self.touches else _PUT

    @property
    def params(self) -> Sequence[Any]:
        """One argument, so that the function never gets another; defaults are left out.

        What touches the session, as a rule without the function, has them one by one.
        """
        if self.touches:
            makes_current = self.make_current is not False
            place = (self.user_id, self.thread_id, self.agent)
            return (*place, self.save, self.seen, self.base, self.own, makes_current)
        given = {key: value for key, value in vars(self).items() if value not in (None, ())}
        return (Jsonb(given, dumps=_dumps),)


_PUT: Final = f"""
SELECT {SESSION_ROW}
FROM jsonb_to_record(user_sessions_put(%s::jsonb)) AS s ({record(IN_RUNS)})"""

# What user_sessions_put, with user_sessions_check and user_sessions_latest, does for a run's first
# save, as a rule; where this finds nothing to change, the function does what is to be done, or
# says why not. That takes three times as long: each transaction prepares its expressions anew.
_TOUCHED: Final = f"""given AS NOT MATERIALIZED (
    SELECT %s::text AS user_id, %s::text AS thread_id, %s::text AS agent, %s::text AS save,
        %s::text AS seen, %s::text AS base, %s::text AS own, %s::boolean AS makes_current
),
thread AS (
    UPDATE session_threads AS t SET last_save = g.save FROM given AS g
    WHERE t.thread_id = g.thread_id AND t.user_id = g.user_id
    AND t.last_save IS NOT DISTINCT FROM g.seen AND (
        SELECT checkpoint_id FROM checkpoints AS c
        WHERE c.thread_id = t.thread_id AND c.checkpoint_ns = ''
        AND c.checkpoint_id > g.base AND c.checkpoint_id <> g.own
        AND coalesce(c.metadata ->> 'source', '') NOT IN ('update', 'fork')
        ORDER BY c.checkpoint_id DESC LIMIT 1
    ) IS NULL
    RETURNING t.thread_id, t.user_id, g.agent, g.makes_current,
        greatest(clock_timestamp(), (
            SELECT updated_at + interval '1 microsecond' FROM user_sessions AS s
            WHERE s.user_id = t.user_id AND updated_at < '9999-12-30Z'::timestamptz
            ORDER BY updated_at DESC, id DESC LIMIT 1)) AS used
),
session AS (
    UPDATE user_sessions AS s SET status = 'idle', updated_at = greatest(updated_at, used),
        current_at = CASE WHEN makes_current THEN greatest(updated_at, used) ELSE current_at END
    FROM thread AS t WHERE s.thread_id = t.thread_id
    AND s.user_id IS NOT DISTINCT FROM t.user_id  -- So that no index of the user's is read.
    AND (t.agent IS NULL OR s.agent = t.agent)
    RETURNING s.status, {shown("updated_at", "s")} AS updated_at
)"""
_TOUCH: Final = f"""
SELECT * FROM session UNION ALL
SELECT s.status, {shown("updated_at", "s")}
FROM given AS g, jsonb_to_record(user_sessions_put(jsonb_build_object(
    'user_id', g.user_id, 'thread_id', g.thread_id, 'agent', g.agent, 'known', TRUE,
    'checked', TRUE, 'save', g.save, 'seen', g.seen, 'base', g.base, 'first', TRUE,
    'make_current', g.makes_current, 'own', g.own))) AS s ({record(("status", "updated_at"))})
WHERE NOT EXISTS (SELECT 1 FROM session)"""


@dataclass
class Beside(Statement):
    """LangGraph's statements as parts of a guard's, which decides whether all of them are made.

    PostgreSQL carries out the guard's own SELECT, and the part that it reads, before the others.
    """

    guard: Guard
    saved: Sequence[Statement]

    often = True

    @property
    def returns_rows(self) -> bool:  # type: ignore[override]
        """Whether the guard does."""
        return self.guard.returns_rows

    @property
    def sql(self) -> str:
        guard, saved = self.guard, []
        for part in self.saved:
            saved.append((part.sql, len(part.rows) if isinstance(part, ExecuteMany) else 1))
        return _combined(guard.part, guard.sql, tuple(saved))

    @property
    def params(self) -> Params:
        guard, before = self.guard.params, _placeholders(self.guard.part)
        params = [*guard[:before]]
        for part in self.saved:
            for values in part.rows if isinstance(part, ExecuteMany) else (part.params,):
                params += values or ()
        params += guard[before:]
        return params


MOST_ROWS: Final = 8  # Merged statements of many rows are dear to plan, and each number is another.
_VALUES: Final = re.compile(r"VALUES\s*(\([^()]*\))")


def fits(saved: Iterable[Statement]) -> bool:
    """Say whether these statements can be parts of one: few rows, none of them changed twice."""
    for part in saved:
        rows = len(part.rows) if isinstance(part, ExecuteMany) else 1
        if rows > 1 and (rows > MOST_ROWS or "DO UPDATE" in part.sql):
            return False
    return True


@cache
def _placeholders(part: str) -> int:
    return part.count("%s")


@cache
def _combined(part: str, select: str, saved: tuple[tuple[str, int], ...]) -> str:
    """Return the statement: bounded in number by the guards, by LangGraph's, by `MOST_ROWS`."""
    parts = [part] if part else []
    for number, (sql, rows) in enumerate(saved):
        whole = _VALUES.sub("VALUES " + ", ".join([r"\1"] * rows), sql).strip().rstrip(";")
        parts.append(f"saved{number} AS ({whole})")
    return f"WITH {', '.join(parts)}{select}" if parts else select


@dataclass(frozen=True)
class LockThread(Statement):
    """Lock a thread's row, before what is saved in several statements."""

    thread_id: str

    sql: ClassVar[str] = """
SELECT 1 FROM session_threads WHERE thread_id = %(thread_id)s FOR NO KEY UPDATE"""


@dataclass(frozen=True)
class LockNewThread(Statement):
    """Lock a thread that is about to become a user's against saves of nobody's.

    As `user_sessions_put` does, before it locks the row: all take the two in this order.
    """

    thread_id: str

    sql: ClassVar[str] = "SELECT user_sessions_free(%(thread_id)s::text) AS is_free"


@dataclass(frozen=True)
class FindSaved(Statement):
    """Return the session's row if the checkpoint is saved, as by a try whose connection broke."""

    user_id: str
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str

    sql: ClassVar[str] = f"""
SELECT {SESSION_ROW} FROM user_sessions AS s
WHERE user_id = %(user_id)s AND thread_id = %(thread_id)s AND EXISTS (
    SELECT 1 FROM checkpoints AS c WHERE c.thread_id = s.thread_id
    AND checkpoint_ns = %(checkpoint_ns)s AND checkpoint_id = %(checkpoint_id)s)"""
