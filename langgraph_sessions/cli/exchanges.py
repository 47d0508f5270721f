"""A conversation as exchanges: what somebody said, and all that was answered to it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langgraph_sessions.models import CheckpointInfo, Session
from langgraph_sessions.sessions.manager_reading import ManagerReading

Exchange = list[BaseMessage]

PAGE: Final = 1000  # Checkpoints that are read at once.


def exchanges(messages: Iterable[BaseMessage]) -> list[Exchange]:
    """Return *messages* by exchange; what stands before the first human message is in the first."""
    found: list[Exchange] = []
    for message in messages:
        begins = isinstance(message, HumanMessage) and bool(found) and _count(found[-1]) > 0
        if begins or not found:
            found.append([])
        found[-1].append(message)
    return found


def _count(messages: Iterable[BaseMessage]) -> int:
    return sum(isinstance(message, HumanMessage) for message in messages)


def spoken(message: BaseMessage) -> str:
    """Return a message's text; without any, which tools it calls, or what else it has."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    called = [f"(calls {call['name']})" for call in calls]
    return "\n".join([*([message.text] if message.text else []), *called]) or "(no text)"


def checkpoint_after(sessions: ManagerReading, session: Session, number: int) -> str | None:
    """Return the checkpoint of *session* that has its first *number* exchanges, all of them.

    `None`: no checkpoint has just those, as where messages were removed later.
    """

    def told(checkpoint_id: str) -> int:
        """Return how many exchanges there were; they get more from one to the next."""
        return _count(_messages(sessions, session, checkpoint_id))

    line = _line(sessions, session)
    found = bisect_right(line, number, key=told) - 1
    return line[found] if found >= 0 and told(line[found]) == number else None


def _messages(sessions: ManagerReading, session: Session, checkpoint_id: str) -> list[BaseMessage]:
    return sessions.get_messages(session.user_id, session.thread_id, checkpoint_id=checkpoint_id)


def _line(sessions: ManagerReading, session: Session) -> list[str]:
    """Return the checkpoints that led to the newest one, oldest first: no other branches."""
    parents = {info.checkpoint_id: info.parent_id for info in _checkpoints(sessions, session)}
    line: list[str] = []
    at = next(iter(parents), None)
    while at in parents:
        line.append(at)
        at = parents[at]
    return line[::-1]


def _checkpoints(sessions: ManagerReading, session: Session) -> Sequence[CheckpointInfo]:
    """Return all checkpoints of *session*, newest first."""
    found: list[CheckpointInfo] = []
    while True:
        before = found[-1].checkpoint_id if found else None
        page = sessions.list_checkpoints(
            session.user_id, session.thread_id, limit=PAGE, before=before
        )
        found += page
        if len(page) < PAGE:
            return found
