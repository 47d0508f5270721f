"""Checks of what callers pass to be kept as JSON: metadata, preferences, filters."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, Final

from langgraph_sessions import checks
from langgraph_sessions.errors import quoted

METADATA_DEPTH: Final = 32
METADATA_SIZE: Final = 64 * 1024  # Bytes of JSON, as PostgreSQL writes it.


def metadata(value: object, name: str = "metadata", size: float = METADATA_SIZE) -> dict[str, Any]:
    """Return a JSON copy of *value*, a dict with `str` keys.

    Raises:
        TypeError: It is not a dict, has a key that is no `str`, or holds what JSON has no word for.
        ValueError: It nests deeper than 32, takes more than *size* bytes as JSON, holds NaN or
            infinity, NUL or a lone surrogate.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict, not {checks.shown(value)}")
    _Json(name, size).measure(value, ())
    copy = json.loads(json.dumps(value, allow_nan=False))
    assert isinstance(copy, dict)
    return copy


def changes(value: object, name: str = "metadata") -> tuple[dict[str, Any], list[str]]:
    """Return what *value* sets, and the keys that it removes by `None`. Raises as `metadata`."""
    checked = metadata(value, name)
    kept = {key: item for key, item in checked.items() if item is not None}
    return kept, [key for key in checked if key not in kept]


class _Json:
    """A look at a value that is to be JSON, which ends as soon as it is too much."""

    def __init__(self, name: str, size: float) -> None:
        """Begin to look at the argument called *name*, of at most *size* bytes."""
        self._name = name
        self._left = size

    def measure(self, value: object, path: tuple[object, ...]) -> None:
        """Check what stands at *path*, and take its size from what is left."""
        if len(path) > METADATA_DEPTH:
            raise ValueError(f"{self._name} must not nest deeper than {METADATA_DEPTH}")
        if isinstance(value, dict):
            self._take(0 if value else 2)  # One separator less than items makes room for braces.
            for key, item in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"{self._at(path)} must have str keys, not {checks.shown(key)}")
                self._text(key, path)
                self._take(4)  # Of ": " and ", ", as PostgreSQL writes them.
                self.measure(item, (*path, key))
        elif isinstance(value, list | tuple):
            self._take(0 if value else 2)
            for index, item in enumerate(value):
                self._take(2)
                self.measure(item, (*path, index))
        else:
            self._scalar(value, path)

    def _scalar(self, value: object, path: tuple[object, ...]) -> None:
        if isinstance(value, str):
            self._text(value, path)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"{self._at(path)} must be a finite number, not {value}")
            self._take(len(f"{Decimal(float.__repr__(value)):f}"))  # PostgreSQL writes no exponent.
        elif isinstance(value, int):
            if value.bit_length() > 4096:
                raise ValueError(f"{self._at(path)} must be a number of at most 4096 bits")
            self._take(value.bit_length() // 3 + 1)
        elif value is None:
            self._take(4)
        else:
            raise TypeError(
                f"{self._at(path)} must be JSON (dict, list, str, number, bool, None), "
                f"not {checks.shown(value)}"
            )

    def _text(self, value: str, path: tuple[object, ...]) -> None:
        self._take(len(value))  # At the least: before it is looked at.
        if "\0" in value or not checks.encodes(value):
            raise ValueError(f"{self._at(path)} must not contain NUL characters or lone surrogates")
        self._take(len(json.dumps(value, ensure_ascii=False).encode()) - len(value))

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise too_large(self._name)

    def _at(self, path: tuple[object, ...]) -> str:
        """Name the place at *path*, of which a part may be as long as anybody likes."""
        return self._name + "".join(f"[{quoted(key, 40)}]" for key in path[:4])


def too_large(name: str) -> ValueError:
    """Return the error for an argument that makes more JSON than is kept."""
    return ValueError(f"{name} must take at most {METADATA_SIZE // 1024} KiB as JSON")
