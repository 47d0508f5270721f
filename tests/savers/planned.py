"""The part of a saver that does no I/O, and runs that begin with it."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.base import SELECT_SQL as SELECT
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_sessions.runs.active import ActiveRun, active_run
from langgraph_sessions.runs.surroundings import RUNTIME_KEY
from langgraph_sessions.savers.plans import SaverPlans
from langgraph_sessions.sessions.base_manager import BaseManager
from tests.plans import Row, opened, play, session_row
from tests.support import config

METADATA: Any = {"source": "loop", "step": 1}


def factory(user_id: str) -> str:
    """Stand for `thread_id_factory`, which no case here asks."""
    raise AssertionError


class Saver(SaverPlans):
    """The part of a saver that does no I/O.

    Attributes:
        called: The threads for which the titler was called.
    """

    serde = JsonPlusSerializer()
    SELECT_SQL = SELECT

    def __init__(self, concurrent_runs: str = "reject", titler: Any = None) -> None:
        """Have a manager, and its cache."""
        self.called: list[str] = []
        self.manager = BaseManager(self.serde, factory, 10, 3600)
        self._set_up(self.manager, factory, titler, concurrent_runs)

    def _await_saves(self, saves: Any) -> None:
        raise AssertionError

    def _start_titler(self, titler: Any, thread_id: str) -> None:
        self.called.append(thread_id)


def runs(**configurable: Any) -> Any:
    """Return a run's config, as LangGraph gives it to the saver."""
    return config(**{RUNTIME_KEY: object(), "checkpoint_ns": "", **configurable})


def stored(checkpoint_id: str = "c1", **columns: Any) -> Row:
    """Return the columns of a checkpoint that opening a thread found."""
    return {
        "thread_id": "t",
        "checkpoint": {**empty_checkpoint(), "v": 4, "id": checkpoint_id},
        "checkpoint_ns": "",
        "checkpoint_id": checkpoint_id,
        "metadata": METADATA,
        **columns,
    }


def begin(saver: Saver, row: Row, **configurable: Any) -> tuple[Any, ActiveRun]:
    """Have a run of alice's begin on the thread of *row*; return its config, and the run."""
    given = runs(user_id="alice", **configurable)
    played = play(saver._get_tuple(given), [row])
    assert played.error is None
    run = active_run(given)
    assert run is not None
    return given, run


def within(given: Any, **more: Any) -> Any:
    """Return a config of the run that *given* is of."""
    return config(**{**given["configurable"], **more})


HERE = opened(session_row(last_save="other.1"), **stored())
