"""Whether the database is there: what the sync and the async `Database` have in common."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from langgraph_sessions import checks
from langgraph_sessions.database.failures import is_broken
from langgraph_sessions.outage.memory import Memory
from langgraph_sessions.plans import Fetch
from langgraph_sessions.runs.saving import Save

logger = logging.getLogger("langgraph_sessions")

ON_OUTAGE: Final = ("memory", "raise")
OUTAGE_LIMIT: Final = 64 * 2**20

HERE: Final = "here"
AWAY: Final = "away"
RETURNING: Final = "returning"  # What was said meanwhile is being written.


@dataclass(slots=True)
class Outage:
    """Whether the database is there, and what is done when it is not.

    Attributes:
        holds: Whether conversations go on in memory.
        limit: How many bytes of them.
        retry_for: For how many seconds what is lost with a connection is tried again.
        state: Whether the database is here, away or returning.
        memory: What is held while it is away.
        error: What it went away with.
        written: How many saves were written of those held.
    """

    holds: bool
    limit: int
    retry_for: float
    state: str = HERE
    memory: Memory = field(init=False)
    error: BaseException | None = None
    written: int = 0

    def __post_init__(self) -> None:
        """Begin with nothing held."""
        self.memory = Memory(self.limit)

    @classmethod
    def of(cls, on_outage: object, outage_limit: object, retry_for: object) -> Outage:
        """Check the arguments.

        Raises:
            TypeError: One has the wrong type.
            ValueError: One is out of range.
        """
        holds = checks.one_of("on_outage", on_outage, ON_OUTAGE) == "memory"
        limit = checks.number("outage_limit", outage_limit, 0, 2**63 - 1)
        return cls(holds, limit, checks.seconds("retry_for", retry_for, checks.LONGEST_WAIT))

    def begin(self, error: BaseException) -> None:
        """Go on in memory."""
        self.state, self.error, self.written = AWAY, error, 0
        logger.warning(
            "the database is away: conversations go on in memory until it is back (%s)", error
        )

    def stay(self, error: BaseException) -> None:
        """Stay away, for *error*: said once, if it is not that nobody answers."""
        answers = self.state == AWAY or not is_broken(error)
        if answers and str(error) != str(self.error):
            logger.warning("the database answers, but nothing can be written yet: %s", error)
        self.state, self.error = AWAY, error

    def wrote(self) -> None:
        """Take note that the first of what is held was written."""
        self.memory.journal.drop_first()
        self.written += 1

    def refused(self, error: BaseException) -> None:
        """Drop the first of what is held: the database answered that it cannot be written."""
        entry = self.memory.journal.first()
        assert entry is not None
        logger.error("%s cannot be written, and is lost", _described(entry.item), exc_info=error)
        self.memory.journal.drop_first()

    def end(self) -> None:
        """Go on with the database."""
        logger.info("the database is back: %s changes held in memory are written", self.written)
        self.state, self.error = HERE, None
        self.memory = Memory(self.limit)

    def lose(self) -> None:
        """Say what is lost when the program ends."""
        if lost := len(self.memory.journal):
            logger.error("closed while the database is away: %s changes in memory are lost", lost)
        self.state, self.memory = HERE, Memory(self.limit)


def _described(item: Any) -> str:
    """Say what was held, without anything that somebody wrote."""
    if isinstance(item, Fetch):
        return f"a change of session {cast(Mapping[str, Any], item.params)['thread_id']!r}"
    what = "a checkpoint" if isinstance(item, Save) else "the writes of a task"
    return f"{what} of session {item.run.thread_id!r}, held in memory,"
