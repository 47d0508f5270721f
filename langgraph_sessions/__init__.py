"""User sessions for LangGraph on PostgreSQL.

`SessionSaver` and `AsyncSessionSaver` are checkpointers that know users;
`AgentSessionManager` and `AsyncAgentSessionManager`, their `sessions`, list and manage
what they store.

What this module exports is what users can rely on. Every other module is free to change.
"""

from __future__ import annotations

from langgraph_sessions.errors import (
    ConcurrentRunError,
    NotInterruptedError,
    SessionError,
    SessionNotFoundError,
    SessionsUnavailableError,
)
from langgraph_sessions.models import Session, SessionPage
from langgraph_sessions.runs.active import get_session
from langgraph_sessions.savers.aio_saver import AsyncSessionSaver
from langgraph_sessions.savers.saver import SessionSaver
from langgraph_sessions.sessions.aio_manager import AsyncAgentSessionManager
from langgraph_sessions.sessions.manager import AgentSessionManager
from langgraph_sessions.titles.by_model import titler

__version__ = "0.1.0"

__all__ = [
    "AgentSessionManager",
    "AsyncAgentSessionManager",
    "AsyncSessionSaver",
    "ConcurrentRunError",
    "NotInterruptedError",
    "Session",
    "SessionError",
    "SessionNotFoundError",
    "SessionPage",
    "SessionSaver",
    "SessionsUnavailableError",
    "get_session",
    "titler",
]
