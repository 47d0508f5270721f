"""Moving sessions to another user."""

from __future__ import annotations

from dataclasses import dataclass

from langgraph_sessions import checks
from langgraph_sessions.plans import Composite, Plan
from langgraph_sessions.sessions.deletion import forget
from langgraph_sessions.sessions.operations import bounded
from langgraph_sessions.sql.deletion import LockThreads
from langgraph_sessions.sql.transfer import (
    MoveCheckpoints,
    MovePreferences,
    MoveSessions,
    UsersThreads,
)


def transfer(from_user: object, to_user: object, thread_id: object, agent: str | None) -> Plan[int]:
    """Move one session, or all of a user's, to another user; return how many.

    Raises:
        ValueError: Both are the same user; the preferences of both are too many for one.
    """
    source, target = checks.user_id(from_user, "from_user"), checks.user_id(to_user, "to_user")
    if source == target:
        raise ValueError("to_user must be another user than from_user")
    thread = None if thread_id is None else checks.thread_id(thread_id)
    return bounded(_transfer(TransferSessions(source, target, thread, agent)), "preferences")


def _transfer(question: TransferSessions) -> Plan[int]:
    count: int = yield question
    return count


@dataclass(frozen=True)
class TransferSessions(Composite):
    """Move sessions to another user, and with all of them the preferences; count the sessions.

    Attributes:
        from_user: Whose they are.
        to_user: Whose they are to be.
        thread_id: One session alone; `None`: all of them.
        agent: Of which agent they must be; `None`: whichever.
    """

    from_user: str
    to_user: str
    thread_id: str | None = None
    agent: str | None = None

    atomic = True
    repeatable = False

    def plan(self) -> Plan[int]:
        """Move them in the order in which saves lock, those too that are made meanwhile."""
        count = 0
        asked = UsersThreads(self.from_user, self.thread_id, self.agent)
        while threads := [row["thread_id"] for row in (yield asked)]:
            yield LockThreads(threads)
            moved = yield MoveSessions(threads, self.from_user, self.to_user)
            yield MoveCheckpoints((yield from forget(moved)), self.to_user)
            count += len(moved)
        if self.thread_id is None and self.agent is None:
            yield MovePreferences(self.from_user, self.to_user)
        return count
