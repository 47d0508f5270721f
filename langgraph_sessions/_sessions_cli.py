"""`sessions …`: what an operator does to sessions, one command for each.

Nothing is deleted unasked: a command that deletes asks in a terminal, and elsewhere wants
`--yes`. Progress is shown on standard error, and only where that is a terminal.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TextIO

import click
from langgraph.checkpoint.postgres.base import MIGRATIONS
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from langgraph_sessions import _arguments, _ddl, _doctor, _reading
from langgraph_sessions._terminal import literal, new_console, one_line, where
from langgraph_sessions.manager import AgentSessionManager
from langgraph_sessions.models import STATUSES, Session, display

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
LONGEST: Final = timedelta(days=36500)
UNHEALTHY: Final = 1
NOT_DONE: Final = 1


# --- What the commands share ---------------------------------------------------------------------


def _duration(
    context: click.Context, param: click.Parameter, value: str | None
) -> timedelta | None:
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,8})([mhd])", value)
    duration = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else None
    if duration is None or duration > LONGEST:
        allowed = f"up to {LONGEST.days}d"
        raise click.BadParameter(f"{value!r}: give a time such as 30m, 12h or 90d, {allowed}")
    return duration


def _user_id(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else _arguments.user_id(value, param.metavar or param.opts[0])


def _thread_id(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else _arguments.text("THREAD", value)


user_argument = click.argument("user", metavar="USER", callback=_user_id)
thread_argument = click.argument("thread", metavar="THREAD", callback=_thread_id)
thread_or_all = click.argument("thread", metavar="[THREAD]", required=False, callback=_thread_id)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
active_option = click.option("--active/--inactive", default=None, help="Only these.")


@click.group(invoke_without_command=True)
@click.pass_context
def sessions(context: click.Context) -> None:
    """What operators do to sessions."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _database(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Call *command* with a manager in place of the option `--database`.

    Only what brings sessions to a database may make tables there: a mistyped URL must not
    leave any behind, nor a look at production migrate it. The embedded one is ours.
    """

    @functools.wraps(command)
    def with_manager(database: str | None, **arguments: Any) -> int | None:
        makes_tables = database is None or command.__name__ in ("adopt", "backfill")
        with closing(AgentSessionManager(database, auto_setup=makes_tables)) as manager:
            try:
                return command(manager, **arguments)
            except NotImplementedError as error:  # Data of another serializer, or encrypted.
                raise click.ClickException(f"what was saved cannot be read: {error}") from error

    return with_manager


def _one_or_all(thread: str | None, everything: bool) -> None:
    if (thread is None) != everything:
        raise click.UsageError("give either THREAD or --all")


def _must_agree(yes: bool) -> None:
    """Refuse, before anything is looked at, what nobody can be asked about."""
    if not yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise click.UsageError("this deletes, and there is no terminal to ask in: give --yes")


def _agrees(yes: bool, question: str) -> bool:
    if yes or click.confirm(one_line(question), err=True):
        return True
    click.echo("Nothing was deleted.", err=True)
    return False


def _tell(value: Any, as_json: bool, text: str) -> None:
    """Print *value* as JSON, in which every odd character is escaped, or *text* on a line."""
    click.echo(json.dumps(value) if as_json else one_line(text))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


@contextmanager
def _progress(
    what: str, total: int | None = None, *, shown: bool = True
) -> Iterator[Callable[[Mapping[str, int], int], None]]:
    """Show a progress bar; call what is yielded with counts to tell, and how much is done."""
    columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=not (shown and sys.stderr.isatty()),
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task(what, total=total, told="")

        def update(counts: Mapping[str, int], done: int) -> None:
            told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            progress.update(task, completed=done, told=told)

        yield update


# --- Looking -------------------------------------------------------------------------------------


@sessions.command("list")
@click.option("--user", callback=_user_id, help="Only this user's.")
@active_option
@click.option("--title", help="Only those whose title contains this, in any case.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those.")
@click.option("--limit", type=click.IntRange(1, _arguments.PAGE_LIMIT), default=20)
@click.option("--cursor", help="Go on where the page before ended; give the same filters.")
@json_option
@_database
def list_sessions(
    manager: AgentSessionManager, user: str | None, as_json: bool, **filters: Any
) -> None:
    """List sessions, those used last first."""
    page = manager.list_sessions(user, **filters)
    if as_json:
        listed = [dict(session) for session in page]
        click.echo(json.dumps({"sessions": listed, "next_cursor": page.next_cursor}))
        return
    console = new_console()
    if not console.is_terminal:
        console.width = 4000  # A line for each session: in a pipe nothing is folded.
    console.print(_table(page.sessions) if page.sessions else "No sessions.")
    if page.next_cursor:
        console.print(f"More: --cursor {page.next_cursor}", soft_wrap=True)


def _table(listed: Iterable[Session]) -> Table:
    table = Table()
    for header in ("User", "Thread", "Title"):
        table.add_column(header, overflow="fold")
    for header in ("Status", "Active", "Last used"):
        table.add_column(header, no_wrap=True)
    for session in listed:
        values = (session.user_id, session.thread_id, session.title, session.status)
        used = f"{session.updated_at.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add_row(*(literal(str(v)) for v in values), display(session.is_active), used)
    return table


@sessions.command()
@user_argument
@thread_argument
@json_option
@_database
def show(manager: AgentSessionManager, user: str, thread: str, as_json: bool) -> None:
    """Show a session and what was said in it."""
    session = manager.get_session(user, thread)
    said = [_reading.record(thread, message) for message in manager._messages(thread)]
    if as_json:
        click.echo(json.dumps({"session": dict(session), "messages": said}))
        return
    for key, value in session.items():
        click.echo(literal(f"{key + ':':<12} {json.dumps(value) if key == 'metadata' else value}"))
    for record in said:
        # Indented, so that no message can pass for another's.
        text = _text(record).replace("\n", "\n    ")
        click.echo(literal(f"\n{record['role']}>\n    {text}", keep="\n\t"))


def _text(record: Mapping[str, Any]) -> str:
    """Return a message as people read it: its text, and what else it has as JSON."""
    content = record["content"]
    parts = [content] if isinstance(content, str) else content
    calls = record["message"].get("tool_calls") or []
    texts = (part if isinstance(part, str) else part.get("text") for part in parts)
    shown = [text or json.dumps(part) for text, part in zip(texts, parts, strict=True) if part]
    return "\n".join([*shown, *(f"calls {call['name']} {json.dumps(call)}" for call in calls)])


# --- Changing ------------------------------------------------------------------------------------


def _tell_session(session: Session, as_json: bool, done: str) -> None:
    told = f'{done} session {session.thread_id} of {session.user_id}: "{session.title}"'
    _tell(dict(session), as_json, told)


@sessions.command()
@user_argument
@thread_argument
@click.argument("title")
@json_option
@_database
def rename(manager: AgentSessionManager, user: str, thread: str, title: str, as_json: bool) -> None:
    """Give a session another title."""
    session = manager.update_session(user, {"title": title}, thread_id=thread)
    _tell_session(session, as_json, "Renamed")


@sessions.command()
@user_argument
@thread_or_all
@click.option("--all", "everything", is_flag=True, help="All of the user's sessions.")
@json_option
@_database
def deactivate(
    manager: AgentSessionManager, user: str, thread: str | None, everything: bool, as_json: bool
) -> None:
    """End a session, or all of a user's."""
    _one_or_all(thread, everything)
    if thread is not None:
        manager.get_session(user, thread)  # Which raises where there is none.
    count = manager.deactivate_session(user, thread_id=thread)
    _tell({"deactivated": count}, as_json, f"Deactivated {_counted(count, 'session')}.")


@sessions.command()
@user_argument
@thread_argument
@click.option("--checkpoint", metavar="ID", help="Copy up to this one. Default: everything.")
@click.option("--title", help="The copy's title. Default: that of the original.")
@json_option
@_database
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
    _tell_session(session, as_json, "Made")


@sessions.command()
@user_argument
@thread_argument
@click.option("--title", help="Default: the first human message.")
@json_option
@_database
def adopt(
    manager: AgentSessionManager, user: str, thread: str, title: str | None, as_json: bool
) -> None:
    """Make a session of a thread that has none."""
    _tell_session(manager.adopt_session(user, thread, title=title), as_json, "Adopted")


@sessions.command()
@json_option
@_database
def backfill(manager: AgentSessionManager, as_json: bool) -> None:
    """Adopt every thread that names its user.

    It goes by the metadata of checkpoints, and can be stopped and called again.
    """
    with _progress("Adopting threads") as update:
        counts = manager.backfill(on_progress=lambda counts: update(counts, counts["seen"]))
    seen = _counted(counts["seen"], "thread")
    told = f"Adopted {counts['adopted']} of {seen}; {counts['unowned']} name no user."
    _tell(counts, as_json, told)


# --- Deleting ------------------------------------------------------------------------------------


@sessions.command()
@user_argument
@thread_or_all
@click.option("--all", "everything", is_flag=True, help="Everything of the user: erase them.")
@yes_option
@json_option
@_database
def delete(
    manager: AgentSessionManager,
    user: str,
    thread: str | None,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete a session, or everything of a user."""
    _one_or_all(thread, everything)
    _must_agree(yes)
    if thread is None:
        return _erase(manager, user, yes, as_json)
    session = manager.get_session(user, thread)
    if not _agrees(yes, f'Delete "{session.title}" of {user}, with all its messages?'):
        return NOT_DONE
    manager.delete_session(user, thread)
    _tell_session(session, as_json, "Deleted")
    return 0


def _erase(manager: AgentSessionManager, user: str, yes: bool, as_json: bool) -> int:
    count = _counted(manager.count_sessions(user), "session")
    if not _agrees(yes, f"Delete everything of {user}: {count}, their messages, preferences?"):
        return NOT_DONE
    counts = manager.delete_user(user)
    told = ", ".join(f"{count} {table}" for table, count in counts.items())
    _tell(counts, as_json, f"Deleted everything of {user}: {told}.")
    return 0


@sessions.command()
@click.option(
    "--idle-for", callback=_duration, metavar="TIME", help="Not used for this long, such as 90d."
)
@click.option(
    "--older-than", callback=_duration, metavar="TIME", help="Created this long ago, such as 365d."
)
@active_option
@click.option("--interrupted", is_flag=True, help="Also those that wait for an answer.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--batch-size", type=click.IntRange(1, _arguments.PAGE_LIMIT), default=100)
@yes_option
@json_option
@_database
def purge(
    manager: AgentSessionManager, dry_run: bool, yes: bool, as_json: bool, **which: Any
) -> int:
    """Delete sessions by age, in batches.

    All the conditions given must hold.
    """
    if all(which[name] is None for name in ("idle_for", "older_than", "active")):
        raise click.UsageError("give --idle-for, --older-than, --active or --inactive")
    if not dry_run:
        _must_agree(yes)
        count = 0 if yes else _purge(manager, "Counting", dry_run=True, **which)["purged"]
        if not _agrees(yes, f"Delete {_counted(count, 'session')}, with all their messages?"):
            return NOT_DONE
    counts = _purge(manager, "Purging", dry_run=dry_run, **which)
    done = "Would delete" if dry_run else "Deleted"
    told = f"{done} {_counted(counts['purged'], 'session')}"
    kept = f"; kept {counts['kept']} in use or waiting for an answer" if counts["kept"] else ""
    _tell({**counts, "dry_run": dry_run}, as_json, f"{told}{kept}.")
    return 0


def _purge(manager: AgentSessionManager, what: str, **which: Any) -> dict[str, int]:
    with _progress(what) as update:
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
@_database
def export(manager: AgentSessionManager, user: str, output: Path | None) -> None:
    """Print everything of a user as JSON lines."""
    total = manager.count_sessions(user)
    records = manager.export_user(user)
    if output is None:
        with _progress("Exporting", total, shown=not sys.stdout.isatty()) as update:
            _write(records, sys.stdout, update)
        return
    with _replacing(output) as file, _progress("Exporting", total) as update:
        counts = _write(records, file, update)
    told = ", ".join(_counted(count, name) for name, count in counts.items())
    click.echo(one_line(f"Wrote {told} to {output}."))


def _write(
    records: Iterable[Mapping[str, Any]],
    file: TextIO,
    update: Callable[[Mapping[str, int], int], None],
) -> dict[str, int]:
    counts = {"session": 0, "message": 0}
    for record in records:
        file.write(json.dumps(record) + "\n")
        if record["record"] in counts:
            counts[record["record"]] += 1
        update(counts, counts["session"])
    return counts


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """Open *path* to write: all is there in the end, or what was there before."""
    if path.exists() and not path.is_file():  # A device or a pipe.
        with path.open("w", encoding="ascii") as device:
            yield device
        return
    path = path.resolve()
    handle, part = tempfile.mkstemp(prefix=".export-", dir=path.parent)
    try:
        with open(handle, "w", encoding="ascii") as file:  # Which only its owner may read.
            yield file
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


@sessions.command()
@click.option("--functions", is_flag=True, help="Only the functions, which replaces them.")
def ddl(database: str | None, functions: bool) -> None:
    """Print the schema as SQL.

    It is for a database without user_sessions, and is printed without any.
    """
    click.echo(_ddl.functions_script() if functions else _ddl.ddl(MIGRATIONS), nl=False)


# --- The doctor ----------------------------------------------------------------------------------


@sessions.command()
@json_option
def doctor(database: str | None, as_json: bool) -> int:
    """Say what is wrong and how to mend it.

    It changes nothing. Its status is 1 where there is something to mend.
    """
    findings = _doctor.visit(database, MIGRATIONS)
    problems = sum(finding.is_problem for finding in findings)
    if as_json:
        listed = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"healthy": not problems, "findings": listed}))
    else:
        click.echo(f"Database: {where(database)}")
        for finding in findings:
            _tell_finding(finding)
        click.echo(f"{_counted(problems, 'problem')}." if problems else "Healthy.")
    return UNHEALTHY if problems else 0


def _tell_finding(finding: _doctor.Finding) -> None:
    kind = "Problem" if finding.is_problem else "Note"
    some = ", ".join([*finding.which, *(["…"] if finding.count > len(finding.which) else [])])
    how_many = f" ({finding.count}: {some})" if finding.which else ""
    click.echo(one_line(f"{kind}: {finding.what}{how_many}"))
    click.echo(f"    mend: {one_line(finding.mend)}")
