"""Checks of what callers pass: each names the argument and says what is allowed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeGuard, cast
from uuid import UUID

from langgraph_sessions.errors import quoted

if TYPE_CHECKING:  # For commands that only tell.
    from langgraph.checkpoint.serde.base import SerializerProtocol

ID_LENGTH: Final = 255
ADDRESS_LENGTH: Final = 4096  # Of threads of nobody's, and of namespaces: LangGraph's to choose.
TITLE_LENGTH: Final = 255
PAGE_LIMIT: Final = 1000
PARTITION_LIMIT: Final = 1024
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
    if not encodes(value):
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
    if is_plain(value):
        return value
    if isinstance(value, UUID):
        value = str(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > 1000:
            raise ValueError(f"{name} must have at most {length} characters")
        value = int.__repr__(value)  # Of an Enum, its value.
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a non-empty str, int or UUID, not {shown(value)}")
    return text(name, value, length)


def is_plain(value: object) -> TypeGuard[str]:
    """Say, fast, whether it is an id like most: printable ASCII, not long, and not blank."""
    if type(value) is not str or len(value) > ID_LENGTH:
        return False
    return value.isascii() and value.isprintable() and not value.isspace() and value != ""


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
        raise TypeError(f"{name} must be a str, not {shown(value)}")
    if "\0" in value or not encodes(value):
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
        raise TypeError(f"{name} must be a bool, not {shown(value)}")
    return value


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """Return *value* if it is one of *allowed*.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It is another one.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {shown(value)}")
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
        raise TypeError(f"{name} must be an int, not {shown(value)}")
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
        raise TypeError(f"{name} must be a number of seconds, not {shown(value)}")
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or more seconds, not {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most:g} seconds, not {value}")
    return float(value)


def function(name: str, value: object) -> None:
    """Raise `TypeError` unless *value* can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {shown(value)}")


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
            return cast("SerializerProtocol | None", value)
    raise TypeError(
        "serde must be a serializer with dumps_typed and loads_typed, or None, "
        f"not {'a class' if isinstance(value, type) else shown(value)}"
    )


def path(value: object) -> str | os.PathLike[str]:
    """Return *value* if it can name a folder.

    Raises:
        TypeError: It is neither a `str` nor a `Path`.
        ValueError: It is empty or holds NUL or line breaks, which `initdb` cannot take.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"path must be a str or Path, not {shown(value)}")
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
        raise TypeError(f"{name} must be a datetime, not {shown(value)}")
    if value.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime (with a time zone)")
    return value


def encodes(value: str) -> bool:
    """Say whether *value* is valid Unicode."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """Return what an error calls a value of the wrong type."""
    return "None" if value is None else type(value).__name__
