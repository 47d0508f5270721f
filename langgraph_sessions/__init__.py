"""User sessions for LangGraph on PostgreSQL.

`SessionSaver` and `AsyncSessionSaver` are checkpointers that know users;
`AgentSessionManager` and `AsyncAgentSessionManager`, their `sessions`, list and manage
what they store.

What this module exports is what users can rely on. Every other module is free to change.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import Any

    from langgraph_sessions.errors import (
        ConcurrentRunError,
        NotInterruptedError,
        SessionError,
        SessionNotFoundError,
        SessionsUnavailableError,
    )
    from langgraph_sessions.models import CheckpointInfo, Session, SessionPage
    from langgraph_sessions.runs.active import get_session
    from langgraph_sessions.savers.aio_saver import AsyncSessionSaver
    from langgraph_sessions.savers.saver import SessionSaver
    from langgraph_sessions.sessions.aio_manager import AsyncAgentSessionManager
    from langgraph_sessions.sessions.manager import AgentSessionManager
    from langgraph_sessions.titles.by_model import titler
    from langgraph_sessions.types import (
        ConcurrentRuns,
        OnOutage,
        SessionConfigurable,
        SessionStatus,
        SessionUpdates,
    )

__version__ = "0.1.0"

__all__ = [
    "AgentSessionManager",
    "AsyncAgentSessionManager",
    "AsyncSessionSaver",
    "CheckpointInfo",
    "ConcurrentRunError",
    "ConcurrentRuns",
    "NotInterruptedError",
    "OnOutage",
    "Session",
    "SessionConfigurable",
    "SessionError",
    "SessionNotFoundError",
    "SessionPage",
    "SessionSaver",
    "SessionStatus",
    "SessionUpdates",
    "SessionsUnavailableError",
    "get_session",
    "titler",
]

# Each is imported when it is first asked for: the savers take LangGraph and psycopg with them, and
# `python -m langgraph_sessions --version`, which imports this module, is quick without.
_MODULES: Final = {
    "AgentSessionManager": "sessions.manager",
    "AsyncAgentSessionManager": "sessions.aio_manager",
    "AsyncSessionSaver": "savers.aio_saver",
    "CheckpointInfo": "models",
    "ConcurrentRunError": "errors",
    "ConcurrentRuns": "types",
    "NotInterruptedError": "errors",
    "OnOutage": "types",
    "Session": "models",
    "SessionConfigurable": "types",
    "SessionError": "errors",
    "SessionNotFoundError": "errors",
    "SessionPage": "models",
    "SessionSaver": "savers.saver",
    "SessionStatus": "types",
    "SessionUpdates": "types",
    "SessionsUnavailableError": "errors",
    "get_session": "runs.active",
    "titler": "titles.by_model",
}

if not TYPE_CHECKING:  # For a type checker a name that is not above stays an error.

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        exported = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = exported
        return exported


def _server_checkpointer() -> Any:
    """Return what `langgraph_sessions.server.checkpointer` does, which is imported now."""
    return importlib.import_module(f"{__name__}.server").checkpointer()


# LangGraph's server takes what stands after a path's last dot for a name in the module before it:
# of "langgraph_sessions.server:checkpointer", the form of all its other paths, this one.
globals()["server:checkpointer"] = _server_checkpointer


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
