"""`web`: a page to look at, on this machine alone unless said twice."""

from __future__ import annotations

from typing import Final

import click

from langgraph_sessions import checks
from langgraph_sessions.cli.common import tell_database

NEEDED: Final = ("starlette", "uvicorn", "jinja2")


def _host(context: click.Context, option: click.Parameter, value: str) -> str:
    return checks.text("--host", value)


@click.command("web")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, callback=_host, metavar="HOST")
@click.option("--allow-remote", is_flag=True, help="Let other machines in, if --host lets them.")
def web(database: str | None, port: int, host: str, allow_remote: bool) -> None:
    """Show sessions in a browser: look, search, rename, fork, delete.

    The address that is printed has a token: whoever has it sees and changes everybody's sessions.
    """
    try:
        from langgraph_sessions.web import app, hosts, serving
        from langgraph_sessions.web.keys import Keys
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        told = 'the page needs more: pip install "langgraph-sessions[web]"'
        raise click.ClickException(told) from None
    with hosts.listen(host, port, remote=allow_remote) as listening:
        tell_database(database)
        keys, names = Keys(), hosts.Hosts.of(host, remote=allow_remote)
        pages = app.application(database, names, keys, listening.getsockname()[1])
        click.echo(f"Open {hosts.url(listening, keys.token)}  (Ctrl-C ends it)")
        serving.serve(pages, listening)
