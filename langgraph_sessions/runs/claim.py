"""What a run knows of its thread's history, so that overlapping runs are noticed."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from langgraph_sessions.errors import ConcurrentRunError


@dataclass(slots=True, eq=False)
class Claim:
    """A run's claim to be the only one that goes on from what it loaded.

    A thread's row names the run that saved last. A run's first save must find the name that the run
    loaded, each later one a name of the run's own.

    Attributes:
        thread_id: The thread.
        seen: The name of the session's last save that the run knows of.
        checked: Whether it is an error when another run saves to the thread meanwhile.
        overtaken: Whether one did.
        token: The first part of its saves' names; `""` for saves outside a run.
        base: The root checkpoint from which it goes on, the newest that it knows of; `""` for
            none, `None` for saves outside a run.
        addressed: Whether the config asked for that checkpoint, which may be an older one.
        advanced: Whether the run's tasks are those of a checkpoint of its own.
    """

    thread_id: str
    seen: str | None = None
    checked: bool = False
    overtaken: bool = False
    token: str = ""
    base: str | None = None
    addressed: bool = False
    advanced: bool = False
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self, checkpoint_id: str, *, addressed: bool, checked: bool) -> None:
        """Name the run's saves from now on, so that other runs notice them.

        Args:
            checkpoint_id: The checkpoint from which the run starts; `""` for none.
            addressed: Whether it was asked for; else it is the newest.
            checked: Whether this run is to notice others.
        """
        self.token = secrets.token_hex(8)
        self.checked = checked
        self.base = checkpoint_id
        self.addressed = addressed

    @property
    def is_made(self) -> bool:
        """Whether other runs will notice this one: its saves have names, and one was saved."""
        return not self.token or (self.seen or "").startswith(f"{self.token}.")

    def next_name(self) -> str | None:
        """Return the name of the run's next save; `None` for a save outside a run."""
        return f"{self.token}.{next(self._numbers)}" if self.token else None

    def take(self, checkpoint_id: str) -> None:
        """Note a root checkpoint of the run's, before it is saved.

        Raises:
            ConcurrentRunError: The checkpoint is older than what the run started from, so that
                nobody would ever see it: another machine's clock is ahead of this one's.
        """
        self.refuse_if_overtaken()
        # Of its own checkpoints, a later one may be saved first: that of a graph called inside it.
        behind = not self.advanced and self.base is not None and checkpoint_id < self.base
        if self.checked and behind:
            raise ConcurrentRunError(self.thread_id)
        self.advanced = True

    def saved(self, name: str | None, checkpoint_id: str | None) -> None:
        """Note a save; of a root checkpoint, also its id."""
        self.seen = name
        if checkpoint_id is not None:
            self.base, self.addressed = checkpoint_id, False

    def refuse_if_overtaken(self) -> None:
        """Raise `ConcurrentRunError` if that was raised before: the run is over."""
        if self.overtaken:
            raise ConcurrentRunError(self.thread_id)
