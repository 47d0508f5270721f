"""The changes to write to the database after an outage, in order."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from langgraph_sessions.errors import SessionsUnavailableError
from langgraph_sessions.plans import Statement
from langgraph_sessions.runs.saving import SaveCheckpoint, SaveWrites


class Entry(NamedTuple):
    """A change to write.

    Attributes:
        size: The bytes that it counts for.
        item: A change of a session, or what a run saved, as it was then.
    """

    size: int
    item: Statement | SaveCheckpoint | SaveWrites


class Journal:
    """Entries in the order in which they were made, bounded in bytes."""

    def __init__(self, limit: int) -> None:
        """Hold *limit* bytes."""
        self._limit = limit
        self._used = 0
        self._entries: deque[Entry] = deque()

    def append(self, entry: Entry) -> None:
        """Add *entry*.

        Raises:
            SessionsUnavailableError: There is no room for it.
        """
        if self._used + entry.size > self._limit:
            raise SessionsUnavailableError(
                "the database is away, and what is held in memory meanwhile has reached "
                f"outage_limit, {self._limit} bytes"
            )
        self._used += entry.size
        self._entries.append(entry)

    def first(self) -> Entry | None:
        """Return the entry that comes first, if there are any."""
        return self._entries[0] if self._entries else None

    def drop_first(self) -> None:
        """Drop the first entry: it is in the database, or cannot be written.

        Its bytes go on counting: what it says can be read in memory to the end of the outage.
        """
        self._entries.popleft()

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._entries)
