"""`sessions …`: the group into which `looking`, `changing` and others put their commands.

Every command says on standard error which database it is on. Progress is shown there, too, and
only where that is a terminal.
"""

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
