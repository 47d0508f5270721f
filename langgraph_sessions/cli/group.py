"""The group `sessions`, into which the operators' commands are put."""

from __future__ import annotations

import click


@click.group(invoke_without_command=True)
@click.pass_context
def sessions(context: click.Context) -> None:
    """What operators do to sessions.

    THREAD is a thread id, the beginning of one if no other begins so, or a session's number, as
    `list` shows them; --user looks among that user's alone.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
