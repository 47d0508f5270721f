"""Retention: sessions that are old enough are deleted, batch by batch, and nobody waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from langgraph_sessions import checks
from langgraph_sessions.plans import Composite, Plan
from langgraph_sessions.sessions.deletion import delete_rows, forget
from langgraph_sessions.sql.deletion import DeleteSessions
from langgraph_sessions.sql.retention import (
    LockOldSessions,
    OldSessions,
    ThreadStates,
)

DAY: Final = timedelta(days=1)


class Purge:
    """A purge of sessions, batch by batch.

    Attributes:
        counts: What it has done so far: sessions `purged`, and `kept` although old enough,
            because they are in use or wait for an answer.
    """

    def __init__(
        self,
        idle_for: object,
        older_than: object,
        active: object,
        unused: object,
        interrupted: object,
        dry_run: object,
        batch_size: object,
        agent: str | None,
    ) -> None:
        """Check the arguments of `purge_sessions`."""
        self._options: dict[str, Any] = {
            "idle_for": _duration("idle_for", idle_for),
            "older_than": _duration("older_than", older_than),
            "active": None if active is None else checks.boolean("active", active),
            "unused": None if unused is None else checks.boolean("unused", unused),
            "interrupted": checks.boolean("interrupted", interrupted),
            "dry_run": checks.boolean("dry_run", dry_run),
            "limit": checks.limit(batch_size, "batch_size"),
            "agent": agent,
        }
        # `unused=False` is no condition: an option that is not used must not delete all the others.
        if idle_for is None and older_than is None and active is None and not unused:
            raise ValueError("purge_sessions needs idle_for, older_than, active or unused=True")
        self.counts = {"purged": 0, "kept": 0}
        self._after = 0

    def batch(self) -> Plan[bool]:
        """Purge one batch; say whether there may be more."""
        batch = yield PurgeBatch(after=self._after, **self._options)
        if batch is None:
            return False
        self._after, purged, kept = batch
        self.counts["purged"] += purged
        self.counts["kept"] += kept
        return True


def _duration(name: str, value: object) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {type(value).__name__}")
    if not timedelta(0) <= value <= checks.LONGEST_AGE:
        raise ValueError(f"{name} must be from 0 to {checks.LONGEST_AGE.days} days")
    return value


@dataclass(frozen=True, kw_only=True)
class PurgeBatch(Composite):
    """Purge the next sessions that are old enough, in one transaction of short locks.

    The answer is where the next batch begins, and how many were purged and kept; `None`: there
    were none.
    """

    idle_for: timedelta | None
    older_than: timedelta | None
    active: bool | None
    unused: bool | None = None
    interrupted: bool
    dry_run: bool
    limit: int
    after: int
    agent: str | None = None

    atomic = True

    def plan(self) -> Plan[tuple[int, int, int] | None]:
        """Lock the sessions that can be locked, look at them then, and delete."""
        found = yield OldSessions(
            idle_for=self.idle_for,
            older_than=self.older_than,
            active=self.active,
            unused=self.unused,
            after=self.after,
            limit=self.limit,
            agent=self.agent,
        )
        ids = [row["id"] for row in found]
        if not ids:
            return None
        locked = yield LockOldSessions(ids=ids, idle_for=self.idle_for, active=self.active)
        states = yield ThreadStates([row["thread_id"] for row in locked])
        meant = [state for state in states if self._is_meant(state)]
        threads = [state["thread_id"] for state in meant if self._may_go(state)]
        if not self.dry_run:
            yield from forget((yield DeleteSessions(threads)))
            yield from delete_rows(threads)
        return ids[-1], len(threads), len(ids) - (len(states) - len(meant)) - len(threads)

    def _is_meant(self, state: Mapping[str, Any]) -> bool:
        """Say whether it is still unused, or as long since its last checkpoint as it must be.

        A run touches its session when it starts; a long one, or a plain saver, saves later.
        """
        if self.unused == state["is_used"]:
            return False
        since = since_saved(state)
        return self.idle_for is None or since is None or since >= self.idle_for

    def _may_go(self, state: Mapping[str, Any]) -> bool:
        return not is_in_use(state) and (self.interrupted or not waits(state))


def is_in_use(state: Mapping[str, Any]) -> bool:
    """Say whether a run is at work, by a row of `ThreadStates`.

    There are tasks to come, a checkpoint was saved within a day, and one of the tasks has not
    written anything yet; or none asks for an answer, failed or was stopped; or an answer was just
    given.
    """
    since = since_saved(state)
    if since is None or since >= DAY or not state["tasks"]:
        return False
    under_way = state["is_answered"] or state["written"] < state["tasks"]
    goes_on = state["status"] == "idle" and not state["has_failed"]
    return bool(under_way or goes_on)


def since_saved(state: Mapping[str, Any]) -> timedelta | None:
    """Return how long ago the last checkpoint was saved, by a row of `ThreadStates`.

    `None`: there is none, or what it says is no time. A time to come counts as now.
    """
    try:
        saved_at = datetime.fromisoformat(state["saved_at"] or "")
    except ValueError:
        return None
    if saved_at.utcoffset() is None:
        saved_at = saved_at.replace(tzinfo=UTC)
    now: datetime = state["now"]
    return max(timedelta(0), now - saved_at)


def waits(state: Mapping[str, Any]) -> bool:
    """Say whether a session waits for an answer, by a row of `ThreadStates`.

    One with tasks to come, and nothing asked, was stopped, or its process died: nobody waits for
    it. At a static breakpoint it looks the same.
    """
    return bool(state["status"] == "interrupted")
