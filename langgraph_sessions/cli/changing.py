"""`sessions rename`, `deactivate`, `fork`, `transfer`, `adopt` and `backfill`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from langgraph_sessions.cli.common import (
    agent_option,
    json_option,
    one_or_all,
    quoted,
    thread_argument,
    thread_option,
    thread_or_all,
    title_option,
    user_argument,
    user_option,
    with_manager,
)
from langgraph_sessions.cli.group import sessions
from langgraph_sessions.cli.naming import session_named
from langgraph_sessions.cli.telling import counted, progress, tell, tell_session

if TYPE_CHECKING:
    from langgraph_sessions.sessions.manager import AgentSessionManager


@sessions.command()
@thread_argument
@click.argument("title")
@user_option()
@json_option
@with_manager()
def rename(
    manager: AgentSessionManager, thread: str, title: str, user: str | None, as_json: bool
) -> None:
    """Give a session another title."""
    session = session_named(manager, thread, user)
    renamed = manager.update_session(session.user_id, {"title": title}, thread_id=session.thread_id)
    tell_session(renamed, as_json, "Renamed")


@sessions.command()
@thread_or_all
@click.option("--all", "everything", is_flag=True, help="All of a user's sessions.")
@user_option()
@agent_option(help="Only this agent's.")
@json_option
@with_manager()
def deactivate(
    manager: AgentSessionManager,
    thread: str | None,
    everything: bool,
    user: str | None,
    as_json: bool,
) -> None:
    """End a session, or with --all --user all of a user's."""
    one_or_all(thread, everything, user)
    if thread is None:
        count = manager.deactivate_session(str(user))
    else:
        session = session_named(manager, thread, user)
        count = manager.deactivate_session(session.user_id, thread_id=session.thread_id)
    tell({"deactivated": count}, as_json, f"Deactivated {counted(count, 'session')}.")


@sessions.command()
@thread_argument
@click.option("--checkpoint", metavar="ID", help="Copy up to this one. Default: everything.")
@title_option(help="The copy's title. Default: that of the original.")
@user_option()
@json_option
@with_manager()
def fork(
    manager: AgentSessionManager,
    thread: str,
    checkpoint: str | None,
    title: str | None,
    user: str | None,
    as_json: bool,
) -> None:
    """Copy a conversation into a new session."""
    source = session_named(manager, thread, user)
    made = manager.fork_session(
        source.user_id, source.thread_id, checkpoint_id=checkpoint, title=title
    )
    tell_session(made, as_json, "Made")


@sessions.command()
@user_argument("FROM")
@user_argument("TO")
@thread_option(help="This session alone, of those of FROM.")
@agent_option(help="Only this agent's.")
@json_option
@with_manager()
def transfer(
    manager: AgentSessionManager, to: str, thread: str | None, as_json: bool, **given: str
) -> None:
    """Move the sessions of the user FROM to the user TO, and preferences with all of them."""
    source = given["from"]
    if source == to:
        raise click.UsageError(f"FROM and TO are the same user, {quoted(to)}")
    one = None if thread is None else session_named(manager, thread, source).thread_id
    count = manager.transfer_sessions(source, to, thread_id=one)
    told = f"Moved {counted(count, 'session')} of {source} to {to}."
    tell({"transferred": count}, as_json, told)


@sessions.command()
@click.argument("thread", metavar="THREAD")
@user_option("Whose it is to be.", required=True)
@title_option(help="Default: the first human message.")
@agent_option(help="Whose the session is to be.")
@json_option
@with_manager(makes_tables=True)
def adopt(
    manager: AgentSessionManager, thread: str, user: str, title: str | None, as_json: bool
) -> None:
    """Make a session of a thread that has none; THREAD is its whole id."""
    from langgraph_sessions.errors import SessionNotFoundError

    try:
        adopted = manager.adopt_session(user, thread, title=title)
    except SessionNotFoundError:
        raise click.ClickException(_why_not(manager, thread, user)) from None
    tell_session(adopted, as_json, "Adopted")


def _why_not(manager: AgentSessionManager, thread: str, user: str) -> str:
    """Say why a thread cannot be adopted."""
    from langgraph_sessions.sessions.naming import named
    from langgraph_sessions.sessions.upkeep import thread_owner

    for session in manager._database.run(named(thread, None, None)):
        if session.thread_id == thread:
            return f"thread {quoted(thread)} is a session of {session.user_id} already"
    owner = manager._database.run(thread_owner(thread))
    if owner is None:
        return f"there is no thread {quoted(thread)}"
    return f"thread {quoted(thread)} is of {owner}, whom its checkpoints name, and not of {user}"


@sessions.command()
@agent_option(help="Whose the sessions are to be.")
@json_option
@with_manager(makes_tables=True)
def backfill(manager: AgentSessionManager, as_json: bool) -> None:
    """Adopt every thread that names its user.

    It goes by the metadata of checkpoints, and can be stopped and called again.
    """
    with progress("Adopting threads") as update:
        counts = manager.backfill(on_progress=lambda counts: update(counts, counts["seen"]))
    seen = counted(counts["seen"], "thread")
    told = f"Adopted {counts['adopted']} of {seen}; {counts['unowned']} name no user"
    skipped = f"; skipped {counts['skipped']}, each with a warning" if counts["skipped"] else ""
    tell(counts, as_json, f"{told}{skipped}.")
