"""What is said while the database is away, and how it gets there once it is back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, cast

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import RESUME
from langgraph.constants import START
from langgraph.types import Command

from langgraph_sessions.outage import dumped
from langgraph_sessions.outage.journal import Entry, Journal
from langgraph_sessions.outage.sessions import HeldSessions, Row, unavailable
from langgraph_sessions.plans import Call, Fetch, Plan
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.saving import Save, Writes
from langgraph_sessions.runs.thread_ids import (
    FACTORY_ID,
    ThreadIdFactory,
    default_thread_id,
    in_use,
    new_thread_id,
)
from langgraph_sessions.sql import functions, statements

ENTRY_SIZE: Final = 1000  # The bytes that an entry counts for beside its values, about.


class Memory:
    """Conversations while the database is away.

    A thread that is begun here can be read and gone on with. A run that began before goes on,
    too: what it saves is put into the journal, but its thread cannot be read here, since the
    most of it is in the database.

    Attributes:
        journal: What is to be written to the database.
        sessions: The sessions that were begun here.
    """

    def __init__(self, limit: int) -> None:
        """Hold *limit* bytes, as serialised."""
        self.journal = Journal(limit)
        self.sessions = HeldSessions(self.journal)
        self._checkpoints = InMemorySaver()
        # Namespaces of subgraphs that were begun here, in threads that were not.
        self._begun: set[tuple[str, str]] = set()
        # What another process overtook, and where it went: see `_mover`.
        self._moved: dict[str | ActiveRun, str] = {}
        self._targets: dict[str | ActiveRun, str] = {}
        self._unanswerable: set[str] = set()  # Threads begun with an answer, to no question here.

    def _with(self, serde: SerializerProtocol) -> InMemorySaver:
        """Return the checkpoints as *serde* reads and writes them: each saver has its own."""
        checkpoints = copy.copy(self._checkpoints)
        checkpoints.serde = serde
        return checkpoints

    def _is_whole(self, config: RunnableConfig) -> bool:
        thread_id, checkpoint_ns = _place(config)
        return self.sessions.is_begun(thread_id) or (thread_id, checkpoint_ns) in self._begun

    # --- Reading -----------------------------------------------------------------------------

    def get_tuple(
        self, run: ActiveRun, config: RunnableConfig, serde: SerializerProtocol
    ) -> CheckpointTuple | None:
        """Return the checkpoint that *run* asks for with *config*, which is pinned to it.

        Raises:
            SessionsUnavailableError: It may be in the database.
        """
        self._begin_if_new(run)
        if not _place(config)[1]:
            self._unanswerable.discard(run.thread_id)  # Another run.
        if not self._is_whole(config):
            # A subgraph's namespace ends in its task's id, unless it has a memory of its own.
            # A task of a checkpoint that the run itself made has nothing in the database.
            thread_id, checkpoint_ns = _place(config)
            if not run.advanced or ":" not in checkpoint_ns.rpartition("|")[2]:
                raise unavailable()
            self._begun.add((thread_id, checkpoint_ns))
        return self._with(serde).get_tuple(config)

    def _begin_if_new(self, run: ActiveRun) -> None:
        """Take note that there is nothing of the run's thread in the database, if that is so."""
        if not run.known and run.base == "":
            self.sessions.begin(run.thread_id)

    def list(
        self, config: RunnableConfig, serde: SerializerProtocol, **filters: Any
    ) -> Sequence[CheckpointTuple]:
        """Return checkpoints as `SessionSaver.list` does. Raises as `get_tuple`."""
        if not self._is_whole(config):
            raise unavailable()
        return [*self._with(serde).list(config, **filters)]

    def get_delta_channel_history(
        self, config: RunnableConfig, channels: Sequence[str], serde: SerializerProtocol
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what rebuilds delta channels. Raises as `get_tuple`."""
        if not self._is_whole(config):
            raise unavailable()
        return self._with(serde).get_delta_channel_history(config=config, channels=channels)

    # --- Saving ------------------------------------------------------------------------------

    def put(self, save: Save, serde: SerializerProtocol, write: Callable[[Save], Any]) -> Row:
        """Hold *save*, for *write* to write it, values dumped; return the session's row.

        Raises:
            ConcurrentRunError: Another run saved to the thread meanwhile.
            psycopg.DataError: It could never be written.
            SessionsUnavailableError: There is no room for it.
        """
        run, thread_id = save.run, save.run.thread_id
        self._begin_if_new(run)
        given = save.checkpoint["channel_values"].get(START)
        self._refuse_answer(run, isinstance(given, Command) and given.resume is not None)
        is_root = not save.checkpoint_ns
        begins = is_root and not run.known and not save.config["configurable"].get("checkpoint_id")
        params = {**save.params, "at": datetime.now(UTC)}
        if self.sessions.is_begun(thread_id) or begins:
            row = self.sessions.put(params)
        else:
            row = _row_of(run)
        # Not the live objects, which the run's nodes may yet change.
        checkpoint, size = dumped.checkpoint(save.checkpoint, save.new_versions, serde)
        metadata = copy.deepcopy(save.metadata)
        held = replace(save, checkpoint=checkpoint, metadata=metadata, held=params)
        self.journal.append(Entry(ENTRY_SIZE + size, held, write))
        if begins:
            self.sessions.begin(thread_id)
        if self.sessions.is_begun(thread_id):
            self.sessions.keep(row)
        if self._is_whole(save.config):
            self._with(serde).put(save.config, save.checkpoint, save.metadata, save.new_versions)
        return row

    def _root(self, thread_id: str) -> Mapping[str, Any]:
        return self._checkpoints.storage[thread_id][""]

    def put_writes(
        self, writes: Writes, serde: SerializerProtocol, write: Callable[[Writes], Any]
    ) -> None:
        """Hold *writes*, for *write* to write them, values dumped. Raises as `put`."""
        run = writes.run
        self._begin_if_new(run)
        self._refuse_answer(run, any(channel == RESUME for channel, _ in writes.writes))
        params = writes.params
        row = self.sessions.guard(params)
        values, size = dumped.writes(writes.writes, serde)
        held = replace(writes, writes=values, held=params)
        self.journal.append(Entry(ENTRY_SIZE + size, held, write))
        if row is not None:
            self.sessions.keep(row)
        if self._is_whole(writes.config):
            self._with(serde).put_writes(
                writes.config, writes.writes, writes.task_id, writes.task_path
            )

    def _refuse_answer(self, run: ActiveRun, is_answer: bool) -> None:
        """Refuse a run that begins a thread with an answer: the question is in the database."""
        if is_answer and self.sessions.is_begun(run.thread_id) and not self._root(run.thread_id):
            self._unanswerable.add(run.thread_id)
        if run.thread_id in self._unanswerable:
            raise unavailable()

    # --- The way back ------------------------------------------------------------------------

    def next(self) -> Entry | None:
        """Return what is to be written next."""
        entry = self.journal.first()
        if entry is None:
            return None
        if isinstance(entry.item, Fetch):
            params = cast(Mapping[str, Any], entry.item.params)
            thread_id = self._moved.get(params["thread_id"])
            moved: Any = entry.item._replace(params={**params, "thread_id": thread_id})
        else:
            thread_id = self._moved.get(self._mover(entry.item.run))
            moved = thread_id and _moved(entry.item, thread_id)
        return entry if thread_id is None else entry._replace(item=moved)

    def _mover(self, run: ActiveRun) -> str | ActiveRun:
        """Return what goes elsewhere if *run* must: a thread that was begun here, else it alone.

        Runs of such a thread go on from each other's checkpoints, which are nowhere else.
        """
        return run.thread_id if self.sessions.is_begun(run.thread_id) else run

    def move(self, item: Save | Writes, factory: ThreadIdFactory) -> Plan[None]:
        """Make a session for a run, or a thread, that another process went on with meanwhile.

        That session is a fork of the thread at the checkpoint that the run knew.
        """
        assert item.held is not None
        user_id, base, mover = item.run.user_id, item.held["start"], self._mover(item.run)
        if mover in self._moved:
            raise in_use(FACTORY_ID, item.config["configurable"]["thread_id"])
        before = self._targets.get(mover)
        target = before or (yield Call(partial(new_thread_id, factory, user_id)))
        if target == item.run.thread_id:  # Such as one conversation for each user.
            target = default_thread_id(user_id)
        self._targets[mover] = target
        if base:
            params = {
                "source": item.run.thread_id,
                "target": target,
                "user_id": user_id,
                "checkpoint_id": base,
                "title": None,
            }
            try:
                yield Fetch(statements.COPY_SESSION, params, repeatable=False)
            except psycopg.Error as error:
                # A try that nothing was heard of may have made it.
                if before is None or error.sqlstate != functions.IN_USE:
                    raise
        self._moved[mover] = target


def _place(config: RunnableConfig) -> tuple[str, str]:
    configurable = config["configurable"]
    return configurable["thread_id"], configurable.get("checkpoint_ns") or ""


def _row_of(run: ActiveRun) -> Row:
    """Return the row of a session in the database, as far as its run knows it."""
    session = run.session
    return {
        "id": session.id,
        "user_id": session.user_id,
        "thread_id": session.thread_id,
        "title": run.title or session.title,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "is_active": session.is_active,
        "metadata": session.metadata,
        "title_source": "default" if run.untitled else "user",
        "titler_called": not run.unasked,
        "last_save": run.seen,
    }


def _moved(item: Save | Writes, thread_id: str) -> Save | Writes:
    """Return *item* for another thread, on which it is the only run."""
    configurable = {**item.config["configurable"], "thread_id": thread_id}
    config = cast(RunnableConfig, {**item.config, "configurable": configurable})
    held = {**cast(Mapping[str, Any], item.held), "thread_id": thread_id}
    # Without a checkpoint to fork, its first save makes the session.
    held["known"] = held["known"] and bool(held["start"])
    held["checked"] = False
    return replace(item, config=config, held=held)
