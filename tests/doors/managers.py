"""The doors of the session managers: every method that takes a user, each a small function."""

from __future__ import annotations

from typing import Any, Final

from langgraph_sessions import SessionNotFoundError
from tests.doors.table import Doors
from tests.doors.visiting import Visit

managers: Final = Doors()


@managers("sessions.get_session")
async def get_session(v: Visit) -> Any:
    return await v.sessions("get_session", v.thread_id)


@managers("sessions.get_session")
async def get_a_cached_session(v: Visit) -> Any:
    if v.visitor.agent is None:
        await v.talk.session("get_session", "alice", "hers")
    return await v.talk.session("get_session", v.visitor.user_id, v.thread_id)


@managers("sessions.get_current_user_session")
async def get_current(v: Visit) -> Any:
    return await v.sessions("get_current_user_session")


@managers("sessions.get_or_create_user_session")
async def get_or_create(v: Visit) -> Any:
    return dict(await v.sessions("get_or_create_user_session"))["user_id"]


@managers("sessions.create_user_session", tells=ValueError)
async def create_on_the_thread(v: Visit) -> Any:
    return await v.sessions("create_user_session", thread_id=v.thread_id)


@managers("sessions.run_config", tells=SessionNotFoundError)
async def run_config(v: Visit) -> Any:
    return await v.sessions("run_config", thread_id=v.thread_id)


@managers("sessions.update_session")
async def rename(v: Visit) -> Any:
    updates = {"title": "Taken", "metadata": {"note": None}, "is_active": False}
    return await v.sessions("update_session", updates, thread_id=v.thread_id)


@managers("sessions.switch_session")
async def switch(v: Visit) -> Any:
    return await v.sessions("switch_session", v.thread_id)


@managers("sessions.deactivate_session")
async def deactivate(v: Visit) -> Any:
    return await v.sessions("deactivate_session", thread_id=v.thread_id)


@managers("sessions.deactivate_session")
async def deactivate_all(v: Visit) -> Any:
    return await v.sessions("deactivate_session")


@managers("sessions.has_session")
async def has(v: Visit) -> Any:
    return await v.sessions("has_session")


@managers("sessions.list_active_sessions")
async def list_active(v: Visit) -> Any:
    return [dict(session) for session in await v.sessions("list_active_sessions")]


@managers("sessions.list_sessions")
async def list_all(v: Visit) -> Any:
    return [dict(session) for session in await v.sessions("list_sessions")]


@managers("sessions.list_sessions")
async def search(v: Visit) -> Any:
    filters = {"title": "xylo", "metadata": {"note": "xylophone"}, "status": "idle"}
    return [dict(session) for session in await v.sessions("list_sessions", **filters)]


@managers("sessions.count_sessions")
async def count(v: Visit) -> Any:
    return await v.sessions("count_sessions", active=True)


@managers("sessions.fork_session")
async def fork(v: Visit) -> Any:
    return await v.sessions("fork_session", v.thread_id)


@managers("sessions.fork_session")
async def fork_at_a_checkpoint(v: Visit) -> Any:
    return await v.sessions("fork_session", v.thread_id, checkpoint_id=v.checkpoint_id())


@managers("sessions.delete_session")
async def delete(v: Visit) -> Any:
    return await v.sessions("delete_session", v.thread_id)


@managers("sessions.get_messages")
async def get_messages(v: Visit) -> Any:
    return await v.sessions("get_messages", v.thread_id)


@managers("sessions.get_messages")
async def get_messages_at_a_checkpoint(v: Visit) -> Any:
    return await v.sessions("get_messages", v.thread_id, checkpoint_id=v.checkpoint_id())


@managers("sessions.list_checkpoints")
async def list_checkpoints(v: Visit) -> Any:
    return await v.sessions("list_checkpoints", v.thread_id)


@managers("sessions.list_checkpoints")
async def list_checkpoints_before_one(v: Visit) -> Any:
    return await v.sessions("list_checkpoints", v.thread_id, before=v.checkpoint_id(-1))


@managers("sessions.iter_sessions")
async def iterate(v: Visit) -> Any:
    return [dict(session) for session in await v.sessions("iter_sessions")]


@managers("sessions.transfer_sessions")
async def transfer(v: Visit) -> Any:
    return await v.sessions("transfer_sessions", "carol", thread_id=v.thread_id)


@managers("sessions.transfer_sessions")
async def transfer_all(v: Visit) -> Any:
    return await v.sessions("transfer_sessions", "carol")


@managers("sessions.adopt_session")
async def adopt(v: Visit) -> Any:
    return await v.sessions("adopt_session", v.thread_id, title="Taken")


@managers("sessions.adopt_session", "left")
async def adopt_what_was_left(v: Visit) -> Any:
    return await v.sessions("adopt_session", v.thread_id)


@managers("sessions.exclusive", tells=SessionNotFoundError)
async def exclusive(v: Visit) -> Any:
    return await v.exclusive()


_WHOLE: Final = {"another agent": "it is the whole user's, whichever agent's"}


@managers("sessions.get_preferences", open_to=_WHOLE)
async def get_preferences(v: Visit) -> Any:
    return await v.sessions("get_preferences")


@managers("sessions.update_preferences", open_to=_WHOLE)
async def update_preferences(v: Visit) -> Any:
    return await v.sessions("update_preferences", {"likes": "nothing"})


@managers("sessions.export_user", open_to=_WHOLE)
async def export(v: Visit) -> Any:
    return await v.sessions("export_user")


@managers("sessions.delete_user", open_to=_WHOLE)
async def erase(v: Visit) -> Any:
    return await v.sessions("delete_user")


MANAGERS: Final = tuple(managers)

NO_MANAGERS: Final = {
    "sessions.close": "closes what was opened",
    "sessions.clear_memory_cache": "empties the process's cache",
    "sessions.get_session_count": "counts the process's cache",
    "sessions.purge_sessions": "an operator's call: by age",
    "sessions.backfill": "an operator's call: whole databases",
    "sessions.call_titler": "an operator's call: by a thread id, with a function",
}
