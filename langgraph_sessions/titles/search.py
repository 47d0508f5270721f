"""Search in titles, blind to case in whatever language, and whatever the database's locale.

PostgreSQL folds case by the locale of a database, and in the locale `C` that of ASCII alone. So
the cases of each character are written out here, by Unicode's rules, as a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

# The blocks of 4,096 in which characters have cases.
_CASED: Final = (0x0, 0x1, 0x2, 0xA, 0xF, 0x10, 0x11, 0x16, 0x1E)
# Turkish has two letters where others have one. Which one is meant depends on the language, which
# nobody knows here: all are found by each, and a dot above one, which lowering İ leaves, counts
# for nothing.
_TURKISH: Final = {"İ": "i", "\u0131": "i"}
_DOT: Final = "\u0307"
_LONGEST: Final = 3  # What a character folds to, such as ﬃ to ffi.
_WIDEST: Final = 12  # For how long characters that fold to several may follow each other.


def pattern(text: str) -> str:
    """Return the regular expression that finds *text* in a title, in any case."""
    folded, typed = _folded(text)
    return "".join(_any_case(folded, typed, *part) for part in _parts(folded))


def _folded(text: str) -> tuple[str, dict[tuple[int, int], str]]:
    """Return what *text* folds to, and which characters beyond ASCII were typed where in that.

    These are looked for as they are, too: a database of another encoding than UTF-8 knows no
    escapes of them.
    """
    folded, typed = "", {}
    for character in text:
        if character == _DOT and folded.endswith("i"):
            continue
        start, folded = len(folded), folded + _fold(character)
        if not character.isascii():
            typed[start, len(folded)] = character
    return folded, typed


def _parts(folded: str) -> Iterator[tuple[int, int]]:
    """Give the places that characters which fold to several, such as ß to ss, do not cross.

    What is longer than any word has them is divided nevertheless.
    """
    start = end = 0
    for place in range(len(folded)):
        if place >= end or place - start == _WIDEST:
            if place > start:
                yield start, place
            start = end = place
        end = max(end, place + 1, *(b for _, b in _several(folded, place)))
    if folded:
        yield start, len(folded)


def _several(folded: str, start: int) -> Iterator[tuple[int, int]]:
    """Give the places from *start* on that one character folds to."""
    for end in range(start + 2, min(start + _LONGEST, len(folded)) + 1):
        if folded[start:end] in _cases():
            yield start, end


def _any_case(folded: str, typed: dict[tuple[int, int], str], start: int, end: int) -> str:
    """Return the expression for what folds to a part of *folded*, be it one character or several.

    It is divided in the middle, which one character may cross: so it stays short, however many
    ways there are to write *ssss*.
    """
    if start == end:
        return ""
    if end - start == 1:
        return _one(folded, typed, start, end)
    middle = (start + end) // 2
    crossing = [
        (a, b)
        for first in range(max(start, middle - _LONGEST + 1), middle)
        for a, b in _several(folded, first)
        if middle < b <= end
    ]
    ways = [
        _any_case(folded, typed, start, middle) + _any_case(folded, typed, middle, end),
        *(
            _any_case(folded, typed, start, a)
            + _one(folded, typed, a, b)
            + _any_case(folded, typed, b, end)
            for a, b in crossing
        ),
    ]
    return f"(?:{'|'.join(ways)})"


def _one(folded: str, typed: dict[tuple[int, int], str], start: int, end: int) -> str:
    """Return the expression for one character that folds to that part of *folded*."""
    part = folded[start:end]
    alone = _cases().get(part, part)
    found = "".join(map(_escaped, alone))
    if len(alone) > 1:
        found = f"[{found}]"
    if part.endswith("i"):
        found = f"{found}{_escaped(_DOT)}*"
    itself = typed.get((start, end))
    return f"(?:{re.escape(itself)}|{found})" if itself else found


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
