"""What requests ask for: fields of queries and forms, of which a blank one is not given."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from langgraph_sessions import checks

LONGEST_FORM: Final = 65536  # Bytes.
CHOICES: Final = {"": None, "yes": True, "no": False}


def given(fields: Mapping[str, str], name: str) -> str | None:
    """Return a field; `None` where it is missing or blank."""
    value = fields.get(name, "")
    return value if value.strip() else None


def needed(fields: Mapping[str, str], name: str) -> str:
    """Return a field.

    Raises:
        ValueError: It is missing or blank.
    """
    value = given(fields, name)
    if value is None:
        raise ValueError(f"{name} must be given")
    return value


def choice(fields: Mapping[str, str], name: str) -> bool | None:
    """Return a field that says yes or no; `None` where it is missing.

    Raises:
        ValueError: It says something else.
    """
    value = fields.get(name, "")
    if value not in CHOICES:
        raise ValueError(f"{name} must be yes or no")
    return CHOICES[value]


def number(fields: Mapping[str, str], name: str) -> int | None:
    """Return a field that is a number from 0; `None` where it is missing.

    Raises:
        ValueError: It is none.
    """
    value = given(fields, name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise ValueError(f"{name} must be a whole number")
    return int(value)


def moment(fields: Mapping[str, str], name: str) -> datetime | None:
    """Return a field that is a time; `None` where it is missing.

    Raises:
        ValueError: It is none, or has no zone.
    """
    value = given(fields, name)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{name} must be a time, as in an address of this server") from None
    return checks.moment(name, found)


async def form(request: Request) -> dict[str, str]:
    """Return the fields of a form. Starlette's own needs another package, python-multipart.

    Raises:
        ValueError: It is longer than `LONGEST_FORM`, or is none.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_FORM:
            raise ValueError(f"a form must have at most {LONGEST_FORM} bytes")
    return dict(parse_qsl(body.decode(), keep_blank_values=True))
