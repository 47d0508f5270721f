"""`sessions delete` and `purge`.

Nothing is deleted unasked: a command that deletes asks in a terminal, and elsewhere wants
`--yes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from langgraph_sessions import checks
from langgraph_sessions.cli.common import (
    active_option,
    agent_option,
    duration_option,
    json_option,
    one_or_all,
    thread_or_all,
    user_option,
    with_manager,
    yes_option,
)
from langgraph_sessions.cli.group import sessions
from langgraph_sessions.cli.naming import session_named
from langgraph_sessions.cli.telling import agrees, counted, must_agree, progress, tell, tell_session

if TYPE_CHECKING:
    from langgraph_sessions.sessions.manager import AgentSessionManager

NOT_DONE: Final = 1


@sessions.command()
@thread_or_all
@click.option("--all", "everything", is_flag=True, help="Everything of a user: erase them.")
@user_option()
@yes_option
@json_option
@with_manager()
def delete(
    manager: AgentSessionManager,
    thread: str | None,
    everything: bool,
    user: str | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete a session, or with --all --user everything of a user."""
    one_or_all(thread, everything, user)
    must_agree(yes)
    if thread is None:
        return _erase(manager, str(user), yes, as_json)
    session = session_named(manager, thread, user)
    question = f'Delete "{session.title}" of {session.user_id}, with all its messages?'
    if not agrees(yes, question):
        return NOT_DONE
    manager.delete_session(session.user_id, session.thread_id)
    tell_session(session, as_json, "Deleted")
    return 0


def _erase(manager: AgentSessionManager, user: str, yes: bool, as_json: bool) -> int:
    count = counted(manager.count_sessions(user), "session")
    if not agrees(yes, f"Delete everything of {user}: {count}, their messages, preferences?"):
        return NOT_DONE
    counts = manager.delete_user(user)
    told = ", ".join(f"{count} {table}" for table, count in counts.items())
    tell(counts, as_json, f"Deleted everything of {user}: {told}.")
    return 0


@sessions.command()
@duration_option("--idle-for", help="Not used for this long, such as 90d.")
@duration_option("--older-than", help="Created this long ago, such as 52w.")
@click.option("--unused", is_flag=True, help="In which nothing was ever said.")
@agent_option(help="Only this agent's.")
@active_option
@click.option("--interrupted", is_flag=True, help="Also those that wait for somebody.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--batch-size", type=click.IntRange(1, checks.PAGE_LIMIT), default=100)
@yes_option
@json_option
@with_manager()
def purge(
    manager: AgentSessionManager,
    unused: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **which: Any,
) -> int:
    """Delete sessions by age, in batches.

    All the conditions given must hold.
    """
    which["unused"] = unused or None
    if all(which[name] is None for name in ("idle_for", "older_than", "active", "unused")):
        raise click.UsageError("give --idle-for, --older-than, --unused, --active or --inactive")
    if not dry_run:
        must_agree(yes)
        count = 0 if yes else _purge(manager, "Counting", dry_run=True, **which)["purged"]
        if not agrees(yes, f"Delete {counted(count, 'session')}, with all their messages?"):
            return NOT_DONE
    counts = _purge(manager, "Counting" if dry_run else "Purging", dry_run=dry_run, **which)
    done = "Would delete" if dry_run else "Deleted"
    told = f"{done} {counted(counts['purged'], 'session')}"
    kept = f"; kept {counts['kept']} in use or waiting for an answer" if counts["kept"] else ""
    tell({**counts, "dry_run": dry_run}, as_json, f"{told}{kept}.")
    return 0


def _purge(manager: AgentSessionManager, what: str, **which: Any) -> dict[str, int]:
    with progress(what) as update:
        return manager.purge_sessions(
            on_progress=lambda counts: update(counts, sum(counts.values())), **which
        )
