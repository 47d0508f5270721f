"""Saves of one run that wait for another one's end are sent together, in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from langgraph_sessions.plans import Composite, Plan, Statement
from langgraph_sessions.runs.guarding import guarded
from langgraph_sessions.runs.saving import Save
from langgraph_sessions.sql.saving import GuardThread, fits

MOST_ROWS: Final = 16  # Statements of many rows are dear to plan, and each number is another.


@dataclass(frozen=True)
class SaveTogether(Composite):
    """Several saves of one run, as one; none of them touches the session.

    Attributes:
        guard: What guards them all: it leaves the name of the last that is to be noticed.
        saved: LangGraph's statements, in the order of the saves.
    """

    guard: GuardThread
    saved: Sequence[Statement]

    once = True

    @classmethod
    def of(cls, asked: Sequence[Any]) -> SaveTogether | None:
        """Return what is *asked* as one; `None` where that is more, or too much for one."""
        if not all(isinstance(save, Save) for save in asked):
            return None
        guards = [save.guard_thread() for save in asked]
        if not all(guards) or sum(save.rows for save in asked) > MOST_ROWS:
            return None
        if any(guard.save is None or guard.checked != guards[0].checked for guard in guards):
            return None
        saved = [statement for save in asked for statement in save.saved()]
        named = [guard for guard in guards if guard.named]
        return cls((named or guards)[-1], saved) if fits(saved) else None

    def plan(self) -> Plan[None]:
        """Save them. Raises as `Save.plan`."""
        yield from guarded(self.guard, self.saved)
