"""Questions that save a checkpoint, or a task's writes, beside the session's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions.errors import ConcurrentRunError, SessionNotFoundError
from langgraph_sessions.models import Session
from langgraph_sessions.plans import Batch, Composite, Plan
from langgraph_sessions.runs import parent
from langgraph_sessions.runs.active import ActiveRun, for_storage, pin
from langgraph_sessions.sql.functions import CONFLICT, NOT_FOUND
from langgraph_sessions.sql.saving import FindSaved, GuardThread, PutSession


@dataclass(frozen=True)
class SaveCheckpoint(Composite):
    """Save a checkpoint of a user's run beside its session; the answer is the session's row.

    Attributes:
        run: The run.
        config: The config for LangGraph's `put`: the parent checkpoint, the thread, the metadata.
        checkpoint: The checkpoint.
        metadata: What LangGraph says of it.
        new_versions: The channels that are new since the parent checkpoint.
        serde: How values are serialised.
        name: The save's name; `None` for one outside a run.
        session: The session's statement, as of when memory held the save; `None`: the run makes
            it when the save is sent.
        base: The root checkpoint from which the run went on then; see `Claim`.
    """

    run: ActiveRun
    config: RunnableConfig
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    new_versions: ChannelVersions
    serde: SerializerProtocol
    name: str | None
    session: PutSession | None = None
    base: str | None = None

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
        save = cls(run, stored, checkpoint, metadata, new_versions, serde, name)
        if not save.checkpoint_ns:
            run.claim.take(checkpoint["id"])
            run.words.in_checkpoint(checkpoint)
        return save

    @property
    def checkpoint_ns(self) -> str:
        """A subgraph's namespace; `""` for the root graph."""
        return namespace(self.config)

    def put_session(self) -> PutSession:
        """Return the statement that saves the session."""
        return self.session or self.run.put(self.name, self.checkpoint["id"])

    def plan(self) -> Plan[Mapping[str, Any]]:
        """Save it in one round trip.

        Raises:
            SessionNotFoundError: The thread is another user's, or the session is gone.
            ConcurrentRunError: Another run saved to the session since this one loaded it.
        """
        saved = parent.saving(
            self.serde,
            lambda saver: saver.put(self.config, self.checkpoint, self.metadata, self.new_versions),
        )
        try:
            (row,) = yield from guarded([*saved, self.put_session()])
        except ConcurrentRunError:
            # The other save may be this one: a connection may have broken after it was made.
            for row in (yield self._find_saved()):
                return cast(Mapping[str, Any], row)
            self.run.claim.overtaken = True
            raise
        return row

    def _find_saved(self) -> FindSaved:
        thread_id = self.config["configurable"]["thread_id"]
        return FindSaved(self.run.user_id, thread_id, self.checkpoint_ns, self.checkpoint["id"])

    def done(self, row: Mapping[str, Any]) -> Session:
        """Note that it is saved, with the session's *row*; return the session."""
        self.run.claim.saved(self.name, None if self.checkpoint_ns else self.checkpoint["id"])
        return self.run.note_saved(row)

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


@dataclass(frozen=True)
class SaveWrites(Composite):
    """Save what a task of a user's run wrote.

    Attributes:
        run: The run.
        config: The checkpoint whose task it was.
        writes: Channels and values.
        task_id: The task.
        task_path: Where it is in the graph.
        serde: How values are serialised.
        name: As in `SaveCheckpoint`.
        session: The guard of the session, as in `SaveCheckpoint`.
        base: As in `SaveCheckpoint`.
    """

    run: ActiveRun
    config: RunnableConfig
    writes: Sequence[tuple[str, Any]]
    task_id: str
    task_path: str
    serde: SerializerProtocol
    name: str | None
    session: GuardThread | None = None
    base: str | None = None

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
        run.claim.refuse_if_overtaken()
        stored, name = pin(config, run), run.claim.next_name()
        wrote = cls(run, stored, writes, task_id, task_path, serde, name)
        if not wrote.checkpoint_ns:
            run.words.in_writes(writes)
        return wrote

    @property
    def checkpoint_ns(self) -> str:
        """As in `SaveCheckpoint`."""
        return namespace(self.config)

    def guard_thread(self) -> GuardThread:
        """Return the guard: it refuses writes if the thread is not the run's, or was overtaken."""
        return self.session or self.run.guard(self.name)

    def plan(self) -> Plan[None]:
        """Save them in one round trip. Raises as `SaveCheckpoint.plan`."""
        saved = parent.saving(
            self.serde,
            lambda saver: saver.put_writes(self.config, self.writes, self.task_id, self.task_path),
        )
        yield from guarded([*saved, self.guard_thread()])

    def done(self) -> None:
        """Note that they are saved, and look for a model's answer in them."""
        self.run.claim.saved(self.name, None)
        if not self.checkpoint_ns:
            checkpoint_id = self.config["configurable"]["checkpoint_id"]
            self.run.words.in_saved_writes(self.writes, checkpoint_id)


Saved = SaveCheckpoint | SaveWrites


def guarded(statements: Sequence[Any]) -> Plan[list[Mapping[str, Any]]]:
    """Send *statements*, the last of which is the guard; return its rows.

    Raises:
        SessionNotFoundError: The thread is not that user's; nothing was saved.
        ConcurrentRunError: Another run saved to it meanwhile; nothing was saved.
    """
    guard: GuardThread = statements[-1]
    try:
        rows: list[Mapping[str, Any]] = yield Batch(statements)
    except psycopg.Error as error:
        raise refusal(error, guard) from None
    return rows


def refusal(error: psycopg.Error, guard: GuardThread) -> Exception:
    """Return our error for what *guard* refused; any other *error* as it is."""
    if error.sqlstate == NOT_FOUND:
        return SessionNotFoundError(guard.user_id, guard.thread_id)
    if error.sqlstate == CONFLICT:
        return ConcurrentRunError(guard.thread_id)
    return error


def namespace(config: RunnableConfig) -> str:
    """Return the namespace of *config*: a subgraph's; `""` for the root graph."""
    return str(config["configurable"].get("checkpoint_ns") or "")


# --- Without a user ----------------------------------------------------------------------------


@dataclass(frozen=True)
class SavePlain(Composite):
    """Save a checkpoint, or writes, of a run without a user; refused on a user's thread.

    Attributes:
        config: The first argument of LangGraph's method.
        arguments: Its other arguments.
        serde: How values are serialised.
    """

    config: RunnableConfig
    arguments: tuple[Any, ...]
    serde: SerializerProtocol

    @property
    def holdable(self) -> bool:
        """Memory may not answer it: it has no user."""
        return False

    def plan(self) -> Plan[None]:
        """Save it in one round trip.

        Raises:
            SessionNotFoundError: The thread is a user's.
        """
        thread_id = self.config["configurable"]["thread_id"]
        saved = parent.saving(self.serde, self._save)
        yield from guarded([*saved, GuardThread(user_id=None, thread_id=thread_id)])

    def _save(self, saver: parent.Parent) -> None:
        raise NotImplementedError


class SavePlainCheckpoint(SavePlain):
    """Save a checkpoint of a run without a user."""

    def _save(self, saver: parent.Parent) -> None:
        saver.put(self.config, *self.arguments)


class SavePlainWrites(SavePlain):
    """Save a task's writes of a run without a user."""

    def _save(self, saver: parent.Parent) -> None:
        saver.put_writes(self.config, *self.arguments)
