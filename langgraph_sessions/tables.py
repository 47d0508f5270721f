"""Values as people read them, and tables of them in HTML, as Jupyter shows them.

Tables are tidy in light and dark, and everything in them is escaped. There is no colour in them,
and no style sheet, which an untrusted notebook may not have: what is styled is styled where it
stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

# Units of relative times, and their lengths in seconds, up to where a date says more.
UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60))
LONGEST: Final = 30 * 86_400
IDS: Final = frozenset({"thread_id", "checkpoint_id", "parent_id", "run_id"})

_LEFT: Final = "text-align:left"
_WHOLE: Final = f"{_LEFT};white-space:nowrap"
# Cut where it is shown, not where it stands: it can be searched for, and copied, whole.
_CUT: Final = "max-width:13em;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"


def table(rows: Sequence[Any], columns: Iterable[str], of: str) -> str:
    """Return *rows*, which are called *of*, as a table of their attributes *columns*.

    What is too wide for its place is scrolled.
    """
    if not rows:
        return f"<p>No {of}.</p>"
    names = list(columns)
    numbers = [str(number) for number in range(len(rows))] if len(rows) > 1 else [""]
    head = "".join(f'<th style="{_LEFT}">{escape(name)}</th>' for name in ("", *names))
    body = "".join(
        f"<tr><th>{number}</th>{''.join(_cell(name, getattr(row, name)) for name in names)}</tr>"
        for number, row in zip(numbers, rows, strict=True)
    )
    return (
        '<div style="overflow-x:auto">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(name: str, value: object) -> str:
    """Return a cell: a title that is cut, an id that is whole, a time that is relative."""
    text = escape(display(value))
    if name == "title":  # It may run the other way; not so what stands beside it.
        inner = f'<div dir="auto" style="{_CUT}" title="{text}">{text}</div>'
    elif isinstance(value, datetime):
        inner = f'<time datetime="{value.isoformat()}" title="{text}">{ago(value)}</time>'
    elif value is not None and name in IDS:  # To be copied; Jupyter would fold it.
        inner = f'<code style="{_WHOLE}">{text}</code>'
    else:
        inner = text
    return f'<td style="{_WHOLE}">{inner}</td>'


def ago(moment: datetime, now: datetime | None = None) -> str:
    """Return how long ago *moment* was, as people say it; a date, if that is over 30 days."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if abs(seconds) > LONGEST:
        return moment.date().isoformat()
    for unit, length in UNITS:
        if number := int(abs(seconds) // length):
            told = f"{number} {unit}{'' if number == 1 else 's'}"
            return f"{told} ago" if seconds > 0 else f"in {told}"
    return "just now"


def local(moment: datetime) -> datetime:
    """Return *moment* in this machine's zone; at the ends of what there can be, as it is."""
    try:
        return moment.astimezone()
    except (OverflowError, ValueError, OSError):
        return moment


def clock(moment: datetime) -> str:
    """Return *moment* to the second, as the clock of this machine shows it."""
    return local(moment).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def display(value: object) -> str:
    """Return *value* as people read it: times to the second, truth as yes or no, `None` as ''."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
