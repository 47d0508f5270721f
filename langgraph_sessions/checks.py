"""Checks of what callers pass: each names the argument and says what is allowed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast
from uuid import UUID

from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions.errors import quoted

ID_LENGTH: Final = 255
ADDRESS_LENGTH: Final = 4096  # Of threads of nobody's, and of namespaces: LangGraph's to choose.
TITLE_LENGTH: Final = 255
PAGE_LIMIT: Final = 1000
METADATA_DEPTH: Final = 32
METADATA_SIZE: Final = 64 * 1024  # Bytes of JSON, as PostgreSQL writes it.
LONGEST_WAIT: Final = 1_000_000  # Seconds; PostgreSQL counts in milliseconds, up to 2**31.
LONGEST_AGE: Final = timedelta(days=36500)
UserId = str | int | UUID
ThreadId = str | int | UUID


class Everybody(Enum):
    """What stands for a user id that is left out: everybody's sessions are meant."""

    EVERYBODY = "everybody"

    def __repr__(self) -> str:
        """Return what signatures show."""
        return self.name


EVERYBODY: Final = Everybody.EVERYBODY


def text(name: str, value: object, length: int = ID_LENGTH) -> str:
    """Return *value* if it is text that the database can hold.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It is blank, longer than *length* characters, or holds NUL or a lone surrogate.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{name} must not be empty or blank")
    if len(value) > length:
        raise ValueError(f"{name} must have at most {length} characters, not {len(value)}")
    if "\0" in value:
        raise ValueError(f"{name} must not contain NUL characters")
    if not _encodes(value):
        raise ValueError(f"{name} must be valid Unicode, without lone surrogates")
    return str.__str__(value)  # Of an Enum, its value.


def user_id(value: object, name: str = "user_id") -> str:
    """Return *value* as a user id: a non-empty `str`, or an `int` or `UUID` as its `str`.

    Raises:
        TypeError: It is something else; `None` too: not signed in is not nobody.
        ValueError: As in `text`.
    """
    return _identifier(name, value)


def thread_id(value: object, name: str = "thread_id") -> str:
    """Return *value* as a thread id: what a user id may be. Raises as `user_id`."""
    return _identifier(name, value)


def _identifier(name: str, value: object, length: int = ID_LENGTH) -> str:
    if isinstance(value, UUID):
        value = str(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > 1000:
            raise ValueError(f"{name} must have at most {length} characters")
        value = int.__repr__(value)  # Of an Enum, its value.
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a non-empty str, int or UUID, not {_shown(value)}")
    return text(name, value, length)


def address(name: str, value: object) -> str:
    """Return *value* as what a plain LangGraph thread, or a part of it, may be called.

    That is text of up to 4,096 characters, or an `int` or `UUID` as its `str`; it may be blank.

    Raises:
        TypeError: It is something else.
        ValueError: It is longer, or holds NUL or a lone surrogate.
    """
    if isinstance(value, str) and not value.strip():
        value = str.__str__(value)
        return value if len(value) <= ADDRESS_LENGTH and "\0" not in value else text(name, value)
    return _identifier(name, value, ADDRESS_LENGTH)


def plain_thread_id(value: object) -> str | None:
    """Return *value* as the thread id of a run without a user, or `None` if it is that.

    It may be blank, or long, as LangGraph's may. Raises as `user_id` for another type, and text
    that is none.
    """
    if value is None or isinstance(value, int | UUID):
        return None if value is None else thread_id(value)
    return unicode("thread_id", value)


def unicode(name: str, value: object) -> str:
    """Return *value* if it is text of any length that the database can hold.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It holds NUL or a lone surrogate.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {_shown(value)}")
    if "\0" in value or not _encodes(value):
        raise ValueError(f"{name} must not contain NUL characters or lone surrogates")
    return value


def agent(value: object) -> str | None:
    """Return *value* as the name of an agent, or `None` if it is that. Raises as `text`."""
    return None if value is None else text("agent", value)


def title(value: object, name: str = "title") -> str:
    """Return *value* as a title of 1 to 255 characters.

    Raises:
        TypeError: It is not a `str`.
        ValueError: As in `text`.
    """
    return text(name, value, TITLE_LENGTH)


def boolean(name: str, value: object) -> bool:
    """Return *value* if it is a `bool`; else raise `TypeError`."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {_shown(value)}")
    return value


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return *value* if it is one of *allowed*.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It is another one.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {_shown(value)}")
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {quoted(value)}")
    return value


def number(name: str, value: object, least: int, most: int = 2**31 - 1) -> int:
    """Return *value* if it is a number from *least* to *most*.

    Raises:
        TypeError: It is not an `int`.
        ValueError: It is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {_shown(value)}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}")
    return value


def limit(value: object, name: str = "limit") -> int:
    """Return *value* if it is a number of rows from 1 to 1000. Raises as `number`."""
    return number(name, value, 1, PAGE_LIMIT)


def seconds(name: str, value: object, most: float = math.inf) -> float:
    """Return *value* if it is a number of seconds, from 0 to *most*.

    Raises:
        TypeError: It is not an `int` or `float`.
        ValueError: It is out of range or not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {_shown(value)}")
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or more seconds, not {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most:g} seconds, not {value}")
    return float(value)


def function(name: str, value: object) -> None:
    """Raise `TypeError` unless *value* can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {_shown(value)}")


def optional_boolean(name: str, value: object) -> bool | None:
    """Return *value* if it is a `bool` or `None`; else raise `TypeError`."""
    return None if value is None else boolean(name, value)


def optional_function(name: str, value: object) -> None:
    """Raise `TypeError` unless *value* can be called or is `None`."""
    if value is not None:
        function(name, value)


def serde(value: object) -> SerializerProtocol | None:
    """Return *value* if it is a serializer for LangGraph, or `None`; else raise `TypeError`.

    LangGraph also takes older ones, with `dumps` and `loads` alone.
    """
    # A class has the methods, too, but they want an instance.
    for names in (("dumps_typed", "loads_typed"), ("dumps", "loads")):
        is_one = all(callable(getattr(value, name, None)) for name in names)
        if value is None or (is_one and not isinstance(value, type)):
            return cast(SerializerProtocol | None, value)
    raise TypeError(
        "serde must be a serializer with dumps_typed and loads_typed, or None, "
        f"not {'a class' if isinstance(value, type) else _shown(value)}"
    )


def path(value: object) -> str | os.PathLike[str]:
    """Return *value* if it can name a folder.

    Raises:
        TypeError: It is neither a `str` nor a `Path`.
        ValueError: It is empty or holds NUL or line breaks, which `initdb` cannot take.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"path must be a str or Path, not {_shown(value)}")
    if not os.fspath(value) or set(str(value)) & set("\0\n\r"):
        raise ValueError("path must name a folder, without NUL or line breaks")
    return value


def moment(name: str, value: object) -> datetime:
    """Return *value* if it is an aware `datetime`.

    Raises:
        TypeError: It is not a `datetime`.
        ValueError: It has no time zone.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be a datetime, not {_shown(value)}")
    if value.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime (with a time zone)")
    return value


def metadata(value: object, name: str = "metadata", size: float = METADATA_SIZE) -> dict[str, Any]:
    """Return a JSON copy of *value*, a dict with `str` keys.

    Raises:
        TypeError: It is not a dict, has a key that is no `str`, or holds what JSON has no word for.
        ValueError: It nests deeper than 32, takes more than *size* bytes as JSON, holds NaN or
            infinity, NUL or a lone surrogate.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict, not {_shown(value)}")
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
                    raise TypeError(f"{self._at(path)} must have str keys, not {_shown(key)}")
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
                f"not {_shown(value)}"
            )

    def _text(self, value: str, path: tuple[object, ...]) -> None:
        self._take(len(value))  # At the least: before it is looked at.
        if "\0" in value or not _encodes(value):
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


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    return "None" if value is None else type(value).__name__
