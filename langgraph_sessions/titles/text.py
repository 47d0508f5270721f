"""A title's text, whatever it is made from."""

from __future__ import annotations

import unicodedata
from typing import Final

LENGTH: Final = 80

# What makes the text after it run the other way, in whatever list the title stands: it could
# dress up as another.
BIDI_CONTROLS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def shorten(text: str) -> str:
    """Fold white space and cut *text* at a word to at most 80 characters; '' if none shows."""
    folded = " ".join("".join(filter(_is_printable, text)).split())
    if not any(unicodedata.category(character)[0] not in "CZ" for character in folded):
        return ""
    if len(folded) <= LENGTH:
        return folded
    head, space, _ = folded[: LENGTH + 1].rpartition(" ")
    return head if space else folded[:LENGTH]


def _is_printable(character: str) -> bool:
    if character.isspace():
        return True
    return character not in BIDI_CONTROLS and unicodedata.category(character) not in ("Cc", "Cs")
