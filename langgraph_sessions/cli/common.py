"""What the operators' commands share: arguments, the manager, asking, telling, files."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from langgraph_sessions import checks
from langgraph_sessions.cli.terminal import one_line
from langgraph_sessions.models import Session

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}

Command = Callable[..., int | None]
# Called with counts to tell, and how much is done.
Update = Callable[[Mapping[str, int], int], None]


def _duration(
    context: click.Context, param: click.Parameter, value: str | None
) -> timedelta | None:
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,8})([mhd])", value)
    duration = timedelta(**{UNITS[found[2]]: int(found[1])}) if found else None
    if duration is None or duration > checks.LONGEST_AGE:
        allowed = f"up to {checks.LONGEST_AGE.days}d"
        raise click.BadParameter(f"{value!r}: give a time such as 30m, 12h or 90d, {allowed}")
    return duration


def user_id(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check an option or argument that is a user id."""
    name = param.opts[0] if isinstance(param, click.Option) else str(param.metavar)
    return None if value is None else checks.user_id(value, name)


def _thread_id(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else checks.text("THREAD", value)


def _agent(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else checks.text("--agent", value)


user_argument = click.argument("user", metavar="USER", callback=user_id)
thread_argument = click.argument("thread", metavar="THREAD", callback=_thread_id)
thread_or_all = click.argument("thread", metavar="[THREAD]", required=False, callback=_thread_id)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
user_option = click.option("--user", callback=user_id, help="Only this user's.")
active_option = click.option("--active/--inactive", default=None, help="Only these.")
agent_option = functools.partial(click.option, "--agent", callback=_agent, metavar="NAME")
duration_option = functools.partial(click.option, callback=_duration, metavar="TIME")


def with_manager(*, makes_tables: bool = False) -> Callable[[Command], Command]:
    """Call the command with a manager in place of the options `--database` and `--agent`.

    Only what brings sessions to a database *makes tables* there: a mistyped URL must not
    leave any behind, nor a look at production migrate it. The embedded one is ours.
    """

    def with_one(command: Command) -> Command:
        @functools.wraps(command)
        def managed(database: str | None, agent: str | None = None, **arguments: Any) -> int | None:
            from langgraph_sessions.sessions.manager import AgentSessionManager

            auto_setup = makes_tables or database is None
            with closing(
                AgentSessionManager(
                    database, agent=agent, auto_setup=auto_setup, on_outage="raise", retry_for=0
                )
            ) as manager:
                return command(manager, **arguments)

        return managed

    return with_one


def one_or_all(thread: str | None, everything: bool) -> None:
    """Refuse both and neither."""
    if (thread is None) != everything:
        raise click.UsageError("give either THREAD or --all")


def must_agree(yes: bool) -> None:
    """Refuse, before anything is looked at, what nobody can be asked about."""
    if not yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise click.UsageError("this deletes, and there is no terminal to ask in: give --yes")


def agrees(yes: bool, question: str) -> bool:
    """Ask, unless *yes* was given, and tell whoever declines that nothing happened."""
    if yes or click.confirm(one_line(question), err=True):
        return True
    click.echo("Nothing was deleted.", err=True)
    return False


def tell(value: Any, as_json: bool, text: str) -> None:
    """Print *value* as JSON, in which every odd character is escaped, or *text* on a line."""
    click.echo(json.dumps(value) if as_json else one_line(text))


def tell_session(session: Session, as_json: bool, done: str) -> None:
    """Print *session*, to which *done* was done."""
    told = f'{done} session {session.thread_id} of {session.user_id}: "{session.title}"'
    tell(dict(session), as_json, told)


def counted(count: int, noun: str) -> str:
    """Return *count* and *noun*, in the plural where it is called for."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


@contextmanager
def progress(what: str, total: int | None = None, *, shown: bool = True) -> Iterator[Update]:
    """Show a progress bar, which moves as what is yielded is called."""
    if not (shown and sys.stderr.isatty()):  # A disabled one would still print an empty line.
        yield lambda counts, done: None
        return
    columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        task = bar.add_task(what, total=total, told="")

        def update(counts: Mapping[str, int], done: int) -> None:
            told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            bar.update(task, completed=done, told=told)

        yield update


# --- Files ---------------------------------------------------------------------------------------


@dataclass
class Written:
    """What was written of an export.

    Attributes:
        counts: How many sessions and messages.
        told: What is to be said of it: what was replaced, and which threads cannot be read.
        complete: Whether every thread could be read.
    """

    counts: dict[str, int]
    told: list[str]
    complete: bool = True

    def note(self, record: Mapping[str, Any]) -> None:
        """Note that *record* was written."""
        kind = record["record"]
        if kind in self.counts:
            self.counts[kind] += 1
        elif kind == "note":
            self.told.append(f"Note: {record['note']}.")
        elif kind == "unreadable":
            self.told.append(f"Could not export thread {record['thread_id']}: {record['error']}")
            self.complete = False

    def tell(self) -> int:
        """Say on standard error what is to be said; return the status, 1 if all is not there."""
        for line in self.told:
            click.echo(one_line(line), err=True)
        return 0 if self.complete else 1


def write_lines(records: Iterable[Mapping[str, Any]], file: TextIO, update: Update) -> Written:
    """Write *records* as JSON lines; return what was written."""
    written = Written({"session": 0, "message": 0}, [])
    for record in records:
        file.write(json.dumps(record, allow_nan=False) + "\n")
        written.note(record)
        update(written.counts, written.counts["session"])
    return written


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
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
