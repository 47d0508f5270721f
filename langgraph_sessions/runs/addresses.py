"""The checkpoints that a config names, checked before the database is asked for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langgraph_sessions import checks, json_checks

_KEYS: Final = ("checkpoint_ns", "checkpoint_id")
_MAPPINGS: Final = (dict, Mapping)  # To ask an abstract class takes ten times as long.


def configurable_of(config: object, name: str = "config") -> Mapping[str, Any]:
    """Return the configurable of *config*, whose namespace and checkpoint id may be asked for.

    Raises:
        TypeError: There is none, or one of these is no `str`.
        ValueError: One of these is not text, or has over 4,096 characters; likewise an id.
    """
    found = config.get("configurable") if isinstance(config, _MAPPINGS) else None
    if not isinstance(found, _MAPPINGS):
        raise TypeError(f"{name} must be a dict with a dict called configurable")
    user_id, thread_id = found.get("user_id"), found.get("thread_id")
    if isinstance(user_id, int):  # Of which Python makes no text if it is huge.
        checks.user_id(user_id)
    if thread_id is not None and not checks.is_plain(thread_id):
        if user_id:
            checks.thread_id(thread_id)
        else:
            checks.address("thread_id", thread_id)
    for key in _KEYS:
        value = found.get(key)
        if value is not None and value != "" and not checks.is_plain(value):
            _text(key, value)
    return found


def _text(key: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{key} must be a str, not {type(value).__name__}")
    if value:  # Empty, it is as if it were not given.
        checks.address(key, value)


def require(configurable: Mapping[str, Any], *keys: str) -> None:
    """Raise `TypeError` where what a save needs is given as `None`."""
    for key in keys:
        if configurable.get(key, "") is None:
            raise TypeError(f"{key} must be a str, not None")


def check_filters(*, filter: object = None, before: object = None, limit: object = None) -> None:
    """Check the keyword arguments of LangGraph's `list`.

    Raises:
        TypeError: One has the wrong type.
        ValueError: One is out of range, or cannot be stored as JSON.
    """
    if filter is not None:
        json_checks.metadata(filter, "filter")
    if before is not None:
        configurable_of(before, "before")
    if limit is not None:
        checks.number("limit", limit, 0)
