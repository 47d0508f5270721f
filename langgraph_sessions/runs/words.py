"""The words of a run for its session's title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph_sessions.sql.sessions import TITLER_TRIES
from langgraph_sessions.titles import by_model


@dataclass(slots=True, eq=False)
class Words:
    """The words of a run from which its session may be titled.

    Attributes:
        untitled: Whether a title from a message is still wanted.
        title: That title, once it was said.
        may_ask: Whether a titler may be called for the session: it did not fail too often, and
            neither somebody nor a model has titled it.
        asked: Whether this run had it called: it is not tried again before the next one.
        has_titler: Whether there is one to call.
        heard: Whether what the run was given is known: nothing that it says later is a title.
        before: What the channels of the input held before it was taken, if that was seen and had no
            title in it: what takes it may make messages of it.
        answered: The checkpoint from which a model's answer can be read, once that is saved.
        may_title: Whether titles are made of what is said at all.
    """

    untitled: bool = True
    title: str | None = field(default=None, repr=False)
    heard: bool = False
    before: Mapping[str, Any] | None = None
    may_ask: bool = True
    asked: bool = False
    has_titler: bool = False
    answered: str | None = None
    may_title: bool = True

    @property
    def awaits_answer(self) -> bool:
        """Whether a model's answer is looked for, to call the titler after it."""
        return self.has_titler and self.may_title and self._asks and self.answered is None

    @property
    def _asks(self) -> bool:
        return self.may_ask and not self.asked

    def note(self, title_source: str, titler_tries: int) -> None:
        """Note what the session's row says of its title."""
        self.untitled = title_source == "default"
        self.may_ask = title_source in ("default", "message") and titler_tries < TITLER_TRIES

    @property
    def are_awaited(self) -> bool:
        """Whether a title from the run's words is still looked for."""
        return self.may_title and self.untitled and self.title is None and not self.heard

    def hear(self, title: str | None) -> None:
        """Note the *title* that is in what the run was given, if one is."""
        self.title, self.heard, self.before = title, True, None

    def in_values(self, values: Mapping[str, Any], checkpoint_id: str) -> None:
        """Look for a model's answer in the values of a root checkpoint."""
        if self.awaits_answer and by_model.is_answered(values):
            self.answered = checkpoint_id

    def in_saved_writes(self, writes: Sequence[tuple[str, Any]], checkpoint_id: str) -> None:
        """Look for a model's answer in a root task's *writes* to a checkpoint."""
        if self.awaits_answer and by_model.is_answered(writes):
            self.answered = checkpoint_id

    def wants_titler(self, checkpoint_id: str) -> bool:
        """Say, once in a run, whether it is time for the titler: after the first answer.

        That is when the root checkpoint that has it, or a later one, is saved: writes are saved
        beside checkpoints, and may overtake them.
        """
        if not self._asks or self.answered is None or checkpoint_id < self.answered:
            return False
        self.asked = True
        return True
