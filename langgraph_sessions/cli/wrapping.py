"""Text that comes in pieces, printed in lines that end at blanks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console
from wcwidth import iter_graphemes

from langgraph_sessions.cli.tables import cells

# Han, Kana and their full-width signs: scripts without blanks, in which a line may end after any
# character, but before none of these signs that close something. (Korean has blanks.)
_HAN: Final = (
    r"\u2e80-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff60\U00020000-\U0003ffff"
)
_CLOSING: Final = (
    r"\u3001\u3002\u3009\u300b\u300d\u300f\u3011\u30fc\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f"
)
_UNIT: Final = re.compile(rf"\n|[^\S\n]+|[{_HAN}][{_CLOSING}]*|[^\s{_HAN}]+")


class Wrapping:
    """Prints text piece by piece; a word that does not fit a line begins the next one.

    A word is printed once its end is known. One that is longer than a line is broken, at
    the end of a character as people see one.
    """

    def __init__(self, out: Callable[[str], None], width: int | None, indent: str = "") -> None:
        """Print by *out*, in lines of *width* columns, the first of which stands already.

        Args:
            out: Prints a text as it is.
            width: How many columns a line has; `None`: nothing is wrapped, as in a pipe.
            indent: What all lines but the first begin with.
        """
        self._out = out
        self._width = width
        self._indent = indent
        self._column = 0
        self._blank = ""  # Between the last word and the next: printed if that fits the line.
        self._held = ""  # The last word, of which more may come.

    def write(self, piece: str) -> None:
        """Print *piece* but for its last word."""
        if self._width is None:
            self._out(piece.replace("\n", f"\n{self._indent}"))
            return
        *whole, self._held = _UNIT.findall(self._held + piece) or [""]
        for unit in whole:
            self._place(unit)

    def close(self) -> None:
        """Print what is left, and end the line."""
        self._place(self._held)
        self._held = ""
        self._out("\n")

    def _place(self, unit: str) -> None:
        if unit == "\n":
            self._end_line()
        elif unit.isspace():
            self._blank += unit.replace("\t", "    ")
        elif unit:
            self._place_word(unit)

    def _place_word(self, word: str) -> None:
        assert self._width is not None
        if self._column and self._column + cells(self._blank + word) > self._width:
            self._end_line()
        for part in _parts(self._blank + word, self._width - len(self._indent)):
            if self._column and self._column + cells(part) > self._width:
                self._end_line()
            self._out(part)
            self._column += cells(part)
        self._blank = ""

    def _end_line(self) -> None:
        self._out(f"\n{self._indent}")
        self._column, self._blank = len(self._indent), ""


def to_console(console: Console, indent: str = "") -> Wrapping:
    """Return what prints to *console*, and wraps where that is a terminal."""

    def out(text: str) -> None:
        # Not print(), which knows nothing of what stands in the line already.
        console.out(text, end="", highlight=False)

    return Wrapping(out, console.width if console.is_terminal else None, indent)


def _parts(word: str, width: int) -> Iterator[str]:
    """Yield *word* in parts that fit a line of *width* columns: whole, where it fits."""
    part = ""
    for grapheme in iter_graphemes(word):
        if part and cells(part + grapheme) > width:
            yield part
            part = ""
        part += grapheme
    yield part
