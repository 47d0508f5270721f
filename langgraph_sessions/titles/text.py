"""A title's text, whatever it is made from."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LENGTH: Final = 80
LOOKED_AT: Final = 2000  # Characters of a text: whoever wrote more does not set what it costs.

# What makes the text after it run the other way, in whatever list the title stands: it could
# dress up as another.
BIDI_CONTROLS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_DATA: Final = re.compile(r"data:[\w.+-]{1,100}/[^\s,]{0,200};base64,\S*")
# Letters and symbols of which nothing shows: fillers of Hangul, and the Braille cell without dots.
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def shorten(text: str) -> str:
    """Fold white space and cut *text* to at most 80 characters; '' if none of them shows.

    It is cut at a blank where that leaves more than half, else before a character as people see
    one, a grapheme, ends: scripts without blanks, combining marks, emoji. Files that stand in it
    as data URIs are no words.
    """
    words = _DATA.sub(" ", text)[:LOOKED_AT]
    folded = " ".join("".join(filter(_is_printable, words)).split())
    if not any(map(_shows, folded)):
        return ""
    if len(folded) <= LENGTH:
        return folded
    head = folded[: LENGTH + 1].rpartition(" ")[0]
    return head if len(head) > LENGTH // 2 else _graphemes(folded)


def _graphemes(text: str) -> str:
    """Return as many of the first graphemes as fit; of one that is longer, what fits."""
    from wcwidth import iter_graphemes  # Its tables are large, and few titles want them.

    end = 0
    for grapheme in iter_graphemes(text):
        if end + len(grapheme) > LENGTH:
            break
        end += len(grapheme)
    return text[: end or LENGTH].rstrip()


def _is_printable(character: str) -> bool:
    if character.isspace():
        return True
    return character not in BIDI_CONTROLS and unicodedata.category(character) not in ("Cc", "Cs")


def _shows(character: str) -> bool:
    """Say whether something of *character* shows by itself: not of marks, which stand on others."""
    return unicodedata.category(character)[0] not in "CMZ" and character not in _BLANK
