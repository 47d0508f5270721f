"""What the operators' commands share: arguments, options, and the manager."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from langgraph_sessions import checks
from langgraph_sessions.cli.durations import duration
from langgraph_sessions.cli.terminal import one_line, where
from langgraph_sessions.database import URL_VARIABLE

if TYPE_CHECKING:
    from langgraph_sessions.database.place import TablesMissing

WRONG_INPUT: Final = 2  # The status, also where the database cannot be used.

Command = Callable[..., int | None]


def _duration(
    context: click.Context, param: click.Parameter, value: str | None
) -> timedelta | None:
    if value is None:
        return None
    found = duration(value)
    if found is None or found > checks.LONGEST_AGE:
        allowed = f"up to {checks.LONGEST_AGE.days}d"
        raise click.BadParameter(f"{value!r}: give a time such as 30m, 12h, 90d or 3w, {allowed}")
    return found


def user_id(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check an option or argument that is a user id."""
    name = param.opts[0] if isinstance(param, click.Option) else str(param.metavar)
    return None if value is None else checks.user_id(value, name)


def _thread_id(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    name = param.opts[0] if isinstance(param, click.Option) else "THREAD"
    return None if value is None else checks.text(name, value)


def _agent(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else checks.text("--agent", value)


thread_argument = click.argument("thread", metavar="THREAD", callback=_thread_id)
thread_or_all = click.argument("thread", metavar="[THREAD]", required=False, callback=_thread_id)
thread_option = functools.partial(click.option, "--thread", callback=_thread_id, metavar="THREAD")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
active_option = click.option("--active/--inactive", default=None, help="Only these.")
agent_option = functools.partial(click.option, "--agent", callback=_agent, metavar="NAME")
duration_option = functools.partial(click.option, callback=_duration, metavar="TIME")
title_option = functools.partial(click.option, "--title", metavar="TEXT")


def user_argument(metavar: str = "USER") -> Callable[[Command], Command]:
    """Take a user id, called by its metavar in small letters."""
    return click.argument(metavar.lower(), metavar=metavar, callback=user_id)


def user_option(
    help: str = "Only this user's sessions.", *, required: bool = False
) -> Callable[[Command], Command]:
    """Take a user id as `--user`."""
    return click.option("--user", callback=user_id, metavar="ID", help=help, required=required)


def with_manager(
    *, makes_tables: bool = False, makes_server: bool = False
) -> Callable[[Command], Command]:
    """Call the command with a manager in place of the options `--database` and `--agent`.

    First it says, on standard error, which database that is on. Only what brings sessions to a
    database *makes tables* there: a mistyped URL must not leave any behind, nor a look at
    production migrate it. The embedded one is ours; but only what *makes a server* leaves one
    behind in whatever folder somebody happens to be.
    """

    def with_one(command: Command) -> Command:
        @functools.wraps(command)
        def managed(database: str | None, agent: str | None = None, **arguments: Any) -> int | None:
            tell_database(database, makes_server=makes_server)
            from langgraph_sessions.database.place import TablesMissing
            from langgraph_sessions.sessions.manager import AgentSessionManager

            auto_setup = makes_tables or database is None
            manager = AgentSessionManager(
                database, agent=agent, auto_setup=auto_setup, on_outage="raise", retry_for=0
            )
            with closing(manager):
                try:
                    return command(manager, **arguments)
                except TablesMissing as error:
                    raise click.ClickException(_no_tables(error)) from None

        return managed

    return with_one


def tell_database(database: str | None, *, makes_server: bool = False) -> None:
    """Say on standard error which database is used, without its password.

    Raises:
        click.ClickException: It would be an embedded server that is yet to be made.
    """
    from langgraph_sessions.embedded.server import DEFAULT_PATH, has_data

    if database is None and not makes_server and not has_data(DEFAULT_PATH):
        raise click.ClickException(
            f"there is no database: give --database URL, set {URL_VARIABLE}, or go to a folder "
            f"with {DEFAULT_PATH}/ in it"
        )
    click.echo(f"Database: {where(database)}", err=True)


def _no_tables(error: TablesMissing) -> str:
    program = click.get_current_context().find_root().command_path
    mend = f'"{program} sessions setup"'
    if error.are_old:
        return f"its tables are of an older version of this package: {mend} brings them up to date"
    if error.are_others:
        return (
            "its table user_sessions is not one of this package's: if it is an older tool's, "
            f"{mend} brings it up to date, and its rows are kept; else it says what differs"
        )
    kept = f'"{program} sessions backfill" also sessions of the threads that LangGraph kept there'
    return f"it has no tables of langgraph-sessions; {mend} makes them, {kept}"


def one_or_all(thread: str | None, everything: bool, user: str | None) -> None:
    """Refuse both and neither, and everybody's."""
    if (thread is None) != everything:
        raise click.UsageError("give either THREAD or --all")
    if everything and user is None:
        raise click.UsageError("--all is for one user: give --user")


def quoted(word: str) -> str:
    """Return what somebody typed, in quotation marks, on one line."""
    return f'"{one_line(word)}"'
