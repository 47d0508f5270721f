"""Everything of a user as records of strict JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import psycopg
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions.errors import SessionsUnavailableError, described
from langgraph_sessions.plans import Give, Plan
from langgraph_sessions.sessions import reading, upkeep
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.sessions.plain import Plain
from langgraph_sessions.sql.listing import ListConversations

REPLACED: Final = (
    "null stands for NaN and infinity, U+FFFD for NUL characters and halves of surrogate pairs, "
    "text for numbers too long and values nested too deep: JSON, or PostgreSQL's, has none of them"
)
_LONGEST_REASON: Final = 300

# Of a certain value or row, and not of the database.
_OF_DATA: Final = (psycopg.DataError, psycopg.InternalError, psycopg.NotSupportedError)


class Export:
    """An export of a user, which gives one record after another."""

    def __init__(
        self,
        user_id: str,
        serde: SerializerProtocol,
        messages: Callable[[str], Plan[list[BaseMessage]]],
    ) -> None:
        """Take *messages*, which reads what was said in a thread, and *serde* for the rest."""
        self._user_id, self._serde, self._messages = user_id, serde, messages
        self._replaced: list[str] = []  # The threads in which something was.

    def plan(self) -> Plan[None]:
        """Give every record."""
        if preferences := (yield from upkeep.get_preferences(self._user_id)):
            record = {"user_id": self._user_id, "preferences": preferences}
            yield Give(Plain()({"record": "preferences", **record}))
        # All at once: page by page, one that is used meanwhile would be missed.
        for session in (yield from Listing(self._user_id).all(ListConversations)):
            yield Give(Plain()({"record": "session", **session}))
            yield from self._thread(session.thread_id)
        for thread_id in (yield from upkeep.plain_threads(self._user_id)):
            yield Give({"record": "thread", "thread_id": thread_id})
            yield from self._thread(thread_id)
        if self._replaced:
            yield Give({"record": "note", "note": REPLACED, "thread_ids": self._replaced})

    def _thread(self, thread_id: str) -> Plan[None]:
        """Give what is in a thread, or say that it cannot be read."""
        try:
            records = yield from self._read(thread_id)
        except SessionsUnavailableError:
            raise
        except Exception as error:
            if isinstance(error, psycopg.Error) and not isinstance(error, _OF_DATA):
                raise
            records = [_unreadable(thread_id, error)]
        for record in records:
            yield Give(record)

    def _read(self, thread_id: str) -> Plan[list[dict[str, Any]]]:
        plain = Plain()
        said = yield from self._messages(thread_id)
        records = [reading.record(thread_id, message, plain) for message in said]
        if state := (yield from reading.state(thread_id, self._serde)):
            records.append(plain({"record": "state", "thread_id": thread_id, **state}))
        if plain.replaced:
            self._replaced.append(thread_id)
        return records


def _unreadable(thread_id: str, error: Exception) -> dict[str, Any]:
    # Not its text, if that may quote what was said: the record goes where the rest cannot.
    reason = described(error)[:_LONGEST_REASON]
    record: dict[str, Any] = Plain()(
        {"record": "unreadable", "thread_id": thread_id, "error": reason}
    )
    return record
