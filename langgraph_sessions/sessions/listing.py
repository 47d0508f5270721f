"""Listings: their filters, and the cursors of their pages."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from langgraph_sessions import checks, json_checks
from langgraph_sessions.checks import EVERYBODY
from langgraph_sessions.models import STATUSES, Session, SessionList, SessionPage
from langgraph_sessions.plans import Give, Plan
from langgraph_sessions.sql.listing import (
    ACTIVE,
    FILTERS,
    STATUS,
    CountSessions,
    FarInList,
    ListForks,
    ListSessions,
)
from langgraph_sessions.titles import search


def _itself(value: Any) -> Any:
    return value


# What the database is given for a filter's value.
_PARAMETERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "metadata": Jsonb,
    "title": search.pattern,
}

PAGE: Final = 100  # How many sessions `each` reads at a time.


class Listing:
    """The sessions that some filters select, in the order newest first.

    Attributes:
        conditions: The SQL conditions, to be joined with AND.
        params: Their parameters.
    """

    def __init__(
        self,
        user_id: object = EVERYBODY,
        *,
        active: object = None,
        title: object = None,
        metadata: object = None,
        status: object = None,
        agent: object = None,
        updated_after: object = None,
        updated_before: object = None,
        cursor: object = None,
    ) -> None:
        """Check the filters; `None` filters nothing, and is no user.

        Raises:
            TypeError: A filter has the wrong type.
            ValueError: A filter is out of range, or *cursor* is not one of this listing's.
        """
        self.conditions: list[str] = []
        self.params: dict[str, Any] = {}
        filters: dict[str, Any] = {}
        if user_id is not EVERYBODY:
            filters["user_id"] = checks.user_id(user_id)
        if agent is not None:
            name = "everybodys_agent" if user_id is EVERYBODY else "agent"
            filters[name] = checks.agent(agent)
        if title is not None:
            filters["title"] = checks.title(title)
        if metadata is not None:
            filters["metadata"] = json_checks.metadata(metadata)
        if updated_after is not None:
            filters["updated_after"] = checks.moment("updated_after", updated_after)
        if updated_before is not None:
            filters["updated_before"] = checks.moment("updated_before", updated_before)
        for name, value in filters.items():
            self.conditions.append(FILTERS[name])
            self.params[name] = _PARAMETERS.get(name, _itself)(value)
        if active is not None:
            filters["active"] = checks.boolean("active", active)
            self.conditions.append(ACTIVE[filters["active"]])
        if status is not None:
            filters["status"] = checks.one_of("status", status, STATUSES)
            self.conditions.append(STATUS[filters["status"]])
        self._fingerprint = _digest(json.dumps(filters, sort_keys=True, default=str))
        if cursor is not None:
            self._start_after(cursor)

    # --- Its plans ---------------------------------------------------------------------------

    def page(self, limit: object) -> Plan[SessionPage]:
        """Return a page: *limit* sessions and, if there are more, where they begin."""
        return self._page(checks.limit(limit))

    def _page(self, limit: int) -> Plan[SessionPage]:
        rows = yield ListSessions(self.conditions, self.params, limit + 1)
        sessions = tuple(Session.from_row(row, listed=True) for row in rows[:limit])
        more = len(rows) > limit
        if not more:
            return SessionPage(sessions)
        return SessionPage(sessions, self.cursor_after(sessions[-1], rows[limit - 1].get("place")))

    def each(self) -> Plan[None]:
        """Give every session, page by page."""
        conditions, params = self.conditions, self.params
        while rows := (yield ListSessions(conditions, params, PAGE)):
            for row in rows:
                yield Give(Session.from_row(row, listed=True))
            conditions = [*self.conditions, FILTERS["after"]]
            params = {**self.params, **_after(row.get("place") or row["updated_at"], row["id"])}

    def all(self, kind: type[ListSessions] = ListSessions) -> Plan[list[Session]]:
        """Return every session."""
        rows = yield kind(self.conditions, self.params)
        return SessionList(Session.from_row(row, listed=True) for row in rows)

    def count(self) -> Plan[int]:
        """Count the sessions."""
        (row,) = yield CountSessions(self.conditions, self.params)
        return int(row["count"])

    def far(self, count: int) -> Plan[datetime | None]:
        """Return when the session was used that *count* come before; `None` if there is none.

        Between two such moments, a search looks at so many sessions, however many there are.
        """
        rows = yield FarInList(self.conditions, self.params, count)
        return rows[0]["updated_at"] if rows else None

    # --- Cursors -----------------------------------------------------------------------------

    def cursor_after(self, session: Session, time: str | None = None) -> str:
        """Return the cursor of the page that begins after *session*; *time* if Python has none."""
        place = json.dumps([time or session.updated_at.isoformat(), session.id])
        text = f"{_digest(self._fingerprint + place)}{place}"
        return base64.urlsafe_b64encode(text.encode()).decode()

    def _start_after(self, cursor: object) -> None:
        """Continue where *cursor* says; the digest tells another listing's, or a mangled one."""
        if not isinstance(cursor, str):
            raise TypeError(f"cursor must be a str, not {type(cursor).__name__}")
        after = self._place(cursor)
        if after is None:
            raise ValueError(
                "cursor must be the next_cursor of a page listed with the same filters"
            )
        self.conditions.append(FILTERS["after"])
        self.params.update(after)

    def _place(self, cursor: str) -> dict[str, Any] | None:
        if len(cursor) > _CURSOR_LENGTH:
            return None
        try:
            text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        except ValueError:  # The error of both base64 and UTF-8.
            return None
        digest, place = text[:_DIGEST_LENGTH], text[_DIGEST_LENGTH:]
        if digest != _digest(self._fingerprint + place):
            return None
        time, number = json.loads(place)
        return _after(_moment(time), number)


def forks(user_id: str, among: int) -> Plan[list[Session]]:
    """Return a user's sessions that are forks, of those *among* that were used last."""
    return [Session.from_row(row) for row in (yield ListForks(user_id, among))]


def _after(time: datetime | str, number: int) -> dict[str, Any]:
    return {"after_time": time, "after_id": number}


_DIGEST_LENGTH = 16
_CURSOR_LENGTH = 200


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def _moment(time: str) -> datetime | str:
    """Return a cursor's time; as it is, if Python's have no such one."""
    try:
        return datetime.fromisoformat(time)
    except ValueError:
        return time
