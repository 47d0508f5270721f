"""What runs are about to save."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_sessions.plans import Call, Done, Plan, called, proceed
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.saving import SaveCheckpoint, SaveWrites
from langgraph_sessions.runs.underway import UnderWay
from tests.plans import session, session_row
from tests.support import config

T = TypeVar("T")
SERDE = JsonPlusSerializer()
METADATA: Any = {"source": "loop", "step": 1, "parents": {}}


def running() -> ActiveRun:
    """Return a run of alice's, under way on her session, that notices others."""
    run = ActiveRun.start(Request.of(config(user_id="alice")), session(), known=True)
    run.claim.start("", addressed=False, checked=True)
    return run


def made(**columns: Any) -> ActiveRun:
    """Return such a run that has saved a checkpoint, whose row has these *columns*."""
    run = running()
    save(run, checkpoint("c0")).done(session_row(**columns))
    return run


def new() -> ActiveRun:
    """Return such a run whose session is yet to be made."""
    run = running()
    run.known = False
    return run


def place(run: ActiveRun | None = None, **more: Any) -> Any:
    """Return the config of a save to the thread."""
    user = {} if run is None else {"user_id": run.user_id}
    return config(**{**user, "thread_id": "t", "checkpoint_ns": "", **more})


def checkpoint(checkpoint_id: str = "c1", **values: Any) -> Checkpoint:
    """Return a checkpoint of these values, all of them new."""
    versions: dict[str, str | int | float] = dict.fromkeys(values, "1")
    return {
        **empty_checkpoint(),
        "id": checkpoint_id,
        "channel_values": values,
        "channel_versions": versions,
    }


def save(run: ActiveRun, saved: Checkpoint, *, source: str = "loop", **more: Any) -> SaveCheckpoint:
    """Return what *run* is about to save."""
    metadata: Any = {**METADATA, "source": source}
    return SaveCheckpoint.of(
        run, place(run, **more), saved, metadata, saved["channel_versions"], SERDE
    )


def given(*messages: Any, checkpoint_id: str = "c1") -> Checkpoint:
    """Return the checkpoint of a graph's input."""
    return checkpoint(checkpoint_id, __start__={"messages": [*messages]})


def wrote(run: ActiveRun, *writes: tuple[str, Any], task: str = "task", **more: Any) -> SaveWrites:
    """Return what a task of *run* is about to write to the checkpoint c1."""
    return SaveWrites.of(run, place(run, checkpoint_id="c1", **more), writes, task, "", SERDE)


def carried_out(plan: Plan[T]) -> T:
    """Carry out a plan of calls."""
    step = proceed(plan)
    while isinstance(step, Call):
        step = proceed(plan, step())
    assert isinstance(step, Done)
    result: T = step.value
    return result


async def acarried_out(plan: Plan[T]) -> T:
    """Carry out a plan of calls that are awaited."""
    step = proceed(plan)
    while isinstance(step, Call):
        step = proceed(plan, await step())
    assert isinstance(step, Done)
    result: T = step.value
    return result


def save_in(under_way: UnderWay, given: RunnableConfig, save: Callable[[], T]) -> T:
    """Have *save* called in its turn."""
    return under_way.save(given, called(save), carried_out)


async def asave_in(under_way: UnderWay, given: RunnableConfig, save: Callable[[], Any]) -> Any:
    """Have *save* called in its turn, and awaited."""
    return await under_way.asave(given, called(save), acarried_out)
