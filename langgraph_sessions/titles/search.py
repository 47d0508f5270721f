"""Search in titles, blind to case in whatever language, and whatever the database's locale.

PostgreSQL folds case by the locale of a database, and in the locale `C` that of ASCII alone. So
the cases of each character are written out here, by Unicode's rules, as a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import takewhile
from typing import Final

# The blocks of 4,096 in which characters have cases.
_CASED: Final = (0x0, 0x1, 0x2, 0xA, 0xF, 0x10, 0x11, 0x16, 0x1E)
# Turkish has two letters where others have one. Which one is meant depends on the language, which
# nobody knows here: all are found by each, and a dot above one, which lowering İ leaves, counts
# for nothing.
_TURKISH: Final = {"İ": "i", "\u0131": "i"}
_DOT: Final = "\u0307"
_LONGEST: Final = 3  # What a character folds to, such as ﬃ to ffi.


def pattern(text: str) -> str:
    """Return the regular expression that finds *text* in a title, in any case."""
    return "".join(_parts(text))


def _parts(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        folded, length = _next(text, at)
        end = at + length
        if folded == "i":
            end += len([*takewhile(_DOT.__eq__, text[end:])])
        yield _any_case(folded, text[at:end])
        at = end


def _next(text: str, at: int) -> tuple[str, int]:
    """Return what is folded from *at* on as one, and its length: ß, ẞ, ss and SS are one."""
    first = _fold(text[at])
    if len(first) == 1:
        for length in range(_LONGEST, 1, -1):
            several = [_fold(each) for each in text[at : at + length]]
            if {*map(len, several)} == {1} and (folded := "".join(several)) in _cases():
                return folded, len(several)
    return first, 1


def _any_case(folded: str, typed: str) -> str:
    """Return the expression for what folds to *folded*, and was *typed*.

    What is beyond ASCII and was not typed is written as an escape: a database of another encoding
    than UTF-8 may have no such character, and would refuse it.
    """
    found = _folding_to(folded)
    return found if typed.isascii() else f"(?:{re.escape(typed)}|{found})"


def _folding_to(folded: str) -> str:
    alone = _cases().get(folded, "" if len(folded) > 1 else folded)
    found = "".join(map(_escaped, alone))
    if len(alone) > 1:
        found = f"[{found}]"
    if len(folded) > 1:
        return f"(?:{''.join(map(_folding_to, folded))}|{found})"
    return f"{found}{_escaped(_DOT)}*" if folded == "i" else found


def _escaped(character: str) -> str:
    return re.escape(character) if character.isascii() else f"\\U{ord(character):08x}"


def _fold(character: str) -> str:
    return _TURKISH.get(character) or character.casefold()


@cache
def _cases() -> Mapping[str, str]:
    """Return the characters that fold to each fold, where that is not one alone."""
    cases: dict[str, str] = {}
    for character in (chr(block * 0x1000 + place) for block in _CASED for place in range(0x1000)):
        if (folded := _fold(character)) != character:
            itself = folded if len(folded) == 1 else ""
            cases[folded] = cases.get(folded, itself) + character
    return cases
