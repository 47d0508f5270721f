"""The findings of the doctor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

COMMAND: Final = "python -m langgraph_sessions sessions"


@dataclass(frozen=True)
class Finding:
    """A problem, or a fact, of a database.

    Attributes:
        check: Its kind, a word for programs.
        what: What was found.
        mend: How to mend it.
        count: How many are concerned.
        which: The first of them.
        is_problem: Whether it is to be mended; else it is only worth knowing.
    """

    check: str
    what: str
    mend: str
    count: int = 1
    which: list[str] = field(default_factory=list)
    is_problem: bool = True
