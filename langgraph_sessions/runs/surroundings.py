"""The run inside which a graph is called, and where in a run a config stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakValueDictionary

from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.serde.types import RESUME

# LangGraph keeps keys with this prefix out of stream events, and those that begin with two
# underscores out of checkpoint metadata. Subgraphs inherit it with the rest.
RUN_KEY: Final = "__pregel_langgraph_sessions_run"
PROGRESS_KEY: Final = "__pregel_langgraph_sessions_progress"
# LangGraph puts its runtime into the configurable of runs only, and that one is the run's
# own copy: a configurable without it may be the caller's own dict.
RUNTIME_KEY: Final = "__pregel_runtime"
# The task for which a config was made; a root graph's own has none.
TASK_KEY: Final = "__pregel_task_id"

# Of a thread id that is no `str` LangGraph makes one, in a copy of the configurable: what is put
# there does not reach the nodes. What a run and all in it have in common is LangGraph's control of
# it; it lives as long as the run, and so does an entry here.
_PINNED: Final[WeakValueDictionary[tuple[str, int, str], Any]] = WeakValueDictionary()


class Run:
    """A run on a thread, as far as a request asks; `ActiveRun` is the one."""

    __slots__ = ()

    @property
    def user_id(self) -> str:
        """The run's user."""
        raise NotImplementedError

    @property
    def thread_id(self) -> str:
        """The thread to which it saves."""
        raise NotImplementedError

    @property
    def agent(self) -> str | None:
        """The agent of its session; `None` for none."""
        raise NotImplementedError


def pin_run(configurable: dict[str, Any], run: Run, progress: Progress) -> None:
    """Put *run*, and the *progress* of its graph, where `run_of` and `progress_of` find them."""
    for key, value in ((RUN_KEY, run), (PROGRESS_KEY, progress)):
        configurable[key] = value
        if RUNTIME_KEY in configurable:
            place = _place(key, configurable)
            if (
                place is not None and _PINNED.get(place) is not value
            ):  # It is put there once, and asked for often.
                _PINNED[place] = value


def run_of(configurable: Mapping[str, Any]) -> Run | None:
    """Return the run in *configurable*; what a client put there is none."""
    run = configurable.get(RUN_KEY) or _pinned(RUN_KEY, configurable)
    return run if isinstance(run, Run) else None


def progress_of(configurable: Mapping[str, Any]) -> Progress | None:
    """Return how far the run in *configurable* has come."""
    progress = configurable.get(PROGRESS_KEY) or _pinned(PROGRESS_KEY, configurable)
    return progress if isinstance(progress, Progress) else None


def _pinned(key: str, configurable: Mapping[str, Any]) -> object:
    """Return what is pinned for a *configurable* that is a copy."""
    place = _place(key, configurable) if TASK_KEY in configurable else None
    return None if place is None else _PINNED.get(place)


def _place(key: str, configurable: Mapping[str, Any]) -> tuple[str, int, str] | None:
    """Return where *key* is pinned; `None` without a run's control, which nothing else shares."""
    control = getattr(configurable.get(RUNTIME_KEY), "control", None)
    return None if control is None else (key, id(control), str(configurable.get("thread_id")))


def surroundings(configurable: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configurable of the run that *configurable* is part of, or is used inside.

    A graph that a node calls inherits its run's, all of it or nothing: LangGraph leaves out
    the user and the rest as soon as a thread, namespace or checkpoint is given. LangChain
    still has it, in a context variable. Outside of any run it is empty.
    """
    if run_of(configurable) is not None:
        return configurable
    around: Mapping[str, Any] = (var_child_runnable_config.get() or {}).get("configurable") or {}
    return around if RUNTIME_KEY in around else {}


@dataclass(slots=True, eq=False, weakref_slot=True)
class Progress:
    """How far a graph's run has come, by what it saved: LangGraph tells a saver of no run's end.

    It is told the run's own saves alone, not those of what is called inside it.

    Attributes:
        reached: The newest root checkpoint; `""` for none.
    """

    reached: str = ""
    _ended: dict[str, str] = field(default_factory=dict)

    def note_checkpoint(self, configurable: Mapping[str, Any], checkpoint_id: str) -> None:
        """Note a checkpoint; with one of the root graph, all tasks before it have ended."""
        if not configurable.get("checkpoint_ns") and TASK_KEY not in configurable:
            self.reached = max(self.reached, checkpoint_id)
            if self._ended:
                ended = self._ended.copy().items()
                self._ended = {task: of for task, of in ended if of >= self.reached}

    def note_writes(
        self, configurable: Mapping[str, Any], writes: Sequence[tuple[str, Any]], task_id: str
    ) -> None:
        """Note what a task wrote, which LangGraph saves when the task has ended.

        Only the answers to its questions are saved when it begins.
        """
        if any(channel != RESUME for channel, _ in writes):
            root = _root_checkpoint(configurable) or configurable.get("checkpoint_id")
            self._ended[task_id] = str(root or "")

    def has_left(self, checkpoint_id: str, tasks: Collection[str]) -> bool:
        """Whether *tasks* of this root checkpoint, or one of them, have ended."""
        return checkpoint_id < self.reached or any(task in self._ended for task in tasks)


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a run a config stands.

    Attributes:
        run: The run; `None` for one of nobody, or of another saver.
        progress: How far it has come; `None` if nothing is known of that.
        checkpoint_id: The root checkpoint to whose tasks it belongs; `""` for the root graph's.
        tasks: The ids of its task, and of the tasks around that.
    """

    run: Run | None
    progress: Progress | None
    checkpoint_id: str
    tasks: frozenset[str]

    @classmethod
    def of(cls, configurable: Mapping[str, Any]) -> Position:
        """Return the position of a run's *configurable*."""
        names = str(configurable.get("checkpoint_ns") or "").split("|")
        tasks = {configurable.get(TASK_KEY), *(name.partition(":")[2] for name in names)}
        return cls(
            run_of(configurable),
            progress_of(configurable),
            _root_checkpoint(configurable),
            frozenset(task for task in tasks if task),
        )

    @property
    def is_past(self) -> bool:
        """Whether the run has left it behind: a config that is used there was kept."""
        if self.progress is None or not self.checkpoint_id:
            return False
        return self.progress.has_left(self.checkpoint_id, self.tasks)


def _root_checkpoint(configurable: Mapping[str, Any]) -> str:
    checkpoints = configurable.get("checkpoint_map")
    if checkpoints is None:
        return ""
    return str(checkpoints.get("", "")) if isinstance(checkpoints, dict | Mapping) else ""
