"""Lists of sessions, in an order that an index gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from langgraph_sessions.models import STATUSES
from langgraph_sessions.plans import Params, Statement
from langgraph_sessions.sql.columns import EARLIEST, LATEST
from langgraph_sessions.sql.rows import SESSION

# The filters of a listing, each added only when asked for: a plan for the question at
# hand, where `(%s IS NULL OR …)` can end in a generic one that uses no index.
FILTERS: Final = {
    "user_id": "user_id = %(user_id)s",
    "agent": "agent = %(agent)s",
    # Another index, which is not to be chosen for a user's: see `migrations._INDEXES`.
    "everybodys_agent": "agent || '' = %(everybodys_agent)s AND agent IS NOT NULL",
    # A regular expression that has every case itself: what the locale says is of no matter.
    "title": 'title COLLATE "C" ~ %(title)s',
    "metadata": "metadata @> %(metadata)s",
    "updated_after": "updated_at > %(updated_after)s",
    "updated_before": "updated_at < %(updated_before)s",
    # Keyset, not OFFSET: pages stay stable while sessions are touched.
    "after": "(updated_at, id) < (%(after_time)s::timestamptz, %(after_id)s)",
}
# A time that Python cannot hold, as text: the next page begins behind it all the same.
_PLACE: Final = f"""
CASE WHEN user_sessions.updated_at NOT BETWEEN '{EARLIEST}' AND '{LATEST}'
    THEN user_sessions.updated_at::text END AS place"""
# Literal values, so that the indexes on these, one of them partial, are recognised.
ACTIVE: Final = {True: "is_active", False: "NOT is_active"}
STATUS: Final = {status: f"status = '{status}'" for status in STATUSES}


@dataclass(frozen=True)
class ListSessions(Statement):
    """List sessions, newest first, with their status.

    Attributes:
        conditions: SQL conditions that all must hold.
        values: Their parameters.
        limit: How many at the most; `None` for all.
    """

    conditions: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None

    @property
    def sql(self) -> str:
        order = _order(self.conditions)
        limit = "" if self.limit is None else " LIMIT %(limit)s"
        chosen = f"{_where(self.conditions)}{order}{limit}"
        if FILTERS["title"] in self.conditions:  # Found in the index alone.
            whose = f"{FILTERS['user_id']} AND " if FILTERS["user_id"] in self.conditions else ""
            chosen = f" WHERE {whose}id IN (SELECT id FROM user_sessions{chosen}){order}"
        return f"SELECT {SESSION}, status, {_PLACE} FROM user_sessions{chosen}"

    @property
    def params(self) -> Params:
        return {**self.values, "limit": self.limit}


@dataclass(frozen=True)
class ListConversations(ListSessions):
    """List sessions whose threads are read next."""


@dataclass(frozen=True)
class CountSessions(Statement):
    """Count sessions; takes what `ListSessions` does."""

    conditions: Sequence[str] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        return f"SELECT count(*) AS count FROM user_sessions{_where(self.conditions)}"

    @property
    def params(self) -> Params:
        return self.values


@dataclass(frozen=True)
class FarInList(Statement):
    """Tell when the session was used that comes *count* later in a list.

    Attributes:
        conditions: As of `ListSessions`.
        values: Their parameters.
        count: How many come before it.
    """

    conditions: Sequence[str]
    values: Mapping[str, Any]
    count: int

    @property
    def sql(self) -> str:
        chosen = f"{_where(self.conditions)}{_order(self.conditions)}"
        return f"""
SELECT GREATEST(LEAST(updated_at, '{LATEST}'), '{EARLIEST}') AS updated_at
FROM (SELECT updated_at FROM user_sessions{chosen} OFFSET %(count)s LIMIT 1) AS found"""

    @property
    def params(self) -> Params:
        return {**self.values, "count": self.count}


@dataclass(frozen=True)
class ListForks(Statement):
    """List a user's sessions that are forks, newest first, of those *among* that were used last."""

    user_id: str
    among: int

    sql: ClassVar[str] = f"""
SELECT {SESSION} FROM user_sessions WHERE user_id = %(user_id)s AND id IN (
    SELECT id FROM (
        SELECT id, forked_from FROM user_sessions WHERE user_id = %(user_id)s
        ORDER BY updated_at DESC, id DESC LIMIT %(among)s) AS latest
    WHERE forked_from IS NOT NULL)
ORDER BY user_sessions.updated_at DESC, id DESC"""


def _order(conditions: Sequence[str]) -> str:
    """Return the order of a listing, in the words of the index that is to give it.

    No time, and no id, is NULL: NULLS LAST changes nothing but which index has that order, one
    for everybody's lists, one for those of everybody's that are active or not, one for a user's
    with an agent.
    """
    if FILTERS["user_id"] in conditions:
        last = " NULLS LAST" if FILTERS["agent"] in conditions else ""
        return f" ORDER BY user_sessions.updated_at DESC, id DESC{last}"
    if set(ACTIVE.values()) & set(conditions):
        return " ORDER BY user_sessions.updated_at DESC NULLS LAST, id DESC"
    return " ORDER BY user_sessions.updated_at DESC NULLS LAST, id DESC NULLS LAST"


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
