"""The statements that must be others on Citus, as questions of the same answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from langgraph_sessions.plans import Batch, Plan, Question, Rows
from langgraph_sessions.sql.citus import opening, reading, retention, saving, sessions, upkeep
from langgraph_sessions.sql.citus.asking import steps

Translation = Callable[[Any], Question]


def _together(batch: Batch) -> Plan[Rows]:
    """A pipeline's transaction would be none: each node would commit each statement at once."""
    rows: Rows = []
    for statement in batch.statements:
        rows = yield statement
    return rows


_TRANSLATIONS: Final[Mapping[type, Translation]] = {
    Batch: steps(_together, atomic=True),
    **opening.TRANSLATIONS,
    **reading.TRANSLATIONS,
    **retention.TRANSLATIONS,
    **saving.TRANSLATIONS,
    **sessions.TRANSLATIONS,
    **upkeep.TRANSLATIONS,
}


def translated(question: Question) -> Question:
    """Return what asks the same on Citus: most questions as they are."""
    translation = _TRANSLATIONS.get(type(question))
    return question if translation is None else translation(question)
