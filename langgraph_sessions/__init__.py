"""User sessions for LangGraph on PostgreSQL.

`SessionSaver` and `AsyncSessionSaver` are checkpointers that know users;
`AgentSessionManager` and `AsyncAgentSessionManager`, their `sessions`, list and manage
what they store.
"""

from __future__ import annotations

from langgraph_sessions._run import get_session
from langgraph_sessions._titling import titler
from langgraph_sessions.aio import AsyncSessionSaver
from langgraph_sessions.aio_manager import AsyncAgentSessionManager
from langgraph_sessions.errors import (
    ConcurrentRunError,
    SessionError,
    SessionNotFoundError,
    SessionsUnavailableError,
)
from langgraph_sessions.manager import AgentSessionManager
from langgraph_sessions.models import Session, SessionPage
from langgraph_sessions.saver import SessionSaver

__version__ = "0.1.0"

__all__ = [
    "AgentSessionManager",
    "AsyncAgentSessionManager",
    "AsyncSessionSaver",
    "ConcurrentRunError",
    "Session",
    "SessionError",
    "SessionNotFoundError",
    "SessionPage",
    "SessionSaver",
    "SessionsUnavailableError",
    "get_session",
    "titler",
]
