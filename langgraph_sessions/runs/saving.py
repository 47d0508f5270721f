"""What both savers decide about a checkpoint, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from psycopg.rows import DictRow

from langgraph_sessions.models import Session
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.runs.active import ActiveRun, active_run, for_storage, pin
from langgraph_sessions.runs.opening import Opened
from langgraph_sessions.runs.request import RUNTIME_KEY, Request
from langgraph_sessions.sql import statements
from langgraph_sessions.titles import by_model, from_words

CONCURRENT_RUNS = ("reject", "allow")
DELETE_STRATEGIES = ("delete", "delete_all")  # the parent's word, and the Agent Server's


def is_before_v4(head: Mapping[str, Any]) -> bool:
    """Say whether a checkpoint keeps its pending sends with its parent, which is read then."""
    return bool(head["checkpoint"]["v"] < 4 and head["parent_checkpoint_id"])


def continued(opened: Opened, config: RunnableConfig, request: Request) -> Opened:
    """Keep to the run that *config* is part of, unless it says something new of the session."""
    run = active_run(config)
    return opened._replace(run=run) if run is not None and not request.instructs else opened


def start(opened: Opened, config: RunnableConfig, request: Request, concurrent_runs: str) -> None:
    """Have other runs notice the one that starts with *opened*, and it notice them if it should.

    A root graph's run, that is: subgraphs are part of it, and who only reads, or updates a
    state, says which checkpoint it is about.
    """
    run, head = opened
    if run is None or run.token or request.checkpoint_ns:
        return  # Nobody's, or under way.
    if RUNTIME_KEY in config["configurable"]:
        newest = "" if head is None else head["checkpoint_id"]
        addressed = request.checkpoint_id is not None
        run.starts_at(newest, addressed=addressed, checked=concurrent_runs == "reject")


@dataclass(frozen=True, slots=True)
class Save:
    """A checkpoint of a user's run, to be saved beside its session.

    Attributes:
        run: The run.
        config: What the parent's `put` is given: the parent checkpoint, the thread, the metadata.
        checkpoint: The checkpoint.
        metadata: What LangGraph says of it.
        new_versions: The channels that are new since the parent checkpoint.
        name: What it is called in `last_save`.
        held: The parameters of its session's statement, if it was held while the database
            was away; else they are the run's.
    """

    run: ActiveRun
    config: RunnableConfig
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    new_versions: ChannelVersions
    name: str | None
    held: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        run: ActiveRun,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Save:
        """Take note of what the run is about to save.

        Raises:
            ConcurrentRunError: As `ActiveRun.saving`.
        """
        stored = for_storage(config, run)
        save = cls(run, stored, checkpoint, metadata, new_versions, run.next_name())
        if not save.checkpoint_ns:
            run.saving(checkpoint["id"])
            run.advanced = True
            _note_words(run, checkpoint)
        return save

    @property
    def checkpoint_ns(self) -> str:
        """A subgraph's namespace; `""` for the root graph."""
        return str(self.config["configurable"].get("checkpoint_ns") or "")

    @property
    def statement(self) -> Fetch:
        """What saves the session."""
        return Fetch(statements.PUT_SESSION, self.held or self.params)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the statement, as things stand."""
        return self.run.put_params(self.name, self.checkpoint["id"])

    def find(self) -> Plan[DictRow | None]:
        """Return the session's row if the checkpoint was saved, by a try that broke off."""
        params = {
            "user_id": self.run.user_id,
            "thread_id": self.config["configurable"]["thread_id"],
            "checkpoint_ns": self.checkpoint_ns,
            "checkpoint_id": self.checkpoint["id"],
        }
        for row in (yield Fetch(statements.SAVED_SESSION, params)):
            return cast(DictRow, row)
        return None

    def done(self, row: Mapping[str, Any]) -> Session:
        """Take note that it is saved, with the session *row*; return the session."""
        self.run.seen = self.name
        if not self.checkpoint_ns:
            self.run.base, self.run.addressed = self.checkpoint["id"], False
        return self.run.note_saved(row)

    @property
    def saved_config(self) -> RunnableConfig:
        """What `put` returns, with the user, so that it can be used to run again."""
        return {
            "configurable": {
                "user_id": self.run.user_id,
                "thread_id": self.run.thread_id,
                "checkpoint_ns": self.checkpoint_ns,
                "checkpoint_id": self.checkpoint["id"],
            }
        }


@dataclass(frozen=True, slots=True)
class Writes:
    """What a task of a user's run wrote.

    Attributes:
        run: The run.
        config: The checkpoint whose task it was.
        writes: Channels and values.
        task_id: The task.
        task_path: Where it is in the graph.
        name: As in `Save`.
        held: As in `Save`.
    """

    run: ActiveRun
    config: RunnableConfig
    writes: Sequence[tuple[str, Any]]
    task_id: str
    task_path: str
    name: str | None
    held: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        run: ActiveRun,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> Writes:
        """Take note of what a task of the run wrote, and look for words in it.

        Raises:
            ConcurrentRunError: That was raised before: the run is over.
        """
        run.refuse_if_overtaken()
        wrote = cls(run, pin(config, run), writes, task_id, task_path, run.next_name())
        # A `DeltaChannel`'s messages may be in no checkpoint.
        if not wrote.checkpoint_ns and run.untitled and run.message_title is None:
            run.message_title = from_words.from_values(writes)
        return wrote

    @property
    def checkpoint_ns(self) -> str:
        """As in `Save`."""
        return str(self.config["configurable"].get("checkpoint_ns") or "")

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of its statement, as things stand."""
        return self.run.guard_params(self.name)

    @property
    def statement(self) -> Fetch:
        """What refuses the writes if the thread is not the run's, or another run saved to it."""
        return Fetch(statements.GUARD_THREAD, self.held or self.params)

    def done(self) -> None:
        """Take note that they are saved, and look for a model's answer in them."""
        run = self.run
        run.seen = self.name
        if run.unasked and run.answered is None and not self.checkpoint_ns:
            answered = by_model.is_answered(self.writes)
            run.answered = self.config["configurable"]["checkpoint_id"] if answered else None


def _note_words(run: ActiveRun, checkpoint: Checkpoint) -> None:
    """Look for words in the root graph's *checkpoint*; a subgraph's prompts are its own."""
    values = from_words.values_of(checkpoint)
    if run.untitled and run.message_title is None:
        run.message_title = from_words.from_checkpoint(values)
    if run.unasked and run.answered is None and by_model.is_answered(values):
        run.answered = checkpoint["id"]


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
