"""The words of a run for its session's title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.base import Checkpoint

from langgraph_sessions.titles import by_model, from_words


@dataclass(slots=True, eq=False)
class Words:
    """The words of a run from which its session may be titled.

    Attributes:
        untitled: Whether a title from a message is still wanted.
        title: That title, once it was said.
        unasked: Whether a titler may yet be called for the session.
        has_titler: Whether there is one to call.
        answered: The checkpoint from which a model's answer can be read, once that is saved.
        may_title: Whether titles are made of what is said at all.
    """

    untitled: bool = True
    title: str | None = field(default=None, repr=False)
    unasked: bool = True
    has_titler: bool = False
    answered: str | None = None
    may_title: bool = True

    @property
    def _awaits_answer(self) -> bool:
        return self.may_title and self.has_titler and self.unasked and self.answered is None

    @property
    def _awaits_words(self) -> bool:
        return self.may_title and self.untitled and self.title is None

    def in_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Look for words in a root *checkpoint*; a subgraph's prompts are its own."""
        values = from_words.values_of(checkpoint)
        if self._awaits_words:
            self.title = from_words.from_checkpoint(values)
        if self._awaits_answer and by_model.is_answered(values):
            self.answered = checkpoint["id"]

    def in_writes(self, writes: Sequence[tuple[str, Any]]) -> None:
        """Look for words in a root task's *writes*: a `DeltaChannel`'s may be nowhere else."""
        if self._awaits_words:
            self.title = from_words.from_values(writes)

    def in_saved_writes(self, writes: Sequence[tuple[str, Any]], checkpoint_id: str) -> None:
        """Look for a model's answer in a root task's *writes* to a checkpoint."""
        if self._awaits_answer and by_model.is_answered(writes):
            self.answered = checkpoint_id

    def wants_titler(self, checkpoint_id: str) -> bool:
        """Say, once in a run, whether it is time for the titler: after the first answer.

        That is when the root checkpoint that has it, or a later one, is saved: writes are saved
        beside checkpoints, and may overtake them.
        """
        if not self.unasked or self.answered is None or checkpoint_id < self.answered:
            return False
        self.unasked = False
        return True
