"""The changes to write to the database after an outage, in order."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from langgraph_sessions.errors import SessionsUnavailableError
from langgraph_sessions.plans import Statement
from langgraph_sessions.runs.saving import SaveCheckpoint, SaveWrites


class Entry(NamedTuple):
    """A change to write.

    Attributes:
        size: The bytes that it counts for.
        item: A change of a session, or what a run saved, as it was then.
        user_id: Whose it is.
    """

    size: int
    item: Statement | SaveCheckpoint | SaveWrites
    user_id: str


class Journal:
    """Entries in the order in which they were made, bounded in bytes, in all and for each user.

    No user may hold more than is left: a lone one half, two at most a third each. So somebody who
    has nothing held finds room, whatever others say.
    """

    def __init__(self, limit: int) -> None:
        """Hold *limit* bytes."""
        self._limit = limit
        self._used = 0
        self._used_by: Counter[str] = Counter()
        self._entries: deque[Entry] = deque()

    def append(self, entry: Entry) -> None:
        """Add *entry*. Raises as `count`."""
        self.count(entry.user_id, entry.size)
        self._entries.append(entry)

    def count(self, user_id: str, size: int) -> None:
        """Count what else is held for a user.

        Raises:
            SessionsUnavailableError: There is no room for it in the user's share.
        """
        used, left = self._used_by[user_id] + size, self._limit - self._used - size
        if used > left:
            raise SessionsUnavailableError(
                "the database is away, and what is held in memory meanwhile has reached this "
                f"user's share of outage_limit, {self._limit} bytes: nobody may hold more than is "
                "left for others"
            )
        self._used += size
        self._used_by[user_id] = used

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
