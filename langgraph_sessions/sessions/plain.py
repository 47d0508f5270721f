"""Whatever a conversation holds as strict JSON, which `jq` and PostgreSQL's jsonb can read."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Iterable, Mapping, Set
from datetime import date, time
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel

# jq before 1.7 reads 256 levels, and Python has a limit of its own.
DEEPEST: Final = 100
# Python writes no longer ones in decimals, and nobody counts so far.
_LONGEST_NUMBER: Final = 4096  # bits
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


class Plain:
    """Makes JSON of values of any kind.

    Attributes:
        replaced: Whether something was met that JSON, or PostgreSQL's, cannot hold: NaN or
            infinity, which are null, a NUL character or half of a surrogate pair, or what nests
            too deep, which is its text.
    """

    def __init__(self) -> None:
        """Begin with nothing replaced."""
        self.replaced = False

    def __call__(self, value: Any, depth: int = 0) -> Any:
        """Return *value* in dicts, lists, text, finite numbers, truth values and `None`."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self(value.value, depth)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            short = value.bit_length() <= _LONGEST_NUMBER
            return int(value) if short else self._instead(hex(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else self._instead(None)
        if depth >= DEEPEST:
            return self._instead(self._text(f"{type(value).__name__}, nested too deep"))
        return self._made_of_parts(value, depth + 1)

    def _made_of_parts(self, value: Any, depth: int) -> Any:
        if isinstance(value, BaseModel):
            # Not mode="json", which fails on bytes that are no text.
            value = value.model_dump(exclude_none=True)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        elif callable(getattr(value, "tolist", None)):  # Arrays, and numbers, of numpy and others.
            return self(value.tolist(), depth)
        if isinstance(value, Mapping):
            return {self._key(key): self(item, depth) for key, item in value.items()}
        if isinstance(value, list | tuple | Set):
            return self._list(value, depth)
        return self._text(_written(value))

    def _list(self, values: Iterable[Any], depth: int) -> list[Any]:
        return [self(each, depth) for each in values]

    def _key(self, key: Any) -> str:
        return self._text(key if isinstance(key, str) else _written(key))

    def _text(self, text: str) -> str:
        """Return *text* without NUL, and without halves of surrogate pairs."""
        clean = text.replace("\0", _REPLACEMENT)
        if not clean.isascii():
            clean = clean.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return clean if clean == text else self._instead(clean)

    def _instead(self, value: Any) -> Any:
        self.replaced = True
        return value


def _written(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, date | time) else str(value)
