"""Pages, drawn by templates that show everything literally."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from langgraph_sessions.tables import ago, clock, display, local
from langgraph_sessions.web.views import Moved, View, address

FOLDER: Final = Path(__file__).parent


def exact(moment: datetime) -> str:
    """Return a moment to the second, with how far this machine's clock is from UTC."""
    return display(local(moment))


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
