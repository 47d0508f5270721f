"""The functions that are others on Citus than in `sql.functions`, or there alone."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

from langgraph_sessions.sql import functions
from langgraph_sessions.sql.functions import Function

OTHERS: Final = ("free", "plain", "exists", "hold")
MORE: Final = (
    "has_thread",
    "settle",
    "reserved",
    "lock",
    "try_lock",
    "try_lock_session",
    "starts",
    "move",
)


@cache
def load() -> tuple[Function, ...]:
    """Return all functions of a distributed database, in the order in which they are created."""
    folder = resources.files(__name__)
    others = {
        name: functions.parsed((folder / f"{name}.sql").read_text("utf-8"))
        for name in (*OTHERS, *MORE)
    }
    whole = [others.pop(file, function) for file, function in functions.by_file().items()]
    return (*whole, *others.values())
