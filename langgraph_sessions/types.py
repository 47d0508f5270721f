"""Types of what callers pass, for type checkers and editors."""

from __future__ import annotations

import sys
from typing import Any, Literal
from uuid import UUID

# pydantic, and with it FastAPI, takes no other before 3.12.
if sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    from typing_extensions import TypedDict

# What a session's newest checkpoint waits for: nothing, an answer, another try.
SessionStatus = Literal["idle", "interrupted", "error"]
# What happens while the database is away: see `SessionSaver`.
OnOutage = Literal["memory", "raise"]
# What happens where two runs of a session overlap: see `SessionSaver`.
ConcurrentRuns = Literal["reject", "allow"]


class SessionUpdates(TypedDict, total=False):
    """What `update_session` changes; what is left out stays.

    Attributes:
        title: At most 255 characters.
        is_active: Whether it can be the user's current session.
        metadata: Merged, key by key, into what is there; a key whose value is `None` goes.
    """

    title: str
    is_active: bool
    metadata: dict[str, Any]


class SessionConfigurable(TypedDict, total=False):
    """What a run's `configurable` says to the savers.

        mine: SessionConfigurable = {"user_id": "alice", "new_session": True}
        graph.invoke({"messages": ["Hello"]}, {"configurable": {**mine}})

    Attributes:
        user_id: Who the run belongs to.
        thread_id: A certain session of that user; by default the current one.
        new_session: Start a new session for this run.
        title: Name the session.
        is_active: `False`: it is deactivated with this run; `True`: reactivated.
        make_current: `False`: a job's run, by which the session does not become current.
        checkpoint_id: LangGraph's: from which checkpoint of the session to go on.
        checkpoint_ns: LangGraph's: whose it is, the root graph's (`""`) or a subgraph's.
    """

    user_id: str | int | UUID
    thread_id: str | int | UUID | None
    new_session: bool | None
    title: str | None
    is_active: bool | None
    make_current: bool | None
    checkpoint_id: str
    checkpoint_ns: str
