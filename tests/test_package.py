"""The package's own shape."""

from __future__ import annotations

import inspect
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, assert_type, get_args

import pytest
from langgraph.pregel import Pregel

import langgraph_sessions
from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    AsyncSessionSaver,
    Session,
    SessionConfigurable,
    SessionNotFoundError,
    SessionPage,
    SessionSaver,
    SessionStatus,
    SessionUpdates,
)
from tests import shape

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
        is_iterator = str(inspect.signature(function).return_annotation).startswith("AsyncIter")
        assert inspect.iscoroutinefunction(function) or is_iterator


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
    assert set(saver) - set(manager) == {
        "pipe",
        "titler",
        "concurrent_runs",
        "trust_thread_id",
        "require_user",
    }
    assert set(manager) <= set(saver)


def test_the_version_is_the_projects() -> None:
    """`__version__` is what pyproject.toml says."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    assert langgraph_sessions.__version__ == project["project"]["version"]


# From the top down: a room may import from those after it. The ground is every file that stands in
# no room; of it, these know more than the rest.
ROOMS = [
    "__main__",
    "cli",
    "web",
    "doctor",
    "offline",
    "pytest_plugin",
    "server",
    "__init__",
    "savers",
    "sessions",
    "outage",
    "database",
    "runs",
    "sql",
    "titles",
    "embedded",
    "ground",
]


def room_of(module: str) -> str:
    """Return the room in which *module*, a name below the package, stands."""
    room = module.partition(".")[0]
    return room if room in ROOMS else "ground"


def test_imports_point_downwards() -> None:
    """Rooms import from those below them, and no module, by whatever way, itself."""
    arrows = shape.imports(PACKAGE)
    for name, imported in arrows.items():
        for other in imported:
            upper, lower = room_of(name), room_of(other)
            assert ROOMS.index(upper) <= ROOMS.index(lower), f"{name} imports {other}"
    assert max(shape.floors(arrows).values()) <= 19


def test_few_modules_import_langgraphs_savers() -> None:
    """LangGraph's savers are known to those that ours stand on, and to what makes plans of one."""
    knowing = {
        name
        for name, path in shape.modules(PACKAGE).items()
        if "langgraph.checkpoint.postgres import" in path.read_text()
        or "langgraph.checkpoint.postgres.aio import" in path.read_text()
    }
    assert knowing == {"savers.in_threads", "savers.from_threads", "runs.parent"}


# What users import: nothing else of the package is promised.
PROMISED = [
    "AgentSessionManager",
    "AsyncAgentSessionManager",
    "AsyncSessionSaver",
    "CheckpointInfo",
    "ConcurrentRunError",
    "ConcurrentRuns",
    "NotInterruptedError",
    "OnOutage",
    "Session",
    "SessionConfigurable",
    "SessionError",
    "SessionNotFoundError",
    "SessionPage",
    "SessionSaver",
    "SessionStatus",
    "SessionUpdates",
    "SessionsUnavailableError",
    "get_session",
    "titler",
]


def test_what_is_promised_is_exported() -> None:
    """`langgraph_sessions` exports what it promises, by name, and nothing else of its own."""
    assert langgraph_sessions.__all__ == PROMISED
    objects = (inspect.isclass, inspect.isfunction)
    named = {
        name
        for name, member in inspect.getmembers(langgraph_sessions)
        if any(check(member) for check in objects) and not name.startswith("_")
    }
    # Literals are neither; the other is a path of LangGraph's server.
    choices = {"ConcurrentRuns", "OnOutage", "SessionStatus"}
    assert named == {*PROMISED, "server:checkpointer"} - choices
    for choice in choices:
        assert get_args(getattr(langgraph_sessions, choice))
    with pytest.raises(AttributeError, match="no attribute 'SesionSaver'"):
        langgraph_sessions.SesionSaver  # type: ignore[attr-defined]  # noqa: B018


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


def choices_are_checked(manager: AgentSessionManager, twin: AsyncAgentSessionManager) -> None:
    """Never run: mypy checks it, and that each of the errors left out here is one."""
    assert_type(manager.get_session("a", "t").status, SessionStatus | None)
    manager.list_sessions(status="interrupted")
    manager.list_sessions(status="asleep")  # type: ignore[arg-type]
    twin.iter_sessions(status="asleep")  # type: ignore[arg-type]
    SessionSaver(on_outage="raise", concurrent_runs="allow")
    SessionSaver(on_outage="ignore")  # type: ignore[arg-type]
    AsyncSessionSaver(concurrent_runs="both")  # type: ignore[arg-type]
    AgentSessionManager(on_outage="ignore")  # type: ignore[arg-type]


def what_is_written_is_checked(manager: AgentSessionManager, graph: Pregel[Any]) -> None:
    """Never run: mypy checks it, and that each of the errors left out here is one."""
    updates: SessionUpdates = {"title": "Rome", "metadata": {"pinned": True}}
    manager.update_session("a", updates)
    manager.update_session("a", {"is_active": False})
    read: dict[str, str] = {"title": "Rome"}  # What was read from JSON, say, is checked then.
    manager.update_session("a", read)
    updates["name"] = "Rome"  # type: ignore[typeddict-unknown-key]
    updates["title"] = 1  # type: ignore[typeddict-item]
    mine: SessionConfigurable = {"user_id": 42, "new_session": True}
    graph.invoke({}, {"configurable": {**mine}})
    mine["newsession"] = True  # type: ignore[typeddict-unknown-key]


def test_the_guide_is_in_the_package() -> None:
    """Its pages go with what is installed: hatchling takes all of the folder."""
    assert (
        "# Threats"
        in resources.files("langgraph_sessions").joinpath("guide/threats.md").read_text()
    )
