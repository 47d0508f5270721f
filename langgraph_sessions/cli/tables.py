"""Lists in columns, in which no id is ever cut or folded: where it is too narrow, in blocks.

All is measured in the cells of a terminal, of which a Chinese character and an emoji take two.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, TextIO

from langgraph_sessions.cli.terminal import literal, one_line
from langgraph_sessions.models import CheckpointInfo, Session
from langgraph_sessions.tables import clock, local

GAP: Final = "  "
TITLE_LEAST: Final = 24  # Cells: with less of it, a title says nothing.
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))
UNITS: Final = (
    ("s", SECOND, MINUTE),
    ("min", MINUTE, HOUR),
    ("h", HOUR, DAY),
    ("d", DAY, 60 * DAY),
)


def width(stream: TextIO | None = None) -> int | None:
    """Return how wide *stream* is, by default standard output; `None`: it is no terminal."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def sessions_list(sessions: Sequence[Session], now: datetime, width: int | None) -> str:
    """Return a line for each session, or a block of three where their ids leave no room.

    Without a *width*, nothing is cut.
    """
    with_agents = any(session.agent for session in sessions)
    rows = []
    for session in sessions:
        agent = [literal(session.agent or "")] if with_agents else []
        number, thread, user = str(session.id), session.thread_id, session.user_id
        used, title = ago(session.updated_at, now), one_line(session.title)
        rows.append([number, literal(thread), literal(user), *agent, _status(session), used, title])
    header = ["#", "Thread", "User", *(["Agent"] if with_agents else []), "Status", "Used", "Title"]
    if width is None or _natural(rows, header) + TITLE_LEAST <= width:
        return "\n".join(_columns([header, *rows], width))
    return "\n".join(_block(row, width) for row in rows)


def checkpoints_list(checkpoints: Sequence[CheckpointInfo]) -> str:
    """Return a line for each checkpoint; its id stands last, so that it may run over the edge."""
    rows = [
        [
            "" if each.step is None else str(each.step),
            literal(str(each.source)),
            clock(each.created_at),
            literal(each.checkpoint_id),
        ]
        for each in checkpoints
    ]
    return "\n".join(_columns([["Step", "Source", "Saved", "Checkpoint"], *rows], None))


def _status(session: Session) -> str:
    """Return what it waits for, and whether it was ended."""
    return f"{session.status}{'' if session.is_active else ', ended'}"


def _block(row: Sequence[str], width: int) -> str:
    """Return a session on three lines: what it is, its title, and its id by itself."""
    number, thread, *about, title = row
    told = GAP.join(filter(None, [f"#{number}", *about]))
    return f"{told}\n    {cut(title, width - 4)}\n    {thread}"


def _natural(rows: Sequence[Sequence[str]], header: Sequence[str]) -> int:
    """Return how many cells all columns but the last take, with a gap after each."""
    return sum(
        max(map(cells, column)) + len(GAP) for column in [*zip(header, *rows, strict=True)][:-1]
    )


def _columns(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return *rows* in columns; the last one is cut, where there is a width."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)][:-1]
    taken = sum(widths) + len(widths) * len(GAP)
    lines = []
    for *row, last in rows:
        padded = (text + " " * (size - cells(text)) for text, size in zip(row, widths, strict=True))
        shown = last if width is None else cut(last, width - taken)
        lines.append(GAP.join([*padded, shown]).rstrip())
    return lines


def cut(text: str, width: int) -> str:
    """Return *text* in at most *width* cells, cut before a character as people see one."""
    if cells(text) <= width:
        return text
    from wcwidth import iter_graphemes

    kept, taken = "", 1
    for grapheme in iter_graphemes(text):
        taken += cells(grapheme)
        if taken > width:
            break
        kept += grapheme
    return f"{kept.rstrip()}…"


def cells(text: str) -> int:
    """Return how many cells *text* takes; all of it shows, see `terminal.literal`."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth  # Its tables are large.

    return max(wcswidth(text), 0)


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago that was; what is far away, or to come, as a day."""
    passed = now - then
    for unit, size, limit in UNITS:
        if -MINUTE < passed < limit:
            return f"{max(passed // size, 0)} {unit} ago"
    return local(then).date().isoformat()
