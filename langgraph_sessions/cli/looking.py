"""`sessions list`, `show` and `checkpoints`: what operators look at."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from langgraph_sessions import checks
from langgraph_sessions.cli.common import (
    active_option,
    agent_option,
    json_option,
    thread_argument,
    title_option,
    user_option,
    with_manager,
)
from langgraph_sessions.cli.group import sessions
from langgraph_sessions.cli.naming import database_now, session_named
from langgraph_sessions.cli.tables import checkpoints_list, sessions_list, width
from langgraph_sessions.cli.transcripts import markdown, message_text, session_text
from langgraph_sessions.models import FIELDS, STATUSES, CheckpointInfo, Session, SessionPage

if TYPE_CHECKING:
    from langgraph_sessions.sessions.manager import AgentSessionManager


@sessions.command("list")
@user_option()
@agent_option(help="Only this agent's.")
@active_option
@title_option(help="Only those whose title contains this, in any case.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those.")
@click.option("--limit", type=click.IntRange(1, checks.PAGE_LIMIT), default=20, show_default=True)
@click.option("--cursor", help="Go on where the page before ended; give the same filters.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for spreadsheets.")
@json_option
@with_manager()
def list_sessions(
    manager: AgentSessionManager, user: str | None, as_csv: bool, as_json: bool, **filters: Any
) -> None:
    """List sessions, those used last first.

    The number of a session stays the same, and names it in the other commands.
    """
    if as_csv and as_json:
        raise click.UsageError("give either --csv or --json")
    page = manager.list_sessions(checks.EVERYBODY if user is None else user, **filters)
    if as_json:
        listed = [dict(session) for session in page]
        click.echo(json.dumps({"sessions": listed, "next_cursor": page.next_cursor}))
    elif as_csv:
        _print_csv(page.sessions)
    else:
        _print_list(manager, page)
    if page.next_cursor and not as_json:
        click.echo(f"More: --cursor {page.next_cursor}", err=True)


def _print_csv(listed: Sequence[Session]) -> None:
    """Print a line for each session, with what is a list or an object as JSON."""
    import csv

    from langgraph_sessions.cli.terminal import literal

    file = csv.writer(sys.stdout, lineterminator="\n")
    file.writerow(FIELDS)
    for session in listed:
        file.writerow(
            json.dumps(value) if isinstance(value, list | dict | bool)
            else "" if value is None else literal(str(value))
            for value in session.values()
        )  # fmt: skip


def _print_list(manager: AgentSessionManager, page: SessionPage) -> None:
    if page.sessions:
        click.echo(sessions_list(page.sessions, database_now(manager), width()))
    else:
        click.echo("No sessions.")


@sessions.command()
@thread_argument
@user_option()
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown, for documents.")
@json_option
@with_manager()
def show(
    manager: AgentSessionManager, thread: str, user: str | None, as_markdown: bool, as_json: bool
) -> None:
    """Show a session and what was said in it."""
    if as_markdown and as_json:
        raise click.UsageError("give either --markdown or --json")
    from langgraph_sessions.sessions.reading import record

    session = session_named(manager, thread, user)
    messages = manager.get_messages(session.user_id, session.thread_id)
    said = [record(session.thread_id, message) for message in messages]
    if as_json:
        click.echo(json.dumps({"session": dict(session), "messages": said}))
    elif as_markdown:
        click.echo(markdown(session, said))
    else:
        click.echo("\n\n".join([session_text(session), *map(message_text, said)]))


@sessions.command()
@thread_argument
@user_option()
@click.option("--limit", type=click.IntRange(1, checks.PAGE_LIMIT), default=20, show_default=True)
@click.option("--before", metavar="ID", help="Only those before this checkpoint.")
@json_option
@with_manager()
def checkpoints(
    manager: AgentSessionManager,
    thread: str,
    user: str | None,
    limit: int,
    before: str | None,
    as_json: bool,
) -> None:
    """List a session's checkpoints, newest first: where it can be forked."""
    session = session_named(manager, thread, user)
    found = manager.list_checkpoints(session.user_id, session.thread_id, limit=limit, before=before)
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in found]))
    elif found:
        click.echo(checkpoints_list(found))
    else:
        click.echo("No checkpoints.")
    if len(found) == limit and not as_json:
        click.echo(f"Perhaps more: --before {found[-1].checkpoint_id}", err=True)


def _as_json(checkpoint: CheckpointInfo) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(checkpoint), "created_at": checkpoint.created_at.isoformat()}
