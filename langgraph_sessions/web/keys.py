"""What tells the person at this page from everybody else: secrets, made at each start."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field


def _new() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, repr=False)
class Keys:
    """The secrets of one start of the server.

    Attributes:
        token: Is in the address that is printed, and is exchanged for the cookie.
        cookie: The cookie's value, which no script and no other site's page sends.
        form: Is in each form that changes something.
    """

    token: str = field(default_factory=_new)
    cookie: str = field(default_factory=_new)
    form: str = field(default_factory=_new)


def fits(given: str | None, key: str) -> bool:
    """Say whether *given* is *key*, in a time that does not tell how much of it is right."""
    return secrets.compare_digest((given or "").encode("utf-8", "replace"), key.encode())
