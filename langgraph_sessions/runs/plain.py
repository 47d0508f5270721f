"""Questions that save a checkpoint, or a task's writes, of a run without a user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions import checks
from langgraph_sessions.plans import Composite, Plan
from langgraph_sessions.runs import parent
from langgraph_sessions.runs.guarding import guarded
from langgraph_sessions.runs.request import IDENTITIES, named
from langgraph_sessions.sql.saving import GuardPlainThread


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
            TypeError: The thread id is `None`.
        """
        given = self.config["configurable"]["thread_id"]
        thread_id = checks.unicode("thread_id", given if given is None else str(given))
        config = named(_nameless(self.config), thread_id)
        saver = parent.Parent(self.serde)
        self._save(saver, config)
        yield from guarded(GuardPlainThread(thread_id), saver.executed)

    def _save(self, saver: parent.Parent, config: RunnableConfig) -> None:
        raise NotImplementedError


class SavePlainCheckpoint(SavePlain):
    """Save a checkpoint of a run without a user."""

    def _save(self, saver: parent.Parent, config: RunnableConfig) -> None:
        saver.put(config, *self.arguments)


class SavePlainWrites(SavePlain):
    """Save a task's writes of a run without a user."""

    def _save(self, saver: parent.Parent, config: RunnableConfig) -> None:
        saver.put_writes(config, *self.arguments)


def _nameless(config: RunnableConfig) -> RunnableConfig:
    """Return *config* without what its metadata say of whose it is."""
    metadata = config.get("metadata") or {}
    if not any(key in metadata for key in IDENTITIES):
        return config
    kept = {key: value for key, value in metadata.items() if key not in IDENTITIES}
    return {**config, "metadata": kept}
