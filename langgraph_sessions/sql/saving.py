"""Statements that are sent beside a checkpoint, or writes.

Both raise when the thread is not the user's, and when another run has saved
meanwhile, which rolls the checkpoint back with them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import ClassVar, Final

from psycopg.types.json import Jsonb

from langgraph_sessions.plans import Params, Statement
from langgraph_sessions.sql.columns import IN_RUNS, record
from langgraph_sessions.sql.rows import SESSION_ROW

_dumps: Final = partial(json.dumps, default=datetime.isoformat)


@dataclass(frozen=True, kw_only=True)
class GuardThread(Statement):
    """Refuse writes if the thread is not the run's, or another run saved to it.

    Attributes:
        user_id: The run's user; `None` for a run without one.
        thread_id: The thread to which it saves.
        known: Whether the session existed when the run began.
        checked: Whether another run's saves are an error.
        save: The save's name; `None` for a save outside a run.
        seen: The name of the last save that the run knows of.
        base: The newest root checkpoint when the run began; `""` for none, `None` for a run
            that started from an older one.
    """

    user_id: str | None
    thread_id: str
    known: bool = False
    checked: bool = False
    save: str | None = None
    seen: str | None = None
    base: str | None = None

    @property
    def sql(self) -> str:
        return "SELECT user_sessions_guard(%(p)s::jsonb)"

    @property
    def params(self) -> Params:
        """One argument, so that the functions never get another: what is `None` is left out."""
        given = {key: value for key, value in vars(self).items() if value is not None}
        return {"p": Jsonb(given, dumps=_dumps)}


@dataclass(frozen=True, kw_only=True)
class PutSession(GuardThread):
    """Make a session, or update it, as the save of a checkpoint does; returns its row.

    Attributes:
        user_id: Whose it is.
        first: Whether this is the run's first save, which carries out its instructions.
        title: The title to give.
        message_title: The title that the messages suggest.
        is_active: Whether to activate or deactivate it; `None` for neither.
        make_current: `False`: it does not become current by this.
        own: The checkpoint that is being saved.
        at: When it was saved, if the database was away then.
    """

    user_id: str
    first: bool = False
    title: str | None = None
    message_title: str | None = None
    is_active: bool | None = None
    make_current: bool | None = None
    own: str | None = None
    at: datetime | None = None

    @property
    def sql(self) -> str:
        return f"""
SELECT {SESSION_ROW}
FROM jsonb_to_record(user_sessions_put(%(p)s::jsonb)) AS s ({record(IN_RUNS)})"""


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
    SELECT FROM checkpoints AS c WHERE c.thread_id = s.thread_id
    AND checkpoint_ns = %(checkpoint_ns)s AND checkpoint_id = %(checkpoint_id)s)"""
