"""Questions that load a checkpoint, a list of them, or a channel's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions.plans import Composite, Plan
from langgraph_sessions.runs import parent
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.opening import Row


@dataclass(frozen=True)
class Load(Composite):
    """A question that loads something for a run, by LangGraph's own code.

    Attributes:
        run: The run; `None` for one without a user, or for an operator.
        config: The config for LangGraph's method, settled on the run's thread.
        serde: How values are serialised.
        by_manager: Whether a session manager reads it, which no run does.
    """

    run: ActiveRun | None
    config: RunnableConfig
    serde: SerializerProtocol
    by_manager: bool = field(default=False, kw_only=True)

    @property
    def holdable(self) -> bool:
        """Whether memory is asked, during an outage: of a user's run, or a manager, it is."""
        return self.run is not None or self.by_manager


@dataclass(frozen=True)
class LoadCheckpoint(Load):
    """Load the checkpoint that the config asks for."""

    def plan(self) -> Plan[CheckpointTuple | None]:
        """Load it as the parent does."""
        return parent.reading(self.serde, lambda saver: saver.get_tuple(self.config))


@dataclass(frozen=True)
class LoadList(Load):
    """Load checkpoints, newest first; all at once, so that the connection is free again.

    Attributes:
        filters: The keyword arguments for LangGraph's `list`.
    """

    filters: Mapping[str, Any] = field(default_factory=dict)

    def plan(self) -> Plan[list[CheckpointTuple]]:
        """Load them as the parent does; without a config, all threads' of all users."""
        config = self.config or None
        return parent.reading(self.serde, lambda saver: [*saver.list(config, **self.filters)])


@dataclass(frozen=True)
class LoadHistory(Load):
    """Load what rebuilds delta channels.

    Attributes:
        channels: The channels.
    """

    channels: Sequence[str] = ()

    def plan(self) -> Plan[Mapping[str, DeltaChannelHistory]]:
        """Load it as the parent does."""
        config = self.config
        if not config["configurable"].get("checkpoint_id") and self.channels:
            # `read` starts again with each page; the newest checkpoint is read once, here.
            newest = yield from LoadCheckpoint(self.run, config, self.serde).plan()
            if newest is None:
                return {channel: {"writes": []} for channel in self.channels}
            config = newest.config

        def read(saver: parent.Parent) -> Mapping[str, DeltaChannelHistory]:
            return saver.get_delta_channel_history(config=config, channels=self.channels)

        return (yield from parent.reading(self.serde, read))


def is_held(row: Row) -> bool:
    """Say whether memory, not PostgreSQL, answered with the *row* of an opened thread."""
    return "checkpoint" not in row


def from_row(row: Row, load: LoadCheckpoint) -> Plan[CheckpointTuple | None]:
    """Return the checkpoint in the *row* of an opened thread; else *load* it.

    A row from memory has no checkpoint: memory is asked for it by itself. One before version 4
    keeps its pending sends at its parent checkpoint: LangGraph's saver reads them.
    """
    if is_held(row):
        found: CheckpointTuple | None = yield load
        return found
    if row["checkpoint"] is None:
        return None
    if row["checkpoint"]["v"] < 4 and row["parent_checkpoint_id"]:
        found = yield load
        return found
    return parent.Parent(load.serde)._load_checkpoint_tuple(dict(row))
