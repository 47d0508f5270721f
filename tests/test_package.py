"""The package's own shape."""

from __future__ import annotations

import ast
import inspect
import tomllib
from pathlib import Path
from typing import assert_type

import pytest

import langgraph_sessions
from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    AsyncSessionSaver,
    Session,
    SessionNotFoundError,
    SessionPage,
    SessionSaver,
)

PACKAGE = Path(langgraph_sessions.__file__).parent


def public(cls: type) -> dict[str, object]:
    """Return the methods that a class of ours defines for others to call."""
    return {
        name: member
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }


def test_every_manager_method_has_its_twin() -> None:
    """The async manager has the sync one's methods, with the same arguments, as coroutines."""
    sync, twin = public(AgentSessionManager), public(AsyncAgentSessionManager)
    assert sync.keys() == twin.keys()
    for name, method in sync.items():
        same = (inspect.signature(function) for function in (method, twin[name]))  # type: ignore[arg-type]
        assert len({str(signature.parameters) for signature in same}) == 1, name
        function = inspect.unwrap(twin[name])  # type: ignore[arg-type]
        assert inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        assert f"`AgentSessionManager.{name}`" in str(twin[name].__doc__), name


@pytest.mark.parametrize("name", ["__init__", "from_conn_string"])
def test_both_savers_are_made_alike(name: str) -> None:
    """The savers take the same options, but for sync or async connections."""
    sync, twin = (
        inspect.signature(getattr(cls, name)) for cls in (SessionSaver, AsyncSessionSaver)
    )
    assert list(sync.parameters) == list(twin.parameters)
    for parameter, other in zip(sync.parameters.values(), twin.parameters.values(), strict=True):
        assert (parameter.kind, parameter.default) == (other.kind, other.default)


def test_the_managers_take_the_savers_options() -> None:
    """A manager built alone takes `conn` and each option of the saver's that concerns it."""
    saver = inspect.signature(SessionSaver.__init__).parameters
    manager = inspect.signature(AgentSessionManager.__init__).parameters
    assert set(saver) - set(manager) == {"pipe", "titler", "concurrent_runs"}
    assert set(manager) <= set(saver)


def test_all_is_sorted_and_complete() -> None:
    """`__all__` names every public class of the package's namespace, in order."""
    named = langgraph_sessions.__all__
    classes = [
        name
        for name, member in vars(langgraph_sessions).items()
        if (inspect.isclass(member) or inspect.isfunction(member)) and not name.startswith("_")
    ]
    assert named == sorted(classes)


def test_the_version_is_the_projects() -> None:
    """`__version__` is what pyproject.toml says."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    assert langgraph_sessions.__version__ == project["project"]["version"]


# From the bottom up; a module may import from those before it in this list.
LAYERS = [
    {
        "errors",
        "_arguments",
        "_forks",
        "_guardian",
        "_drive",
        "_messages",
        "_titles",
        "_findings",
        "models",
    },
    {
        "_copy_functions",
        "_upkeep_functions",
        "_functions",
        "_in_threads",
        "_from_threads",
        "_journal",
        "_failures",
        "_dumped",
    },
    {"embedded", "_sql", "_schema", "_cache", "_thread_ids", "_background", "_pools"},
    {"_request", "_run", "_pages", "_source", "_titling", "_ddl", "_held_sessions"},
    {"_opening", "_join", "_saving", "_exclusive"},
    {"_memory"},
    {"_outage", "_held_reading"},
    {"_base_connections"},
    {"_connections", "_aio_connections"},
    {"_database", "_aio_database"},
    {"_reading"},
    {"_operations", "_housekeeping"},
    {"_housekeeper", "_aio_housekeeper", "_orphans"},
    {"manager", "aio_manager", "_doctor"},
    {"_thread_upkeep", "_aio_thread_upkeep"},
    {"saver", "aio"},
    {"__init__", "offline"},
    {"_terminal", "_operating"},
    {"_chat", "_demo", "_sessions_cli"},
    {"_cli"},
    {"__main__"},
]


def imports(module: Path) -> set[str]:
    """Return the modules of ours that *module* imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "langgraph_sessions":
            names = {alias.name for alias in node.names}
            modules = {path.stem for path in PACKAGE.glob("*.py")}
            found |= (names & modules) or {"__init__"}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(
            "langgraph_sessions."
        ):
            found.add(str(node.module).split(".")[1])
    return found


def test_imports_point_downwards() -> None:
    """Every module is in a layer, and imports from lower layers, or its own without a cycle."""
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    for path in PACKAGE.glob("*.py"):
        for imported in imports(path):
            assert level[imported] <= level[path.stem], f"{path.stem} imports {imported}"


def test_few_modules_import_langgraphs_savers() -> None:
    """LangGraph's savers are known to those that ours stand on and to the reader of exports."""
    knowing = {
        path.stem
        for path in PACKAGE.glob("*.py")
        if "langgraph.checkpoint.postgres import" in path.read_text()
        or "langgraph.checkpoint.postgres.aio import" in path.read_text()
    }
    assert knowing == {"_in_threads", "_from_threads", "_reading"}


def test_a_session_not_found_error_survives_pickling() -> None:
    """It crosses process boundaries with its fields."""
    import pickle

    error = pickle.loads(pickle.dumps(SessionNotFoundError("alice", "t")))
    assert (error.user_id, error.thread_id, str(error)) == (
        "alice",
        "t",
        "user_id 'alice' has no session 't'",
    )
    assert isinstance(error, ValueError)


def types_are_kept(saver: SessionSaver, twin: AsyncSessionSaver) -> None:
    """Never run: mypy checks it."""
    assert_type(saver.sessions, AgentSessionManager)
    assert_type(twin.sessions, AsyncAgentSessionManager)
    assert_type(saver.sessions.get_session("a", "t"), Session)
    assert_type(saver.sessions.list_sessions(), SessionPage)
    with SessionSaver.from_conn_string("") as entered:
        assert_type(entered, SessionSaver)
