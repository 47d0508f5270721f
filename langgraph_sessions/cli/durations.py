"""Durations as people write them: `90d`, `3w`, `90 days`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# Small letters alone: `3M` are months, which have no length of their own.
_WRITTEN: Final = re.compile(
    r"\s*([0-9]{1,8})\s*(m|min|mins|minutes?|h|hours?|d|days?|w|weeks?)\s*"
)


def duration(text: str) -> timedelta | None:
    """Return the duration that *text* says; `None`: it says none."""
    found = _WRITTEN.fullmatch(text)
    return timedelta(**{UNITS[found[2][0]]: int(found[1])}) if found else None
