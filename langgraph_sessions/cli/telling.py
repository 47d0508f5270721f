"""How the commands ask, and tell what they did."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from langgraph_sessions.cli.terminal import one_line
from langgraph_sessions.models import Session

# Called with counts to tell, and how much is done.
Update = Callable[[Mapping[str, int], int], None]


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
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

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
