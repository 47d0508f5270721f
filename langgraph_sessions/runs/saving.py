"""Questions that save a checkpoint, or a task's writes, beside the session's row."""

from __future__ import annotations

import asyncio
import concurrent.futures
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, cast

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT

from langgraph_sessions.errors import ConcurrentRunError
from langgraph_sessions.plans import Composite, Plan, Statement
from langgraph_sessions.runs import parent
from langgraph_sessions.runs.active import IDLE, ActiveRun, for_storage, pin
from langgraph_sessions.runs.guarding import refusal, whole
from langgraph_sessions.runs.hearing import NULL_TASK, hear_checkpoint, hear_writes
from langgraph_sessions.sql.saving import (
    FindSaved,
    GuardThread,
    PutSession,
)

Row = Mapping[str, Any]
STOPPED: Final = (asyncio.CancelledError, concurrent.futures.CancelledError)


@dataclass(eq=False)  # Never changed; to freeze one takes as long as all else of it.
class Save(Composite):
    """What a user's run saves to its thread; the answer is `PutSession`'s, if that was sent.

    Attributes:
        run: The run.
        config: The config for LangGraph's method, settled on the run's thread.
        serde: How values are serialised.
        name: The save's name; `None` for one outside a run.
        session: The session's statement, as of when memory held the save; `None`: the run makes
            it when the save is sent.
        base: The root checkpoint from which the run went on then; see `Claim`.
        checkpoint_ns: A subgraph's namespace; `""` for the root graph.
    """

    run: ActiveRun
    config: RunnableConfig
    serde: SerializerProtocol
    name: str | None
    session: PutSession | None = field(default=None, kw_only=True)
    base: str | None = field(default=None, kw_only=True)
    checkpoint_ns: str = field(init=False)

    def __post_init__(self) -> None:
        """Note the namespace, which is often asked for."""
        namespace = self.config["configurable"].get("checkpoint_ns")
        self.checkpoint_ns = str(namespace or "")

    @abstractmethod
    def put_session(self) -> PutSession:
        """Return the statement that saves the session beside it."""

    @abstractmethod
    def guard_thread(self) -> GuardThread | None:
        """Return the statement that saves without touching the session, where that will do."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many rows LangGraph saves at most."""

    @abstractmethod
    def saved(self) -> list[Statement]:
        """Return LangGraph's statements."""

    def plan(self) -> Plan[Row | None]:
        """Save it in one round trip.

        Raises:
            SessionNotFoundError: The thread is another user's, or the session is gone.
            ConcurrentRunError: Another run saved to the thread since this one loaded it.
        """
        guard = self.session or self.guard_thread() or self.put_session()
        try:
            rows = yield whole(guard, self.saved())
        except psycopg.Error as error:
            refused = refusal(error, guard)
        else:
            return rows[0] if guard.returns_rows else None
        return (yield from self._unless_made(refused))

    def _unless_made(self, refused: Exception) -> Plan[Row | None]:
        """Raise *refused*; for a save that was made in another try, return its session's row."""
        raise refused
        yield  # Nothing is asked.


@dataclass(eq=False)
class SaveCheckpoint(Save):
    """Save a checkpoint.

    Attributes:
        checkpoint: The checkpoint.
        metadata: What LangGraph says of it.
        new_versions: The channels that are new since the parent checkpoint.
    """

    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    new_versions: ChannelVersions
    _own: str | None = field(init=False)  # Its id; of a subgraph's, `None`.

    def __post_init__(self) -> None:
        """Note what is often asked for."""
        super().__post_init__()
        self._own = None if self.checkpoint_ns else self.checkpoint["id"]

    @classmethod
    def of(
        cls,
        run: ActiveRun,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        serde: SerializerProtocol,
    ) -> SaveCheckpoint:
        """Note what the run is about to save.

        Raises:
            ConcurrentRunError: As `Claim.take`.
        """
        stored, name = for_storage(config, run), run.claim.next_name()
        save = cls(run, stored, serde, name, checkpoint, metadata, new_versions)
        if save._own is not None:
            run.claim.take(save._own)
            hear_checkpoint(run, config, checkpoint, metadata)
        return save

    def put_session(self) -> PutSession:
        """As `Save.put_session`."""
        first = not self.run.saved
        asked = self._overtaken_by()
        return self.run.put(self.name, first=first, own=self._own, idle=not self._waits, **asked)

    @property
    def _waits(self) -> bool:
        """Whether the session may wait for something: a new checkpoint ends what it waited for.

        Or what was asked on it may be saved already: writes do not wait for the saves before them.
        """
        run = self.run
        return run.status != IDLE or (self._own is not None and run.asked_on == self._own)

    def guard_thread(self) -> GuardThread | None:
        """As `Save.guard_thread`."""
        run = self.run
        if not run.saved or run.is_untitled or self._waits:
            return None
        return run.guard(self.name)

    def saved(self) -> list[Statement]:
        """As `Save.saved`."""
        saver = parent.Parent(self.serde)
        saver.put(self.config, self.checkpoint, self.metadata, self.new_versions)
        if self.session or not self.run.unsaved:  # What was held is written as it was then.
            return saver.executed
        waited = chain.from_iterable(wrote.saved() for wrote in self.waiting)
        return [*waited, *saver.executed]

    @property
    def rows(self) -> int:
        """As `Save.rows`."""
        return len(self.new_versions) + 1

    def _overtaken_by(self) -> Mapping[str, Any]:
        """Return a question, or else an error, of this checkpoint's that is saved with it."""
        for channel in (INTERRUPT, ERROR):
            for wrote in self.waiting:
                if channel in wrote.channels and wrote.checkpoint_id == self._own:
                    return {"task": wrote.task_id, "channels": wrote.channels}
        return {}

    @property
    def waiting(self) -> Sequence[SaveWrites]:
        """What its run wrote that waits for it."""
        waiting: Sequence[Any] = self.run.unsaved
        return waiting

    def _unless_made(self, refused: Exception) -> Plan[Row | None]:
        """As `Save._unless_made`."""
        if isinstance(refused, ConcurrentRunError):
            # The other save may be this one: a connection may have broken after it was made.
            for row in (yield self._find_saved()):
                return cast(Row, row)
            self.run.claim.overtaken = True
        raise refused

    def _find_saved(self) -> FindSaved:
        thread_id = self.config["configurable"]["thread_id"]
        return FindSaved(self.run.user_id, thread_id, self.checkpoint_ns, self.checkpoint["id"])

    def done(self, row: Row | None) -> None:
        """Note that it is saved, and what its session's *row* says."""
        self.run.claim.saved(self.name, self._own)
        self.run.saved = True
        if row is not None:
            self.run.note_saved(row)

    @property
    def saved_config(self) -> RunnableConfig:
        """The result of `put`: a config with the user, so that it can be used to run again."""
        return {
            "configurable": {
                "user_id": self.run.user_id,
                "thread_id": self.run.thread_id,
                "checkpoint_ns": self.checkpoint_ns,
                "checkpoint_id": self.checkpoint["id"],
            }
        }


@dataclass(eq=False)
class SaveWrites(Save):
    """Save what a task wrote.

    Attributes:
        writes: Channels and values.
        task_id: The task.
        task_path: Where it is in the graph.
        is_stop: Whether it says that the run was stopped in the task. LangGraph saves that after
            all else, when the next run may have begun: it is to disturb nobody, and is as much as
            to say that nothing is under way.
        channels: What it wrote to; nothing of a stop, for which nobody waits.
        waits: Whether it is a question, or an error.
    """

    writes: Sequence[tuple[str, Any]]
    task_id: str
    task_path: str
    is_stop: bool = field(init=False)
    channels: Sequence[str] = field(init=False)
    waits: bool = field(init=False)

    def __post_init__(self) -> None:
        """Note what is often asked for."""
        super().__post_init__()
        channels = tuple([channel for channel, _ in self.writes])
        is_stop = self.is_stop = ERROR in channels and _is_stop(self.writes)
        self.channels = () if is_stop else channels
        self.waits = not is_stop and (INTERRUPT in channels or ERROR in channels)

    @classmethod
    def of(
        cls,
        run: ActiveRun,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
        serde: SerializerProtocol,
    ) -> SaveWrites:
        """Note what a task of the run wrote, and look for words in it.

        Raises:
            ConcurrentRunError: It was raised before: the run is over.
        """
        wrote = cls(run, pin(config, run), serde, None, writes, task_id, task_path)
        if wrote.is_stop:
            return wrote
        wrote.name = run.claim.next_name()
        run.claim.refuse_if_overtaken()
        if not wrote.checkpoint_ns:
            hear_writes(run, config, writes, task_id)
            if wrote.waits:
                run.asked_on = wrote.checkpoint_id
        return wrote

    @property
    def rows(self) -> int:
        """As `Save.rows`."""
        return len(self.writes)

    @property
    def checkpoint_id(self) -> str:
        """The checkpoint that the task is of."""
        return str(self.config["configurable"]["checkpoint_id"])

    def put_session(self) -> PutSession:
        """As `Save.put_session`."""
        if self.checkpoint_ns:
            return self.run.put(self.name, first=False)
        return self.run.put(
            self.name,
            first=False,
            own=self.checkpoint_id,
            task=self.task_id,
            channels=self.channels,
        )

    def guard_thread(self) -> GuardThread | None:
        """As `Save.guard_thread`: a question, or an error, is what a session waits for.

        So is a title in a `Command`, or an update: no checkpoint of this run's may follow.

        Other runs need not notice outputs: the next checkpoint is checked, and has them.
        """
        run = self.run
        if self.is_stop:
            return run.guard(None)
        waits = self.waits
        answers = run.status != IDLE and not run.claim.advanced
        titles = run.is_untitled and (self.task_id == NULL_TASK or not run.is_named)
        if not run.claim.is_made or (not self.checkpoint_ns and (waits or answers or titles)):
            return None
        return run.guard(self.name, named=waits)

    def saved(self) -> list[Statement]:
        """As `Save.saved`."""
        saver = parent.Parent(self.serde)
        saver.put_writes(self.config, self.writes, self.task_id, self.task_path)
        return saver.executed

    def plan(self) -> Plan[Row | None]:
        """As `Save.plan`; where the session is yet to be made, they wait for what makes it."""
        return super().plan() if self.run.known or self.session else self._wait()

    def _wait(self) -> Plan[None]:
        self.run.unsaved.append(self)
        return
        yield  # Nothing is asked.

    def done(self, row: Row | None) -> None:
        """Note that they are saved, and look for a model's answer in them; as `SaveCheckpoint`."""
        if row is not None:
            self.run.claim.saved(self.name, None)
        if not self.checkpoint_ns:
            self.run.words.in_saved_writes(self.writes, self.checkpoint_id)
        if row is not None:
            self.run.note_saved(row)


def _is_stop(writes: Sequence[tuple[str, Any]]) -> bool:
    return any(channel == ERROR and isinstance(value, STOPPED) for channel, value in writes)
