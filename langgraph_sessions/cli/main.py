"""The commands, and how what goes wrong in them is told: in one line, with status 2."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Final

import click

from langgraph_sessions import __version__
from langgraph_sessions.cli import changing, deleting, keeping, looking
from langgraph_sessions.cli.common import WRONG_INPUT, user_id
from langgraph_sessions.cli.group import sessions
from langgraph_sessions.cli.guide import guide_command
from langgraph_sessions.cli.terminal import one_line
from langgraph_sessions.cli.web import web
from langgraph_sessions.database import URL_VARIABLE
from langgraph_sessions.errors import SessionError

OPERATORS: Final = (looking, changing, deleting, keeping)  # Each puts commands into `sessions`.
SECOND_HALF: Final = "demo-second-half"
INTERRUPTED: Final = 130  # As a shell has it for a program that Ctrl-C ended.


def run() -> int:
    """Run the command that `sys.argv` asks for and return its exit status."""
    _stand_in()
    _print_anything()
    # What psycopg logs of a lost connection comes as an exception too, which is told.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    try:
        status = cli.main(standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except click.ClickException as error:
        return _failed(error.format_message())
    except _told() as error:
        return _failed(_words(error))
    return status if isinstance(status, int) else 0


def _told() -> tuple[type[Exception], ...]:
    """Return the errors that are told in a line, asked for once there is one."""
    import psycopg

    return SessionError, ValueError, TypeError, OSError, psycopg.Error


def _words(error: Exception) -> str:
    """Return what an error says, of the system's without its number."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(filter(None, [error.filename and str(error.filename), error.strerror]))
    return str(error) or type(error).__name__


def _stand_in() -> None:
    """Open nothing in place of a stream that was closed before this began, as by `>&-`."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until this ends


def _print_anything() -> None:
    """Let no character that a stream's encoding lacks end a conversation."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _failed(message: str) -> int:
    print(f"Error: {one_line(message)}", file=sys.stderr)
    return WRONG_INPUT


def _reader_gone() -> int:
    """End quietly, as in `langgraph-sessions demo | head`."""
    # Python flushes standard output once more as it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _conninfo(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no URL before anything is started, without quoting its password."""
    if value is None:
        return None
    from langgraph_sessions.database.source import checked_conninfo

    try:
        return checked_conninfo(URL_VARIABLE, value)
    except ValueError:
        raise click.BadParameter(
            f"give a PostgreSQL URL such as postgresql://localhost/app, here or in {URL_VARIABLE}; "
            "in a password, '@', '/' and ':' are written %40, %2F and %3A"
        ) from None


database_option = click.option(
    "--database",
    metavar="URL",
    envvar=URL_VARIABLE,
    show_envvar=True,
    callback=_conninfo,
    help="A PostgreSQL URL. Default: the embedded PostgreSQL of the working directory.",
)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="langgraph-sessions")
@click.pass_context
def cli(context: click.Context) -> None:
    """User sessions for LangGraph on PostgreSQL."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command("demo")
@database_option
@click.pass_context
def demo_command(context: click.Context, database: str | None) -> int:
    """Show in a few seconds what sessions do: two users and a restart."""
    from langgraph_sessions.cli import demo

    assert context.parent is not None
    return demo.run(database, context.parent.command_path, SECOND_HALF)


@cli.command(SECOND_HALF, hidden=True)
@database_option
def demo_second_half(database: str | None) -> None:
    """Go on with the demo after its restart."""
    from langgraph_sessions.cli import demo

    demo.second_half(database)


@cli.command("chat")
@click.option("--user", required=True, metavar="ID", callback=user_id, help="Who is chatting.")
@database_option
def chat_command(user: str, database: str | None) -> None:
    """Chat in the terminal; every conversation is kept as a session."""
    from langgraph_sessions.cli import chat

    chat.run(user, database)


for command in sessions.commands.values():
    database_option(command)
cli.add_command(sessions)
cli.add_command(guide_command)
cli.add_command(database_option(web))
