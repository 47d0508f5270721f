"""The tree of sessions that were forked from each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import Session
from langgraph_sessions.sessions import operations
from langgraph_sessions.sessions.aio_manager_reading import AsyncManagerReading
from langgraph_sessions.sessions.listing import forks

GENERATIONS: Final = 10  # How far up a page looks.
AMONG: Final = 2_000  # How many of the user's sessions, the latest, it looks through for forks.


@dataclass
class Relative:
    """A session in the tree.

    Attributes:
        thread_id: Its thread.
        session: The session; `None` if it was deleted.
        checkpoint_id: The checkpoint at which it was forked; `None` for all of its source.
        forks: The sessions that were forked from it.
    """

    thread_id: str
    session: Session | None
    checkpoint_id: str | None = None
    forks: list[Relative] = field(default_factory=list)


async def family(manager: AsyncManagerReading, session: Session) -> Relative | None:
    """Return the tree in which *session* stands, from its eldest; `None` if it stands alone."""
    eldest = await _eldest(manager, session)
    found = await manager._database.run(forks(session.user_id, AMONG))
    _add_forks(eldest, [session, *found], {eldest.thread_id})
    return eldest if eldest.forks else None


async def _eldest(manager: AsyncManagerReading, session: Session) -> Relative:
    """Go up from *session* as far as there are sessions, and one farther."""
    eldest, seen = Relative(session.thread_id, session), {session.thread_id}
    for _ in range(GENERATIONS):
        source = eldest.session.forked_from if eldest.session else None
        if source is None or source[0] in seen:
            break
        seen.add(source[0])
        eldest = Relative(source[0], await _found(manager, session.user_id, source[0]))
    return eldest


def _add_forks(relative: Relative, candidates: list[Session], seen: set[str]) -> None:
    """Add to *relative* those of *candidates* that were forked from it, and theirs to them."""
    for each in candidates:
        source = each.forked_from
        if source and source[0] == relative.thread_id and each.thread_id not in seen:
            seen.add(each.thread_id)
            relative.forks.append(Relative(each.thread_id, each, source[1]))
            _add_forks(relative.forks[-1], candidates, seen)


async def _found(manager: AsyncManagerReading, user_id: str, thread_id: str) -> Session | None:
    try:
        return await manager._database.run(operations.get(user_id, thread_id, manager.agent))
    except SessionNotFoundError:
        return None
