"""What the commands print, with everything a user wrote shown literally."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from langgraph_sessions.doctor.findings import Finding
from langgraph_sessions.models import Session
from langgraph_sessions.tables import clock, display
from langgraph_sessions.titles.text import BIDI_CONTROLS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NARROW: Final = 60  # Cells.
DATE: Final = len("2026-12-31")
# Control characters, lone surrogates, and what ends a line or a paragraph.
OBEYED_CATEGORIES: Final = ("Cc", "Cs", "Zl", "Zp")


def new_console() -> Console:
    """Return a console on standard output that interprets nothing in what it prints."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def literal(text: str, keep: str = "") -> str:
    r"""Return *text* with what a terminal would obey, not show, as escapes such as `\x1b`.

    The characters in *keep* stay as they are.
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if character not in keep and _is_obeyed(character)
        else character
        for character in text
    )


def _is_obeyed(character: str) -> bool:
    return unicodedata.category(character) in OBEYED_CATEGORIES or character in BIDI_CONTROLS


def one_line(text: str) -> str:
    """Return *text* literally, on one line."""
    return literal(" ".join(text.split()))


def session_table(
    sessions: Sequence[Session], header: str, cells: Iterable[str], width: int
) -> Table:
    """Return a table of *sessions* whose first column is *header* over *cells*.

    Where the *width* is less than `NARROW`, it has no frame, and a time takes two lines: the titles
    need the room.
    """
    from rich.table import Table

    is_narrow = width < NARROW
    table = Table(box=None, padding=(0, 1, 0, 0)) if is_narrow else Table()
    table.add_column(header, no_wrap=True)
    table.add_column("Title", overflow="fold")
    table.add_column("Active", no_wrap=True)
    table.add_column("Last used", no_wrap=not is_narrow, width=DATE if is_narrow else None)
    for session, cell in zip(sessions, cells, strict=True):
        shown = (literal(cell), literal(session.title), display(session.is_active))
        table.add_row(*shown, clock(session.updated_at))
    return table


def finding_text(finding: Finding) -> str:
    """Return what the doctor found and how to mend it, a line for each."""
    kind = "Problem" if finding.is_problem else "Note"
    some = ", ".join([*finding.which, *(["…"] if finding.count > len(finding.which) else [])])
    how_many = f" ({finding.count}: {some})" if finding.which else ""
    found = one_line(f"{kind}: {finding.what}{how_many}")
    return f"{found}\n    mend: {one_line(finding.mend)}"


def where(database: str | None) -> str:
    """Say which database a command uses, without its password."""
    from langgraph_sessions.database.source import leads_to
    from langgraph_sessions.embedded.server import DEFAULT_PATH

    if database is None:
        return f"the embedded PostgreSQL, in {DEFAULT_PATH}/ of this folder"
    return one_line(leads_to(database))
