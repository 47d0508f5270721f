"""Conversations during an outage, and how they are written after it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, cast

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import RESUME
from langgraph.constants import START

from langgraph_sessions.outage import dumped
from langgraph_sessions.outage.journal import Entry, Journal
from langgraph_sessions.outage.rows import Row, row_of
from langgraph_sessions.outage.sessions import HeldSessions, unavailable
from langgraph_sessions.plans import Call, Plan, Question
from langgraph_sessions.runs.active import ActiveRun
from langgraph_sessions.runs.loading import LoadCheckpoint, LoadHistory, LoadList
from langgraph_sessions.runs.saving import SaveCheckpoint, SaveWrites
from langgraph_sessions.runs.thread_ids import (
    ThreadIdFactory,
    default_thread_id,
    new_thread_id,
)
from langgraph_sessions.sql.functions import IN_USE
from langgraph_sessions.sql.saving import PutSession
from langgraph_sessions.sql.sessions import TITLER_TRIES, GetSession
from langgraph_sessions.sql.upkeep import CopySession

Mover = tuple[str, str] | ActiveRun  # What moves: a user's thread, or one run.

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
        self._checkpoints: dict[str, InMemorySaver] = {}  # By user: nobody reads another's.
        # Namespaces of subgraphs that were begun here, in threads that were not.
        self._begun: set[tuple[str, str, str]] = set()  # Users, threads, namespaces.
        # New thread ids of overtaken runs, or threads (`_mover`): of moves done; of moves begun, by
        # where they had moved before.
        self._moved: dict[Mover, str] = {}
        self._targets: dict[tuple[Mover, str | None], str] = {}
        # Users, and threads begun here by a `Command(resume=…)`.
        self._unanswerable: set[tuple[str, str]] = set()

    def answer(self, question: Question) -> Any:
        """Answer *question* as PostgreSQL would, if it can be answered here.

        Raises:
            SessionsUnavailableError: Only the database has the answer, or there is no room.
            ConcurrentRunError: Another run saved to the thread meanwhile.
            psycopg.DataError: The database would refuse the values.
        """
        match question:
            case LoadCheckpoint(run=None) | LoadHistory(run=None):  # A manager reads.
                raise unavailable()
            case LoadCheckpoint():
                return self._load(question)
            case LoadList():
                return self._list(question)
            case LoadHistory():
                return self._load_history(question)
            case SaveCheckpoint():
                return self._save(question)
            case SaveWrites():
                return self._save_writes(question)
            case _:
                return self.sessions.answer(question)

    def _of(self, run: ActiveRun | None, serde: SerializerProtocol) -> InMemorySaver:
        """Return the checkpoints of the run's user, as *serde* reads and writes them."""
        assert run is not None  # Else nothing is asked here.
        checkpoints = copy.copy(self._checkpoints.setdefault(run.user_id, InMemorySaver()))
        checkpoints.serde = serde
        return checkpoints

    def _is_begun(self, run: ActiveRun) -> bool:
        return self.sessions.is_begun(run.user_id, run.thread_id)

    def _is_whole(self, run: ActiveRun | None, config: RunnableConfig) -> bool:
        assert run is not None
        thread_id, checkpoint_ns = _place(config)
        begun = self.sessions.is_begun(run.user_id, thread_id)
        return begun or (run.user_id, thread_id, checkpoint_ns) in self._begun

    # --- Reading -----------------------------------------------------------------------------

    def _load(self, load: LoadCheckpoint) -> CheckpointTuple | None:
        run = cast(ActiveRun, load.run)
        self._begin_if_new(run)
        thread_id, checkpoint_ns = _place(load.config)
        if not checkpoint_ns:
            self._unanswerable.discard(_whose(run))  # A new run begins.
        if not self._is_whole(run, load.config):
            # A subgraph's namespace ends in its task's id, unless it has a memory of its own.
            # A task of a checkpoint that the run itself made has nothing in the database.
            if not run.claim.advanced or ":" not in checkpoint_ns.rpartition("|")[2]:
                raise unavailable()
            self._begun.add((run.user_id, thread_id, checkpoint_ns))
        found = self._of(run, load.serde).get_tuple(load.config)
        return found and found._replace(config=_own_config(found.config))

    def _begin_if_new(self, run: ActiveRun) -> None:
        """Note the run's thread as begun here if nothing of it is in the database."""
        if not run.known and run.claim.base == "":
            self.sessions.begin(run.user_id, run.thread_id)

    def _list(self, load: LoadList) -> Sequence[CheckpointTuple]:
        if not self._is_whole(load.run, load.config):
            raise unavailable()
        filters = dict(load.filters)
        wanted, limit = filters.pop("filter", None) or {}, filters.pop("limit", None)
        listed = self._of(load.run, load.serde).list(load.config, **filters)
        found = [each for each in listed if _contains(each.metadata, wanted)]
        found.sort(key=lambda each: each.checkpoint["id"], reverse=True)
        return [each._replace(config=_own_config(each.config)) for each in found[:limit]]

    def _load_history(self, load: LoadHistory) -> Mapping[str, DeltaChannelHistory]:
        if not self._is_whole(load.run, load.config):
            raise unavailable()
        checkpoints = self._of(load.run, load.serde)
        return checkpoints.get_delta_channel_history(config=load.config, channels=load.channels)

    # --- Saving ------------------------------------------------------------------------------

    def _save(self, save: SaveCheckpoint) -> Row:
        """Hold *save*, values dumped; return the session's row."""
        run, thread_id = save.run, save.run.thread_id
        self._begin_if_new(run)
        given = save.checkpoint["channel_values"].get(START)
        self._refuse_answer(run, _is_answer(given))
        is_root = not save.checkpoint_ns
        begins = is_root and not run.known and not save.config["configurable"].get("checkpoint_id")
        session = replace(save.put_session(), at=datetime.now(UTC))
        row = self.sessions.put(session) if self._is_begun(run) or begins else _row_of(run)
        # Not the live objects, which the run's nodes may yet change.
        dumped.check_metadata(save.config, save.metadata)
        checkpoint, size = dumped.checkpoint(save.checkpoint, save.new_versions, save.serde)
        held = replace(save, checkpoint=checkpoint, metadata=copy.deepcopy(save.metadata))
        self._hold(held, session, size)
        if begins:
            self.sessions.begin(run.user_id, thread_id)
        if self._is_begun(run):
            self.sessions.keep(row)
        if self._is_whole(run, save.config):
            self._of(run, save.serde).put(
                save.config, save.checkpoint, save.metadata, save.new_versions
            )
        for waiting in save.waiting:
            row = self._save_writes(waiting) or row
        return row

    def _save_writes(self, save: SaveWrites) -> Row | None:
        """Hold the writes, values dumped; return the session's row if it is here."""
        run = save.run
        self._begin_if_new(run)
        self._refuse_answer(run, any(channel == RESUME for channel, _ in save.writes))
        session = replace(save.put_session(), at=datetime.now(UTC))
        row = self.sessions.put(session) if self._is_begun(run) else None
        values, size = dumped.writes(save.writes, save.serde)
        self._hold(replace(save, writes=values), session, size)
        if row is not None:
            self.sessions.keep(row)
        if self._is_whole(run, save.config):
            self._of(run, save.serde).put_writes(
                save.config, save.writes, save.task_id, save.task_path
            )
        return row

    def _hold(self, save: SaveCheckpoint | SaveWrites, session: PutSession, size: int) -> None:
        """Append *save*, whose values are dumped, to the journal."""
        serde, base = dumped.AsDumped(save.serde), save.run.claim.base
        held = replace(save, serde=serde, session=session, base=base)
        self.journal.append(Entry(ENTRY_SIZE + size, held, save.run.user_id))

    def _refuse_answer(self, run: ActiveRun, is_answer: bool) -> None:
        """Refuse `Command(resume=…)` in a new thread: its interrupt is in the database."""
        if is_answer and self._is_begun(run) and not self._root(run):
            self._unanswerable.add(_whose(run))
        if _whose(run) in self._unanswerable:
            raise unavailable()

    def _root(self, run: ActiveRun) -> Mapping[str, Any]:
        held = self._checkpoints.get(run.user_id)
        return held.storage[run.thread_id][""] if held else {}

    # --- The way back ------------------------------------------------------------------------

    def next(self) -> Entry | None:
        """Return what is to be written next."""
        entry = self.journal.first()
        if entry is None:
            return None
        item: Any = entry.item
        mover = self._mover(item.run) if _is_save(item) else (item.user_id, item.thread_id)
        thread_id = self._moved.get(mover)
        if thread_id is None:
            return entry
        moved = _moved(item, thread_id) if _is_save(item) else replace(item, thread_id=thread_id)
        return entry._replace(item=moved)

    def _mover(self, run: ActiveRun) -> Mover:
        """Return what moves with *run*: its thread if that was begun here, else the run alone.

        Runs of such a thread go on from each other's checkpoints, which are nowhere else.
        """
        return _whose(run) if self._is_begun(run) else run

    def move(self, item: Any, factory: ThreadIdFactory) -> Plan[None]:
        """Move what is held of *item*'s run, or thread, to a new session: somebody else is there.

        For a run, that session is a fork of the thread at the checkpoint that the run knew; or,
        where somebody saved to such a fork as well, of that at the checkpoint that *item* follows:
        in a subgraph, at the one from which its run went on. A session that was made here has
        nothing to be copied.
        """
        if not _is_save(item):
            self._moved[item.user_id, item.thread_id] = default_thread_id(item.user_id)
            return
        mover = self._mover(item.run)
        place = self._moved.get(mover)
        again = (mover, place) in self._targets
        if not again:
            self._targets[mover, place] = yield from _target(item.run, place, factory)
        target = self._targets[mover, place]
        is_first = place is None or item.checkpoint_ns
        known = item.base if is_first else item.config["configurable"].get("checkpoint_id")
        if known:
            copy = CopySession(
                source=place or item.run.thread_id,
                target=target,
                user_id=item.run.user_id,
                checkpoint_id=known,
            )
            if not (yield from _is_copied(copy, again=again)):
                self._targets[mover, place] = default_thread_id(item.run.user_id)
                return (yield from self.move(item, factory))
        self._moved[mover] = target


def _target(run: ActiveRun, place: str | None, factory: ThreadIdFactory) -> Plan[str]:
    """Return the id of the thread to which *run* is to move, from where it had moved before."""
    if place is None:
        target: str = yield Call(new_thread_id, (factory, run.user_id))
        if target != run.thread_id:  # A factory may give each user one id.
            return target
    return default_thread_id(run.user_id)


def _is_copied(copy: CopySession, *, again: bool) -> Plan[bool]:
    """Say whether *copy* was made, now or by a try before: not where somebody else has its target.

    A connection may have broken after a copy was made: then it is tried *again*.
    """
    try:
        yield copy
    except psycopg.Error as error:
        if error.sqlstate != IN_USE:
            raise
        assert copy.user_id is not None
        return again and bool((yield GetSession(copy.user_id, copy.target)))
    return True


def _contains(value: Any, wanted: Any) -> bool:
    """Say whether *value* contains *wanted*, as PostgreSQL's `@>` does for JSONB."""
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and _contains(value[key], item) for key, item in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return isinstance(value, list | tuple) and all(
            any(_contains(each, item) for each in value) for item in wanted
        )
    return bool(value == wanted)


def _own_config(config: RunnableConfig) -> RunnableConfig:
    """Return the config of a checkpoint: `InMemorySaver` may give that which asked for it."""
    keys = ("thread_id", "checkpoint_ns", "checkpoint_id")
    return {"configurable": {key: config["configurable"][key] for key in keys}}


def _is_answer(given: object) -> bool:
    """Say whether a run's input answers an interrupt."""
    # It takes all of LangGraph with it, which whoever runs a graph has imported.
    from langgraph.types import Command

    return isinstance(given, Command) and given.resume is not None


def _is_save(item: object) -> bool:
    return isinstance(item, SaveCheckpoint | SaveWrites)


def _whose(run: ActiveRun) -> tuple[str, str]:
    return run.user_id, run.thread_id


def _place(config: RunnableConfig) -> tuple[str, str]:
    configurable = config["configurable"]
    return configurable["thread_id"], configurable.get("checkpoint_ns") or ""


def _row_of(run: ActiveRun) -> Row:
    """Return the row of a session in the database, as far as its run knows it."""
    return {
        **row_of(run.session),
        "title": run.title or run.session.title,
        "title_source": "default" if run.words.untitled else "user",
        "titler_tries": 0 if run.words.may_ask else TITLER_TRIES,
        "status": run.status,
        "last_save": run.claim.seen,
    }


def _moved(item: Any, thread_id: str) -> Any:
    """Return *item* for another thread, on which it is the only run."""
    configurable = {**item.config["configurable"], "thread_id": thread_id}
    config = cast(RunnableConfig, {**item.config, "configurable": configurable})
    # Without a checkpoint to fork, its first save makes the session.
    known = item.session.known and bool(item.base)
    session = replace(item.session, thread_id=thread_id, known=known, checked=False)
    if session.known != item.session.known:  # It is called as the session was where it began.
        title = item.run.session.title
        given = None if item.run.words.untitled else title
        session = replace(session, title=session.title or given, default_title=title)
    return replace(item, config=config, session=session)
