"""Plans that read one conversation of a user: its messages, its checkpoints."""

from __future__ import annotations

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions import checks
from langgraph_sessions.errors import SessionNotFoundError, quoted
from langgraph_sessions.models import CheckpointInfo, CheckpointList
from langgraph_sessions.plans import Plan
from langgraph_sessions.sessions import operations, reading
from langgraph_sessions.sql.checkpoints import HasCheckpoint, ListCheckpoints
from langgraph_sessions.sql.sessions import GetConversation


def messages(
    user_id: object,
    thread_id: object,
    checkpoint_id: object,
    agent: str | None,
    serde: SerializerProtocol,
) -> Plan[list[BaseMessage]]:
    """Return what was said in a session, up to one of its checkpoints if that is given."""
    user, thread = checks.user_id(user_id), checks.thread_id(thread_id)
    checkpoint = _checkpoint_id("checkpoint_id", checkpoint_id)
    return _messages(user, thread, checkpoint, agent, serde)


def _messages(
    user_id: str,
    thread_id: str,
    checkpoint_id: str | None,
    agent: str | None,
    serde: SerializerProtocol,
) -> Plan[list[BaseMessage]]:
    session = yield from operations.get(user_id, thread_id, agent, GetConversation)
    found = yield from reading.messages(thread_id, serde, checkpoint_id)
    # A thread is read by its id alone: what was read was the user's if their session, by its
    # number, is the one of before.
    again = yield from operations.get(user_id, thread_id, agent, GetConversation)
    if again.id != session.id:
        raise SessionNotFoundError(user_id, thread_id)
    return found


def checkpoints(
    user_id: object, thread_id: object, limit: object, before: object, agent: str | None
) -> Plan[list[CheckpointInfo]]:
    """Return a session's checkpoints, newest first."""
    user, thread = checks.user_id(user_id), checks.thread_id(thread_id)
    asked = ListCheckpoints(user, thread, checks.limit(limit), _checkpoint_id("before", before))
    return _checkpoints(asked, agent)


def _checkpoints(asked: ListCheckpoints, agent: str | None) -> Plan[list[CheckpointInfo]]:
    yield from operations.get(asked.user_id, asked.thread_id, agent, GetConversation)
    if asked.before is not None and not (yield HasCheckpoint(asked.thread_id, asked.before)):
        raise ValueError(f"before {quoted(asked.before)} is not a checkpoint of the session")
    return CheckpointList(CheckpointInfo.from_row(row) for row in (yield asked))


def _checkpoint_id(name: str, value: object) -> str | None:
    return None if value is None else checks.text(name, value)
