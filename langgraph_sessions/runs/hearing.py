"""Which of a run's saves hold what it was given: a session is titled by that alone.

Not by what its nodes say: their prompts and examples are human messages, too, and graphs that they
call on the run's thread have inputs of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata

from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.surroundings import TASK_KEY, progress_of
from langgraph_sessions.titles import from_words

# LangGraph's: when a run saves, and the task of what a `Command` writes at its beginning.
DURABILITY_KEY: Final = "__pregel_durability"
NULL_TASK: Final = "00000000-0000-0000-0000-000000000000"


def hear_checkpoint(
    run: ActiveRun, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
) -> None:
    """Look for words in a root *checkpoint* of the run's, which is about to be saved."""
    words, configurable = run.words, config["configurable"]
    if not (words.awaits_answer or words.are_awaited):
        return
    values = from_words.values_of(checkpoint)
    words.in_values(values, checkpoint["id"])
    if not words.are_awaited or not _is_own(run, configurable):
        return
    if metadata.get("source") == "input":
        given = values.get(from_words.INPUT_CHANNEL, values)
        words.title = from_words.from_input(given)
        words.before = {key: values.get(key) for key in from_words.state_in(given)}
    elif words.before is not None:
        # Of the next one no node has written a word: the input's are messages there.
        words.hear(from_words.from_added(values, words.before))
    elif _is_outcome(configurable) or _is_first_update(run, configurable):
        words.title = from_words.from_checkpoint(values)


def hear_writes(
    run: ActiveRun, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str
) -> None:
    """Look for words in a root task's *writes*: those of a `Command`, and of an update.

    Under `durability="exit"` a `DeltaChannel`'s are nowhere else.
    """
    configurable = config["configurable"]
    if not run.words.are_awaited or not _is_own(run, configurable):
        return
    if task_id == NULL_TASK:
        run.words.hear(from_words.from_values(writes))
    elif not run.is_named or _is_outcome(configurable):
        run.words.title = from_words.from_values(writes)


def _is_own(run: ActiveRun, configurable: Mapping[str, Any]) -> bool:
    """Say whether the run's own graph saves, not one that is called inside it on its thread."""
    if run.progress is None:
        return True
    return TASK_KEY not in configurable and progress_of(configurable) is run.progress


def _is_outcome(configurable: Mapping[str, Any]) -> bool:
    """Say whether all is saved at the end of the run, what it was given not by itself."""
    return configurable.get(DURABILITY_KEY) == "exit"


def _is_first_update(run: ActiveRun, configurable: Mapping[str, Any]) -> bool:
    """Say whether an application's update, which is no run, begins the thread: it is all of it."""
    return not run.is_named and not configurable.get("checkpoint_id")
