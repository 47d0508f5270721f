"""What a request is answered with, before it is drawn: a page, or another address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True)
class View:
    """A page that is to be drawn.

    Attributes:
        template: Its template's name, without `.html`.
        context: What it shows.
        status: Its HTTP status.
    """

    template: str
    context: Mapping[str, Any] = field(default_factory=dict, repr=False)
    status: int = 200


@dataclass(frozen=True)
class Moved:
    """Another address of this server to go to, after something was done.

    Attributes:
        address: A path with its query.
    """

    address: str = field(repr=False)


def address(path: str, **query: object) -> str:
    """Return *path* with a query; what is `None` or empty is left out."""
    given = {name: value for name, value in query.items() if value not in (None, "", [])}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def problem(status: int, title: str, text: str) -> View:
    """Return a page that says what is wrong."""
    return View("problem", {"title": title, "text": text}, status)
