"""Pages, drawn by templates that show everything literally."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from langgraph_sessions.tables import display
from langgraph_sessions.web.views import Moved, View, address

FOLDER: Final = Path(__file__).parent
# Up to how many seconds it is so many of which unit; beyond, the day is told.
UNITS: Final = (
    (60, 1, "second"),
    (3600, 60, "minute"),
    (86400, 3600, "hour"),
    (7 * 86400, 86400, "day"),
)


def ago(moment: datetime) -> str:
    """Return a moment as people say it: how long ago, or, past a week, which day."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if -60 < seconds < 10:
        return "just now"
    for up_to, unit, name in UNITS:
        if 0 < seconds < up_to:
            count = int(seconds // unit)
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return f"{_local(moment):%Y-%m-%d}"


def clock(moment: datetime) -> str:
    """Return a moment to the second, as the clock of this machine shows it."""
    return f"{_local(moment):%Y-%m-%d %H:%M:%S}"


def exact(moment: datetime) -> str:
    """Return a moment to the second, with how far this machine's clock is from UTC."""
    return display(_local(moment))


def _local(moment: datetime) -> datetime:
    try:
        return moment.astimezone()
    except (OverflowError, ValueError, OSError):  # At the ends of what there can be.
        return moment


def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"ago": ago, "clock": clock, "exact": exact}
    found.globals["address"] = address
    return found


_templates: Final = _environment()


def draw(answer: View | Moved, surroundings: Mapping[str, Any] | None = None) -> Response:
    """Return *answer*; *surroundings* is what all pages show of the database.

    Without them, as for who is not let in, nothing of it is shown.
    """
    if isinstance(answer, Moved):
        return RedirectResponse(answer.address, status_code=303)
    template = _templates.get_template(f"{answer.template}.html")
    shown = {"place": None, "refresh": None, **(surroundings or {}), **answer.context}
    return HTMLResponse(template.render(shown), status_code=answer.status)
