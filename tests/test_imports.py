"""What a new interpreter imports: the package is as quick to start as LangGraph's savers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.server  # Each starts an interpreter.

PARENTS = "import langgraph.checkpoint.postgres, langgraph.checkpoint.postgres.aio"
# What costs a second and more: the graphs, models, and what these take with them.
GRAPHS = {
    "langchain_core.language_models.base",
    "langgraph.graph",
    "langgraph.pregel",
    "langgraph.types",
    "langgraph_sdk",
    "langsmith",
}
COMMANDS = {"click", "rich"}
PAGES = {"jinja2", "langgraph_sessions.web", "starlette", "uvicorn"}
SAVERS = {"langchain_core", "langgraph", "psycopg", "pydantic"}
COMMAND = """
import sys
from langgraph_sessions.__main__ import main
sys.argv = ["langgraph-sessions", {arguments}]
assert main() == 0
"""


def imported(program: str) -> set[str]:
    """Return the names of the modules that a new interpreter has after *program*."""
    told = "\nimport json, sys\nprint(json.dumps(list(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program + told], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr))


def test_the_module_alone_imports_no_saver() -> None:
    """`import langgraph_sessions` imports nothing that is not Python's own."""
    assert not imported("import langgraph_sessions") & (SAVERS | GRAPHS | COMMANDS)


def test_all_exports_import_little_beyond_the_savers_they_extend() -> None:
    """Everything that is exported, used at once, takes neither graphs nor models with it."""
    beyond = imported("from langgraph_sessions import *") - imported(PARENTS)
    assert "langgraph_sessions.savers.aio_saver" in beyond
    assert not beyond & (GRAPHS | COMMANDS)
    foreign = {name for name in beyond if not name.startswith("langgraph_sessions")}
    assert len(foreign) < 30, sorted(foreign)


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            '"--version"',
            '"--help"',
            '"sessions", "--help"',
            '"sessions", "purge", "--help"',
        ),
        *('"web", "--help"', '"guide"', '"guide", "runs"'),
    ],
)
def test_a_command_that_only_tells_imports_no_saver(arguments: str) -> None:
    """`--version`, each `--help` and `guide` answer without LangGraph, psycopg, pydantic, rich."""
    found = imported(COMMAND.format(arguments=arguments))
    assert "langgraph_sessions.cli.main" in found
    assert not found & (SAVERS | GRAPHS | PAGES | {"rich", "wcwidth"})
