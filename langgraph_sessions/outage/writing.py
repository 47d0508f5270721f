"""How what memory held is written when the database is back."""

from __future__ import annotations

from typing import Any

import psycopg

from langgraph_sessions.errors import SessionError, SessionNotFoundError
from langgraph_sessions.plans import Plan, Statement
from langgraph_sessions.sql.functions import NOT_FOUND
from langgraph_sessions.sql.saving import PutSession
from langgraph_sessions.sql.sessions import CreateSession, GetSession


class Taken(SessionError):
    """Somebody has taken the thread id of a session that was made here."""


def write(item: Any) -> Plan[None]:
    """Write what was held.

    Raises:
        SessionError: There was no session to change.
        Taken: Somebody has taken the thread id of a session that was made here.
        ConcurrentRunError: Another process saved to the thread meanwhile.
    """
    try:
        rows = yield item
    except SessionNotFoundError as error:
        if item.session.known:
            raise
        raise Taken from error
    except psycopg.Error as error:
        if isinstance(item, PutSession) and not item.known and error.sqlstate == NOT_FOUND:
            raise Taken from error
        raise
    if rows or not isinstance(item, Statement):
        return
    if not isinstance(item, CreateSession):
        raise SessionError("the session is gone")
    # The INSERT may have succeeded although its connection broke.
    if not (yield GetSession(item.user_id, item.thread_id, item.agent)):
        raise Taken
