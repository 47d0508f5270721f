"""What a run is refused when it begins: a checkpoint that is not there, an answer to nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from langgraph.checkpoint.base import CheckpointTuple, PendingWrite
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from langgraph_sessions.errors import (
    NotInterruptedError,
    SessionError,
    SessionNotFoundError,
    SessionsUnavailableError,
)
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.request import Request

# LangGraph looks here for whether the ids of answers are to be checked: when a run's input is an
# answer, `Command(resume=…)`, and only then; before it writes anything, whatever the durability.
# Nothing else tells a saver in time: an answer is written beside the first nodes, one that names
# its question not at all, and under durability="exit" none is.
STRICT_KEY: Final = "__pregel_strict_resume"
_CONTROL: Final = frozenset((ERROR, INTERRUPT, RESUME, "__error_source_node__"))


class Unanswerable:
    """Stands where LangGraph looks when it is given an answer, and raises *error* then.

    Graphs that the run calls inherit it with the rest; `taken_out` leaves what was *given* there.
    """

    __slots__ = ("error", "given")

    def __init__(self, error: Callable[[], SessionError], given: object) -> None:
        """Raise *error* for an answer; it is made then, since few runs are given one."""
        self.error, self.given = error, given

    def __bool__(self) -> bool:
        """Refuse the answer."""
        raise self.error()

    @staticmethod
    def taken_out(configurable: dict[str, Any]) -> object:
        """Return what stands in *configurable* without any of these."""
        given = configurable.get(STRICT_KEY)
        if isinstance(given, Unanswerable):
            configurable[STRICT_KEY] = given = given.given
        return given


def refuse(
    run: ActiveRun,
    request: Request,
    configurable: dict[str, Any],
    found: CheckpointTuple | None,
    *,
    held: bool,
) -> None:
    """Refuse a checkpoint that is not there; have LangGraph refuse an answer to nothing.

    Args:
        run: The run that begins.
        request: What it asked for.
        configurable: Its own, settled on its thread.
        found: The checkpoint from which it starts.
        held: Whether memory answered: the database may know more.

    Raises:
        SessionNotFoundError: The session does not have the checkpoint that was asked for.
        SessionsUnavailableError: Only the database knows whether the current one has it.
    """
    given = Unanswerable.taken_out(configurable)
    if request.checkpoint_ns:
        return
    elsewhere = held and request.thread_id is None
    if found is None and request.checkpoint_id is not None:
        if elsewhere:
            raise _away("the checkpoint")
        raise SessionNotFoundError(run.user_id, request.thread_id, request.checkpoint_id)
    if request.thread_id is not None:
        return
    waiting = questions(found.pending_writes or () if found else ())
    if not waiting:
        nothing = partial(NotInterruptedError, run.user_id, run.thread_id)
        error = partial(_away, "the question") if elsewhere else nothing
        configurable[STRICT_KEY] = Unanswerable(error, given)
    elif waiting == 1:
        # LangGraph then refuses an answer that names another question. Not with several, where
        # it would raise another error than it does for an answer that names none.
        configurable[STRICT_KEY] = True


def questions(pending: Sequence[PendingWrite]) -> int:
    """Return how many questions wait for an answer: those of tasks that wrote no output."""
    finished = {task for task, channel, _ in pending if channel not in _CONTROL}
    asked = (
        value for task, channel, value in pending if channel == INTERRUPT and task not in finished
    )
    return sum(len(value) if isinstance(value, Sequence) else 1 for value in asked)


def _away(what: str) -> SessionsUnavailableError:
    return SessionsUnavailableError(f"the database is away, and {what} may be in it")
