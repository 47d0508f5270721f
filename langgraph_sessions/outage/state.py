"""Whether the database is there, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from langgraph_sessions.database.failures import is_broken
from langgraph_sessions.errors import described
from langgraph_sessions.log import logger
from langgraph_sessions.outage.memory import Memory
from langgraph_sessions.runs.saving import Save, SaveCheckpoint

OUTAGE_LIMIT: Final = 64 * 2**20

HERE: Final = "here"
AWAY: Final = "away"
RETURNING: Final = "returning"  # What memory holds is being written.


@dataclass(slots=True)
class Outage:
    """Whether the database is there.

    Attributes:
        limit: How many bytes may be held in memory.
        state: Whether the database is here, away or returning.
        memory: What is held while it is away.
        error: The error with which the outage began, or of the last try to end it.
        written: How many saves were written of those held.
    """

    limit: int
    state: str = HERE
    memory: Memory = field(init=False)
    error: BaseException | None = None
    written: int = 0

    def __post_init__(self) -> None:
        """Begin with nothing held."""
        self.memory = Memory(self.limit)

    def begin(self, error: BaseException, never_reached: str | None = None) -> None:
        """Go on in memory.

        Args:
            error: Why.
            never_reached: Which database was asked for, if none was ever reached: perhaps its
                URL is wrong.
        """
        self.state, self.error, self.written = AWAY, error, 0
        if never_reached is None:
            logger.warning(
                "the database is away: conversations go on in memory until it is back (%s)",
                described(error),
            )
        else:
            logger.warning(
                "the database was never reached: is its URL right (%s)? Conversations go on in "
                "memory until it answers (%s)",
                never_reached,
                described(error),
            )

    def stay(self, error: BaseException) -> None:
        """Stay away, for *error*; log it once, unless it says that no server answers."""
        answers = self.state == AWAY or not is_broken(error)
        if answers and str(error) != str(self.error):
            logger.warning(
                "the database answers, but nothing can be written yet: %s", described(error)
            )
        self.state, self.error = AWAY, error

    def wrote(self) -> None:
        """Note that the journal's first entry was written."""
        self.memory.journal.drop_first()
        self.written += 1

    def refused(self, error: BaseException) -> None:
        """Drop the journal's first entry: the database refused it."""
        entry = self.memory.journal.first()
        assert entry is not None
        logger.error(
            "what was held in memory cannot be written, and is lost: %s",
            described(error),
            extra=_named(entry.item),
        )
        self.memory.journal.drop_first()

    def end(self) -> None:
        """Go on with the database."""
        logger.info(
            "the database is back: what was held in memory is written",
            extra={"changes": self.written},
        )
        self.state, self.error = HERE, None
        self.memory = Memory(self.limit)

    def lose(self) -> None:
        """Say what is lost when the program ends."""
        if lost := len(self.memory.journal):
            logger.error(
                "closed while the database is away: what is held in memory is lost",
                extra={"changes": lost},
            )
        self.state, self.memory = HERE, Memory(self.limit)


def _named(item: object) -> dict[str, object]:
    """Say what was held, without anything that somebody wrote."""
    if isinstance(item, Save):
        what = "checkpoint" if isinstance(item, SaveCheckpoint) else "writes"
        return {"thread_id": item.run.thread_id, "lost": what}
    return {"thread_id": getattr(item, "thread_id", None), "lost": "change"}
