"""Statements that open the thread of a run.

One statement finds the session and loads its checkpoint, so that a run's start costs the round
trip that the parent's does. `select` is the parent's own SELECT_SQL, never a copy; `None` finds
the session alone.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

from langgraph_sessions.plans import LARGE, Params, Rows, Statement
from langgraph_sessions.sql.columns import IN_RUNS, shown
from langgraph_sessions.sql.rows import current

_COLUMNS: Final = ", ".join(f"{shown(name, 's')} AS session_{name}" for name in IN_RUNS)

_THREAD: Final = """
LEFT JOIN session_threads AS t ON t.thread_id = s.thread_id"""

# Two first runs of one user, with one agent or with none, must agree on a thread before either has
# saved anything, so the first to ask reserves an id. The row lock of ON CONFLICT makes the second
# one wait and read it. A reserved id is used up when its session was since deactivated, or never
# was current, when another user, or agent, took it, and when the caller found it `taken`.
_AGENT: Final = "coalesce(%(agent)s::text, '')"
_USED_UP: Final = """EXISTS (
        SELECT 1 FROM user_sessions AS used WHERE used.thread_id = r.thread_id
        AND (used.user_id <> r.user_id OR coalesce(used.agent, '') <> r.agent
            OR NOT used.is_active OR used.current_at IS NULL)
    )"""
_RESERVE: Final = f"""
INSERT INTO session_reservations AS r (user_id, agent, thread_id)
VALUES (%(user_id)s, {_AGENT}, %(thread_id)s)
ON CONFLICT (user_id, agent) DO UPDATE SET thread_id = CASE
    WHEN r.thread_id = %(taken)s::text OR {_USED_UP}
    THEN EXCLUDED.thread_id ELSE r.thread_id END
RETURNING thread_id"""


_SQL: Final[dict[tuple[type, str | None, bool, bool], str]] = {}


@dataclass(frozen=True, kw_only=True)
class _Open(Statement):
    """Open a thread: the session's columns as `session_…`, and the checkpoint that is asked for.

    Attributes:
        user_id: Who asks; `None` for a run without a user.
        agent: The agent that asks; `None` for any.
        checkpoint_ns: A subgraph's namespace; `""` for the root graph.
        checkpoint_id: A certain checkpoint; `None` for the newest.
        select: LangGraph's query that loads the checkpoint; `None` loads none.
    """

    user_id: str | None
    agent: str | None = None
    checkpoint_ns: str = ""
    checkpoint_id: str | None = None
    select: str | None = None

    often = True

    @property
    def holdable(self) -> bool:
        return self.user_id is not None

    def are_large(self, rows: Rows) -> bool:
        """Say whether values that were loaded are: as blobs, in the checkpoint, or written."""
        size = 0
        for row in rows:
            if checkpoint := row.get("checkpoint"):
                # An older LangGraph's checkpoint has none in it.
                values = (checkpoint.get("channel_values") or {}).values()
                size += sum([len(value) for value in values if isinstance(value, str)])
            for column, at in (("channel_values", 2), ("pending_writes", 3)):
                size += sum([len(entry[at] or b"") for entry in row.get(column) or ()])
        return size > LARGE

    @property
    def _user(self) -> str:
        """The user whose thread it must be, in SQL."""
        return "%(user_id)s::text"

    @property
    def _columns(self) -> str:
        """The session's, and the preferences as of the run's start, for `get_session(config)`."""
        return (
            f"{_COLUMNS}, t.last_save, "
            f"(SELECT preferences FROM session_users AS p WHERE p.user_id = {self._user})"
        )

    @property
    def sql(self) -> str:
        """Made once for each kind of question: to put it together takes longer than to send it."""
        shape = (type(self), self.select, self.agent is None, self.checkpoint_id is None)
        if (sql := _SQL.get(shape)) is None:
            sql = _SQL[shape] = self._made()
        return sql

    @abstractmethod
    def _made(self) -> str:
        """Put the SQL together."""

    @property
    def params(self) -> Params:
        return {key: value for key, value in vars(self).items() if key != "select"}

    def _head(self, thread_id: str) -> str:
        """Join the checkpoint asked for; nothing of another user's, or agent's, is read."""
        if self.select is None:
            return ""
        agent = "" if self.agent is None else " AND s.agent = %(agent)s"
        which = (
            "ORDER BY checkpoint_id DESC LIMIT 1"
            if self.checkpoint_id is None
            else "AND checkpoint_id = %(checkpoint_id)s"
        )
        return f"""
LEFT JOIN LATERAL (
    {self.select}
    WHERE thread_id = {thread_id} AND checkpoint_ns = %(checkpoint_ns)s
    AND (s.id IS NULL OR s.user_id = {self._user}{agent}) {which}
) AS head ON TRUE"""

    @property
    def _head_columns(self) -> str:
        return "" if self.select is None else ", head.*"

    # Whose a thread without a session is.
    _newest: ClassVar[str] = """
    SELECT c.thread_id AS newest_thread_id, user_sessions_owner(c.metadata) AS newest_user_id
    FROM checkpoints AS c WHERE s.id IS NULL AND c.thread_id = asked.thread_id
    ORDER BY c.checkpoint_ns = '' DESC, c.checkpoint_id DESC LIMIT 1"""

    def _opened(self, asked: str) -> str:
        """Open the thread that the query *asked* gives: always one row, whoever owns it.

        For a thread without a session, `newest_*` is its newest checkpoint's owner, by the
        metadata that LangGraph copies from a run's configurable: who may adopt it.
        """
        return f"""
WITH asked AS ({asked})
SELECT asked.thread_id AS asked_thread_id, {self._columns}{self._head_columns}, newest.*
FROM asked LEFT JOIN user_sessions AS s ON s.thread_id = asked.thread_id{_THREAD}
LEFT JOIN LATERAL ({self._newest}
) AS newest ON TRUE
{self._head("asked.thread_id")}"""


@dataclass(frozen=True, kw_only=True)
class OpenCurrent(_Open):
    """Open the user's current session, for a run: one row, or none."""

    def _made(self) -> str:
        return (
            f"SELECT {self._columns}{self._head_columns} FROM ({current(self.agent)}) AS s"
            f"{_THREAD}{self._head('s.thread_id')}"
        )


@dataclass(frozen=True, kw_only=True)
class FindCurrent(OpenCurrent):
    """Open the user's current session to read it: where there is none, none is made."""


@dataclass(frozen=True, kw_only=True)
class _OpenCertain(_Open):
    """Open a certain thread: always one row, whoever owns it."""

    thread_id: str | None

    def _made(self) -> str:
        return self._opened("SELECT %(thread_id)s::text AS thread_id")


@dataclass(frozen=True, kw_only=True)
class OpenThread(_OpenCertain):
    """Open a certain thread for a user's run."""


@dataclass(frozen=True, kw_only=True)
class OpenNobodys(_OpenCertain):
    """Open a certain thread for a run without a user: it is to have no owner.

    A thread without a session is somebody's if any of its checkpoints names them.
    """

    user_id: str | None = None

    # The first condition is cheap, and false for all checkpoints of a thread of nobody's.
    _newest: ClassVar[str] = """
    SELECT c.thread_id AS newest_thread_id, user_sessions_owner(c.metadata) AS newest_user_id
    FROM checkpoints AS c WHERE s.id IS NULL AND c.thread_id = asked.thread_id
    AND c.metadata ?| ARRAY['user_id', 'langgraph_auth_user_id']
    AND user_sessions_owner(c.metadata) IS NOT NULL LIMIT 1"""


@dataclass(frozen=True, kw_only=True)
class OpenTrusted(OpenThread):
    """Open a certain thread as its owner: who that is, its row says."""

    # Of a thread without a session, whoever a checkpoint names last.
    _newest: ClassVar[str] = """
    SELECT c.thread_id AS newest_thread_id,
        user_sessions_thread_owner(c.thread_id) AS newest_user_id
    FROM checkpoints AS c WHERE s.id IS NULL AND c.thread_id = asked.thread_id LIMIT 1"""

    @property
    def holdable(self) -> bool:
        return True

    @property
    def _user(self) -> str:
        return "coalesce(s.user_id, newest.newest_user_id)"


@dataclass(frozen=True, kw_only=True)
class ContinueThread(OpenThread):
    """Open a thread again for a run that is under way in it, such as one of its subgraphs."""


@dataclass(frozen=True, kw_only=True)
class OpenNew(OpenThread):
    """Open a thread with a new id, which may be in use all the same."""


@dataclass(frozen=True, kw_only=True)
class OpenReserved(_Open):
    """Open the thread reserved for the user's next session, with the agent: one row.

    Attributes:
        thread_id: The id to reserve if none is.
        taken: The reserved id that turned out to be somebody else's, if one did.
    """

    thread_id: str
    taken: str | None = None

    def _made(self) -> str:
        return self._opened(_RESERVE)


@dataclass(frozen=True, kw_only=True)
class FindNext(_Open):
    """Open the thread of the user's next run, and write nothing: one row.

    It is the current session's, else the reserved one.

    Attributes:
        thread_id: The id if there is neither; nothing sets it aside.
    """

    thread_id: str

    def _made(self) -> str:
        return self._opened(f"""
SELECT coalesce(
    (SELECT current.thread_id FROM ({current(self.agent)}) AS current),
    (SELECT r.thread_id FROM session_reservations AS r
    WHERE r.user_id = %(user_id)s AND r.agent = {_AGENT} AND NOT {_USED_UP}),
    %(thread_id)s::text) AS thread_id""")
