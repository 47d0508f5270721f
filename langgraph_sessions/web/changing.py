"""What the forms of the pages do."""

from __future__ import annotations

from collections.abc import Mapping

from langgraph_sessions.sessions.aio_manager import AsyncAgentSessionManager
from langgraph_sessions.types import SessionUpdates
from langgraph_sessions.web.asking import choice, given, needed
from langgraph_sessions.web.views import Moved, address

Form = Mapping[str, str]


async def rename(manager: AsyncAgentSessionManager, form: Form) -> Moved:
    """Give a session another title."""
    return await _updated(manager, form, "renamed", {"title": needed(form, "title")})


async def activate(manager: AsyncAgentSessionManager, form: Form) -> Moved:
    """Deactivate a session, or activate it again."""
    active = choice(form, "active")
    if active is None:
        raise ValueError("active must be yes or no")
    done = "reactivated" if active else "deactivated"
    return await _updated(manager, form, done, {"is_active": active})


async def _updated(
    manager: AsyncAgentSessionManager, form: Form, done: str, updates: SessionUpdates
) -> Moved:
    user, thread = _named(form)
    await manager.update_session(user, updates, thread_id=thread)
    return Moved(address("/session", user=user, thread=thread, done=done))


async def fork(manager: AsyncAgentSessionManager, form: Form) -> Moved:
    """Copy a session, all or up to a checkpoint, and go to the copy."""
    user, thread = _named(form)
    copy = await manager.fork_session(user, thread, checkpoint_id=given(form, "checkpoint"))
    return Moved(address("/session", user=user, thread=copy.thread_id, done="forked"))


async def delete(manager: AsyncAgentSessionManager, form: Form) -> Moved:
    """Delete a session, after it was asked whether it is to be."""
    user, thread = _named(form)
    await manager.delete_session(user, thread)
    return Moved(address("/", done="deleted"))


def _named(form: Form) -> tuple[str, str]:
    return needed(form, "user"), needed(form, "thread")
