"""The session that somebody names on the command line."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from langgraph_sessions.cli.common import WRONG_INPUT, quoted
from langgraph_sessions.cli.tables import sessions_list, width
from langgraph_sessions.models import Session

if TYPE_CHECKING:
    from langgraph_sessions.sessions.manager import AgentSessionManager

FEW: Final = 20


def session_named(manager: AgentSessionManager, thread: str, user: str | None) -> Session:
    """Return the session that *thread* names, of *user* if given.

    Raises:
        click.ClickException: There is none.
        click.exceptions.Exit: There are several, which are listed on standard error.
    """
    from langgraph_sessions.sessions.naming import named

    # The package's own: applications name a session with its user.
    found = manager._database.run(named(thread, user, manager.agent, FEW + 1))
    if not found:
        raise click.ClickException(_none(thread, user))
    if len(found) == 1:
        return found[0]
    how_many = str(len(found)) if len(found) <= FEW else f"more than {FEW}"
    click.echo(f"Error: {how_many} thread ids begin with {quoted(thread)}:", err=True)
    click.echo(sessions_list(found[:FEW], database_now(manager), width(sys.stderr)), err=True)
    raise click.exceptions.Exit(WRONG_INPUT)


def _none(thread: str, user: str | None) -> str:
    from langgraph_sessions.sessions.naming import is_number

    of = "" if user is None else f" of {user}"
    if is_number(thread):
        return f"no session{of} has the number, or the thread id, {thread}"
    return f"no session{of} has a thread id that is, or begins with, {quoted(thread)}"


def database_now(manager: AgentSessionManager) -> datetime:
    """Return the time by the clock that wrote the sessions' times."""
    from langgraph_sessions.sessions.naming import now

    return manager._database.run(now())
