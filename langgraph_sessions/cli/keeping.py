"""`sessions export`, `setup`, `ddl` and `doctor`: whole users, and the tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from langgraph_sessions import checks
from langgraph_sessions.cli.common import json_option, tell_database, user_argument, with_manager
from langgraph_sessions.cli.files import replacing, write_lines
from langgraph_sessions.cli.group import sessions
from langgraph_sessions.cli.telling import counted, progress
from langgraph_sessions.cli.terminal import finding_text, one_line

if TYPE_CHECKING:
    from langgraph_sessions.sessions.manager import AgentSessionManager

UNHEALTHY: Final = 1
STANDARD_OUTPUT: Final = Path("-")


@sessions.command()
@user_argument()
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write them here, readable by you alone. Default: standard output, or -.",
)
@with_manager()
def export(manager: AgentSessionManager, user: str, output: Path | None) -> int:
    """Print everything of a user as JSON lines.

    What cannot be read is named on standard error, and the status is 1.
    """
    total = manager.count_sessions(user)
    records = manager.export_user(user)
    if output is None or output == STANDARD_OUTPUT:
        with progress("Exporting", total, shown=not sys.stdout.isatty()) as update:
            written = write_lines(records, sys.stdout, update)
    else:
        with replacing(output) as file, progress("Exporting", total) as update:
            written = write_lines(records, file, update)
        told = ", ".join(counted(count, name) for name, count in written.counts.items())
        click.echo(one_line(f"Wrote {told} to {output}."))
    return written.tell()


@sessions.command()
@click.option("--citus", is_flag=True, help="Distribute them over the nodes of Citus.")
@with_manager(makes_tables=True, makes_server=True)
def setup(manager: AgentSessionManager, citus: bool) -> None:
    """Make the tables, or bring them up to date."""
    manager._database.setup(citus=citus)
    click.echo(f"The tables are there, {'distributed, ' if citus else ''}and up to date.")


@sessions.command("ddl")
@click.option("--functions", is_flag=True, help="Only the functions, which replaces them.")
@click.option(
    "--partitions",
    metavar="N",
    type=click.IntRange(2, checks.PARTITION_LIMIT),
    help="Only LangGraph's tables, hash-partitioned by thread; those that are there are converted.",
)
@click.option("--citus", is_flag=True, help="Distributed by Citus; those that are there, too.")
def ddl_command(database: str | None, functions: bool, partitions: int | None, citus: bool) -> None:
    """Print the schema as SQL.

    It is for a database without user_sessions, and is printed without any. With --citus, or
    --partitions, it also takes one in use.
    """
    if partitions and (functions or citus):
        raise click.UsageError("give --partitions alone, without --functions and --citus")
    click.echo(_script(functions=functions, partitions=partitions, citus=citus), nl=False)


def _script(*, functions: bool, partitions: int | None, citus: bool) -> str:
    from langgraph.checkpoint.postgres.base import MIGRATIONS

    from langgraph_sessions.sql import ddl
    from langgraph_sessions.sql import partitions as partitioned
    from langgraph_sessions.sql.citus import script as distributed

    if functions:
        return ddl.functions_script(citus=citus)
    if partitions:
        return partitioned.script(MIGRATIONS, partitions)
    return distributed.script(MIGRATIONS) if citus else ddl.ddl(MIGRATIONS)


@sessions.command()
@json_option
def doctor(database: str | None, as_json: bool) -> int:
    """Say what is wrong and how to mend it.

    It changes nothing. Its status is 1 where there is something to mend.
    """
    from dataclasses import asdict

    tell_database(database)
    from langgraph.checkpoint.postgres.base import MIGRATIONS

    from langgraph_sessions.doctor import visit

    findings = visit.visit(database, MIGRATIONS)
    problems = sum(finding.is_problem for finding in findings)
    if as_json:
        listed = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"healthy": not problems, "findings": listed}))
        return UNHEALTHY if problems else 0
    for finding in findings:
        click.echo(finding_text(finding))
    click.echo(f"{counted(problems, 'problem')}." if problems else "Healthy.")
    return UNHEALTHY if problems else 0
