"""`sessions …`: what an operator does to sessions, one command for each.

Nothing is deleted unasked: a command that deletes asks in a terminal, and elsewhere wants
`--yes`. Progress is shown on standard error, and only where that is a terminal.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from langgraph_sessions import checks
from langgraph_sessions.cli.common import (
    active_option,
    agent_option,
    agrees,
    counted,
    duration_option,
    json_option,
    must_agree,
    one_or_all,
    progress,
    replacing,
    tell,
    tell_session,
    thread_argument,
    thread_or_all,
    user_argument,
    user_option,
    with_manager,
    write_lines,
    yes_option,
)
from langgraph_sessions.cli.terminal import (
    finding_text,
    literal,
    message_text,
    new_console,
    one_line,
    operators_table,
    where,
)
from langgraph_sessions.models import STATUSES

if TYPE_CHECKING:
    from langgraph_sessions.sessions.manager import AgentSessionManager

UNHEALTHY: Final = 1
NOT_DONE: Final = 1


@click.group(invoke_without_command=True)
@click.pass_context
def sessions(context: click.Context) -> None:
    """What operators do to sessions."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


# --- Looking -------------------------------------------------------------------------------------


@sessions.command("list")
@user_option
@agent_option(help="Only this agent's.")
@active_option
@click.option("--title", help="Only those whose title contains this, in any case.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those.")
@click.option("--limit", type=click.IntRange(1, checks.PAGE_LIMIT), default=20)
@click.option("--cursor", help="Go on where the page before ended; give the same filters.")
@json_option
@with_manager()
def list_sessions(
    manager: AgentSessionManager, user: str | None, as_json: bool, **filters: Any
) -> None:
    """List sessions, those used last first."""
    page = manager.list_sessions(checks.EVERYBODY if user is None else user, **filters)
    if as_json:
        listed = [dict(session) for session in page]
        click.echo(json.dumps({"sessions": listed, "next_cursor": page.next_cursor}))
        return
    console = new_console()
    if not console.is_terminal:
        console.width = 4000  # A line for each session: in a pipe nothing is folded.
    console.print(operators_table(page.sessions) if page.sessions else "No sessions.")
    if page.next_cursor:
        console.print(f"More: --cursor {page.next_cursor}", soft_wrap=True)


@sessions.command()
@user_argument
@thread_argument
@json_option
@with_manager()
def show(manager: AgentSessionManager, user: str, thread: str, as_json: bool) -> None:
    """Show a session and what was said in it."""
    from langgraph_sessions.sessions.reading import record

    session = manager.get_session(user, thread)
    # The package's own: a public one would need the user's right checked, as was just done, and
    # applications have their graph's `get_state`, which knows its channels.
    messages = manager._database.run(manager._messages(thread))
    said = [record(thread, message) for message in messages]
    if as_json:
        click.echo(json.dumps({"session": dict(session), "messages": said}))
        return
    for key, value in session.items():
        click.echo(literal(f"{key + ':':<12} {json.dumps(value) if key == 'metadata' else value}"))
    for message in said:
        click.echo(f"\n{message_text(message)}")


# --- Changing ------------------------------------------------------------------------------------


@sessions.command()
@user_argument
@thread_argument
@click.argument("title")
@json_option
@with_manager()
def rename(manager: AgentSessionManager, user: str, thread: str, title: str, as_json: bool) -> None:
    """Give a session another title."""
    session = manager.update_session(user, {"title": title}, thread_id=thread)
    tell_session(session, as_json, "Renamed")


@sessions.command()
@user_argument
@thread_or_all
@click.option("--all", "everything", is_flag=True, help="All of the user's sessions.")
@agent_option(help="Only this agent's.")
@json_option
@with_manager()
def deactivate(
    manager: AgentSessionManager, user: str, thread: str | None, everything: bool, as_json: bool
) -> None:
    """End a session, or all of a user's."""
    one_or_all(thread, everything)
    if thread is not None:
        manager.get_session(user, thread)  # Which raises where there is none.
    count = manager.deactivate_session(user, thread_id=thread)
    tell({"deactivated": count}, as_json, f"Deactivated {counted(count, 'session')}.")


@sessions.command()
@user_argument
@thread_argument
@click.option("--checkpoint", metavar="ID", help="Copy up to this one. Default: everything.")
@click.option("--title", help="The copy's title. Default: that of the original.")
@json_option
@with_manager()
def fork(
    manager: AgentSessionManager,
    user: str,
    thread: str,
    checkpoint: str | None,
    title: str | None,
    as_json: bool,
) -> None:
    """Copy a conversation into a new session."""
    session = manager.fork_session(user, thread, checkpoint_id=checkpoint, title=title)
    tell_session(session, as_json, "Made")


@sessions.command()
@user_argument
@thread_argument
@click.option("--title", help="Default: the first human message.")
@agent_option(help="Whose the session is to be.")
@json_option
@with_manager(makes_tables=True)
def adopt(
    manager: AgentSessionManager, user: str, thread: str, title: str | None, as_json: bool
) -> None:
    """Make a session of a thread that has none."""
    tell_session(manager.adopt_session(user, thread, title=title), as_json, "Adopted")


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


# --- Deleting ------------------------------------------------------------------------------------


@sessions.command()
@user_argument
@thread_or_all
@click.option("--all", "everything", is_flag=True, help="Everything of the user: erase them.")
@yes_option
@json_option
@with_manager()
def delete(
    manager: AgentSessionManager,
    user: str,
    thread: str | None,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete a session, or everything of a user."""
    one_or_all(thread, everything)
    must_agree(yes)
    if thread is None:
        return _erase(manager, user, yes, as_json)
    session = manager.get_session(user, thread)
    if not agrees(yes, f'Delete "{session.title}" of {user}, with all its messages?'):
        return NOT_DONE
    manager.delete_session(user, thread)
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
@duration_option("--older-than", help="Created this long ago, such as 365d.")
@agent_option(help="Only this agent's.")
@active_option
@click.option("--interrupted", is_flag=True, help="Also those that wait for somebody.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--batch-size", type=click.IntRange(1, checks.PAGE_LIMIT), default=100)
@yes_option
@json_option
@with_manager()
def purge(
    manager: AgentSessionManager, dry_run: bool, yes: bool, as_json: bool, **which: Any
) -> int:
    """Delete sessions by age, in batches.

    All the conditions given must hold.
    """
    if all(which[name] is None for name in ("idle_for", "older_than", "active")):
        raise click.UsageError("give --idle-for, --older-than, --active or --inactive")
    if not dry_run:
        must_agree(yes)
        count = 0 if yes else _purge(manager, "Counting", dry_run=True, **which)["purged"]
        if not agrees(yes, f"Delete {counted(count, 'session')}, with all their messages?"):
            return NOT_DONE
    counts = _purge(manager, "Purging", dry_run=dry_run, **which)
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


# --- Taking out ----------------------------------------------------------------------------------


@sessions.command()
@user_argument
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write them here, readable by you alone.",
)
@with_manager()
def export(manager: AgentSessionManager, user: str, output: Path | None) -> int:
    """Print everything of a user as JSON lines.

    What cannot be read is named on standard error, and the status is 1.
    """
    total = manager.count_sessions(user)
    records = manager.export_user(user)
    if output is None:
        with progress("Exporting", total, shown=not sys.stdout.isatty()) as update:
            written = write_lines(records, sys.stdout, update)
    else:
        with replacing(output) as file, progress("Exporting", total) as update:
            written = write_lines(records, file, update)
        told = ", ".join(counted(count, name) for name, count in written.counts.items())
        click.echo(one_line(f"Wrote {told} to {output}."))
    return written.tell()


@sessions.command("ddl")
@click.option("--functions", is_flag=True, help="Only the functions, which replaces them.")
@click.option(
    "--partitions",
    metavar="N",
    type=click.IntRange(2, 1024),
    help="Only LangGraph's tables, hash-partitioned by thread; those that are there are converted.",
)
def ddl_command(database: str | None, functions: bool, partitions: int | None) -> None:
    """Print the schema as SQL.

    It is for a database without user_sessions, and is printed without any.
    """
    from langgraph.checkpoint.postgres.base import MIGRATIONS

    from langgraph_sessions.sql import ddl
    from langgraph_sessions.sql.partitions import script

    if functions and partitions:
        raise click.UsageError("give --functions or --partitions, not both")
    if partitions:
        click.echo(script(MIGRATIONS, partitions), nl=False)
    else:
        click.echo(ddl.functions_script() if functions else ddl.ddl(MIGRATIONS), nl=False)


# --- The doctor ----------------------------------------------------------------------------------


@sessions.command()
@json_option
def doctor(database: str | None, as_json: bool) -> int:
    """Say what is wrong and how to mend it.

    It changes nothing. Its status is 1 where there is something to mend.
    """
    from langgraph.checkpoint.postgres.base import MIGRATIONS

    from langgraph_sessions.doctor import visit

    findings = visit.visit(database, MIGRATIONS)
    problems = sum(finding.is_problem for finding in findings)
    if as_json:
        listed = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"healthy": not problems, "findings": listed}))
    else:
        click.echo(f"Database: {where(database)}")
        for finding in findings:
            click.echo(finding_text(finding))
        click.echo(f"{counted(problems, 'problem')}." if problems else "Healthy.")
    return UNHEALTHY if problems else 0
