"""What two runs show, made comparable: ids and times as numbers."""

from __future__ import annotations

import re
from typing import Any


class Numbered:
    """Replaces what differs from run to run by numbers, in the order of its appearance."""

    PATTERN = re.compile(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # UUIDs
        r"|\b[0-9a-f]{32}\b(?!\.)"  # interrupt ids
        r"|\d{4}-\d\d-\d\dT[\d:.]+\+00:00"  # times
        r"|(?<=\d{32}\.)[\d.e-]+"  # the random part of versions
    )

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.seen: dict[str, str] = {}

    def __call__(self, value: Any) -> str:
        """Return the text of *value*, numbered."""
        return self.PATTERN.sub(self._number, repr(value))

    def _number(self, match: re.Match[str]) -> str:
        return self.seen.setdefault(match[0], f"<{len(self.seen)}>")
