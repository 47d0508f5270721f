"""What both savers decide about a checkpoint, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint

from langgraph_sessions import _sql, _titles, _titling
from langgraph_sessions._drive import Fetch
from langgraph_sessions._opening import Opened
from langgraph_sessions._run import ActiveRun, Request, active_run

DELETE_STRATEGIES = ("delete", "delete_all")  # the parent's word, and the Agent Server's


def is_before_v4(head: Mapping[str, Any]) -> bool:
    """Say whether a checkpoint keeps its pending sends with its parent, which is read then."""
    return bool(head["checkpoint"]["v"] < 4 and head["parent_checkpoint_id"])


def continued(opened: Opened, config: RunnableConfig, request: Request) -> Opened:
    """Keep to the run that *config* is part of, unless it says something new of the session."""
    run = active_run(config)
    return opened._replace(run=run) if run is not None and not request.instructs else opened


def put(run: ActiveRun, config: RunnableConfig, checkpoint: Checkpoint) -> Fetch:
    """Return the statement that saves the session beside *checkpoint*."""
    if not config["configurable"].get("checkpoint_ns"):
        _note_checkpoint(run, checkpoint)
    return Fetch(_sql.PUT_SESSION, run.put_params())


def _note_checkpoint(run: ActiveRun, checkpoint: Checkpoint) -> None:
    """Look for words in the root graph's *checkpoint*; a subgraph's prompts are its own."""
    values = _titles.values_of(checkpoint)
    if run.untitled and run.message_title is None:
        run.message_title = _titles.from_checkpoint(values)
    if run.unasked and run.answered is None and _titling.is_answered(values):
        run.answered = checkpoint["id"]


def note_writes(run: ActiveRun, config: RunnableConfig, writes: Sequence[tuple[str, Any]]) -> None:
    """Look for words in *writes*: a `DeltaChannel`'s messages may be in no checkpoint."""
    if config["configurable"].get("checkpoint_ns"):
        return
    if run.untitled and run.message_title is None:
        run.message_title = _titles.from_values(writes)


def note_answer(run: ActiveRun, config: RunnableConfig, writes: Sequence[tuple[str, Any]]) -> None:
    """Look for a model's answer in the root graph's *writes*, which are saved."""
    configurable = config["configurable"]
    if run.unasked and run.answered is None and not configurable.get("checkpoint_ns"):
        run.answered = configurable["checkpoint_id"] if _titling.is_answered(writes) else None


def with_user(config: RunnableConfig, run: ActiveRun) -> RunnableConfig:
    """Return *config*, what `put` returned, so that it can be used to run again."""
    configurable = {**config["configurable"], "user_id": run.user_id}
    return cast(RunnableConfig, {**config, "configurable": configurable})


def deletes(thread_ids: Sequence[str], strategy: str) -> bool:
    """Say whether a prune deletes whole threads.

    Raises:
        TypeError: *thread_ids* is a single string.
    """
    if isinstance(thread_ids, str):
        raise TypeError("thread_ids must be a sequence of thread ids, not a str")
    return strategy in DELETE_STRATEGIES


def wants_title(run: ActiveRun, config: RunnableConfig, checkpoint: Checkpoint) -> bool:
    """Say, once in a run, whether it is time for the titler: after the first answer.

    That is when the root graph's checkpoint that has it, or a later one, is saved: writes are
    saved beside checkpoints, and may overtake them.
    """
    if config["configurable"].get("checkpoint_ns") or not run.unasked:
        return False
    if run.answered is None or checkpoint["id"] < run.answered:
        return False
    run.unasked = False
    return True
