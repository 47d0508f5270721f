"""Where in a run a config stands, and inside which run it is used; without a database."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from langchain_core.runnables.config import var_child_runnable_config

from langgraph_sessions.runs.active import ActiveRun, active_run, get_session, pin
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.surroundings import (
    RUNTIME_KEY,
    TASK_KEY,
    Position,
    Progress,
    run_of,
    surroundings,
)
from tests.plans import session
from tests.support import config


class Runtime:
    """What LangGraph puts into a run's configurable, as far as it is looked at."""

    def __init__(self) -> None:
        """Have a control, which all in a run share."""
        self.control = object()


def begun(**configurable: Any) -> tuple[ActiveRun, dict[str, Any]]:
    """Return a run of alice's, and its root graph's configurable."""
    given = config(**{"user_id": "alice", "thread_id": "t", RUNTIME_KEY: Runtime(), **configurable})
    run = ActiveRun.start(Request.of(given), session(), known=True)
    pin(given, run)
    return run, given["configurable"]


def task(root: dict[str, Any], checkpoint_id: str = "c1", task_id: str = "a") -> dict[str, Any]:
    """Return the configurable of a task of a root checkpoint."""
    place = {"checkpoint_ns": f"node:{task_id}", "checkpoint_map": {"": checkpoint_id}}
    return {**root, TASK_KEY: task_id, **place}


ROOT = {"checkpoint_ns": ""}
TASK = {"checkpoint_ns": "node:a", TASK_KEY: "a", "checkpoint_map": {"": "c2"}}
BELOW = {**TASK, "checkpoint_ns": "node:a|deep:b|1", TASK_KEY: "b"}

# What is noted, and whether the task, and one below it, has ended then.
NOTED: list[Any] = [
    pytest.param([], False, False, id="nothing"),
    pytest.param([("checkpoint", ROOT, "c2")], False, False, id="its own checkpoint"),
    pytest.param([("checkpoint", ROOT, "c3")], True, True, id="the next checkpoint"),
    pytest.param([("checkpoint", TASK, "c3")], False, False, id="a subgraph's checkpoint"),
    pytest.param([("writes", ROOT, "messages", "a")], True, True, id="its writes"),
    pytest.param([("writes", ROOT, "__interrupt__", "a")], True, True, id="its question"),
    pytest.param([("writes", ROOT, "__error__", "a")], True, True, id="its error"),
    pytest.param([("writes", ROOT, "__resume__", "a")], False, False, id="an answer to it"),
    pytest.param([("writes", ROOT, "messages", "other")], False, False, id="another's writes"),
    pytest.param([("writes", TASK, "messages", "b")], False, True, id="writes below"),
    pytest.param(
        [("writes", ROOT, "messages", "a"), ("checkpoint", ROOT, "c2")],
        True,
        True,
        id="its writes before its checkpoint, which was slow",
    ),
]


@pytest.mark.parametrize(("noted", "task_ended", "below_ended"), NOTED)
def test_a_task_has_ended_when_the_run_has_saved_so(
    noted: list[Any], task_ended: bool, below_ended: bool
) -> None:
    """Writes of the task, or of one around it, or a root checkpoint after it say so."""
    progress = Progress()
    for kind, where, *what in noted:
        if kind == "checkpoint":
            progress.note_checkpoint(where, *what)
        else:
            progress.note_writes({**where, "checkpoint_id": "c2"}, [(what[0], None)], what[1])
    for place, ended in ((TASK, task_ended), (BELOW, below_ended)):
        position = Position.of(place)
        assert progress.has_left(position.checkpoint_id, position.tasks) is ended


def test_a_root_graphs_own_config_is_never_past() -> None:
    """The run's own loop goes on to its end, whatever it has saved."""
    run, root = begun()
    position = Position.of(root)
    assert position.progress is not None
    position.progress.note_checkpoint(root, "c9")
    assert active_run({"configurable": root}) is run


def test_a_run_is_found_until_it_leaves_the_task_behind() -> None:
    """From then on, its config is as one that names the user and the thread."""
    run, root = begun()
    kept = {"configurable": task(root)}
    assert active_run(kept) is run
    progress = Position.of(root).progress
    assert progress is not None
    progress.note_checkpoint(root, "c2")
    assert active_run(kept) is None
    assert get_session(kept) is run.session
    assert active_run({"configurable": task(root, "c2", "b")}) is run


def test_what_is_called_inside_a_run_finds_it_by_the_context() -> None:
    """On the run's thread it is that run's; on another one it is none's, but the user's."""
    run, root = begun()
    token = var_child_runnable_config.set({"configurable": task(root)})
    try:
        assert active_run(config(thread_id="t")) is run
        assert active_run(config(user_id="alice", thread_id="t")) is run
        assert active_run(config(user_id="bob", thread_id="t")) is None
        assert active_run(config(thread_id="other")) is None
        assert Request.of(config(thread_id="other")).user_id == "alice"
    finally:
        var_child_runnable_config.reset(token)
    assert active_run(config(thread_id="t")) is None


def test_a_context_that_is_no_run_says_nothing() -> None:
    """A chain of LangChain's around a graph is no run: whose it is the caller says."""
    token = var_child_runnable_config.set(config(user_id="alice", thread_id="t"))
    try:
        assert surroundings({}) == {}
        assert Request.of(config(thread_id="t")).user_id is None
    finally:
        var_child_runnable_config.reset(token)


def test_a_node_finds_the_run_of_a_thread_id_that_is_no_text() -> None:
    """LangGraph pins the run in a copy then, which the node does not see."""
    runtime = Runtime()
    run, _ = begun(**{RUNTIME_KEY: runtime})
    own = {"thread_id": run.thread_id, RUNTIME_KEY: runtime, TASK_KEY: "a"}
    assert run_of(own) is run
    assert run_of({**own, RUNTIME_KEY: Runtime()}) is None


def test_a_run_can_be_copied_with_its_config() -> None:
    """Nodes copy their configs, with all that is in them."""
    run, _ = begun()
    copied = copy.deepcopy(run)
    assert (copied.user_id, copied.thread_id) == ("alice", "t")


@pytest.mark.parametrize("runtime", [{}, {RUNTIME_KEY: None}, {RUNTIME_KEY: {"control": 1}}])
def test_who_names_a_task_and_the_thread_alone_finds_no_run(runtime: dict[str, Any]) -> None:
    """A run is found by LangGraph's control of it, which no client can say; else by none."""
    given = config(user_id="alice", thread_id="t", **{RUNTIME_KEY: object(), TASK_KEY: "a"})
    pin(given, ActiveRun.start(Request.of(given), session(), known=True))
    assert run_of({"thread_id": "t", TASK_KEY: "a", **runtime}) is None
