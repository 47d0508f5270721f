"""Searches that look at so many sessions at a time, and so take as long among a million."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from langgraph_sessions.checks import Everybody
from langgraph_sessions.sessions.aio_manager_reading import AsyncManagerReading
from langgraph_sessions.sessions.listing import Listing
from langgraph_sessions.web.asking import moment

SESSIONS: Final = 5_000  # No index finds a part of a title: each of these is looked at.


@dataclass(frozen=True)
class Stretch:
    """A stretch of a list, between two moments.

    Attributes:
        after: Its sessions were used after this; `None`: it has no such end.
        before: And before this, likewise.
    """

    after: datetime | None = None
    before: datetime | None = None

    @property
    def next_before(self) -> datetime | None:
        """Where the next stretch begins; `None` if there is none."""
        return None if self.after is None else self.after + timedelta(microseconds=1)


async def stretch(
    manager: AsyncManagerReading, user: str | Everybody, fields: Mapping[str, str]
) -> Stretch:
    """Return the stretch in which a title is searched for: what *fields* say, or the next one."""
    before, after = moment(fields, "before"), moment(fields, "after")
    if fields.get("title", "").strip() and after is None:
        listing = Listing(user, updated_before=before, agent=manager.agent)
        found = await manager._database.run(listing.far(SESSIONS))
        # So many may have been used in one moment that nothing is between two: all are looked at.
        if found is not None and (before is None or found + timedelta(microseconds=1) < before):
            after = found
    return Stretch(after, before)
