"""The plans of both savers: from a config to the row, and back."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, get_args

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions import checks
from langgraph_sessions.models import Session
from langgraph_sessions.plans import Call, Plan
from langgraph_sessions.runs.active import ActiveRun, active_run, owned, pin
from langgraph_sessions.runs.addresses import check_filters, configurable_of, require
from langgraph_sessions.runs.answers import refuse
from langgraph_sessions.runs.loading import LoadCheckpoint, LoadHistory, LoadList, from_row, is_held
from langgraph_sessions.runs.opening import Opened, continue_thread, find_thread, open_run
from langgraph_sessions.runs.parent import Parent
from langgraph_sessions.runs.plain import SavePlainCheckpoint, SavePlainWrites
from langgraph_sessions.runs.request import Request, instructs, named, no_user
from langgraph_sessions.runs.saving import SaveCheckpoint, SaveWrites
from langgraph_sessions.runs.surroundings import RUNTIME_KEY, Position, progress_of, surroundings
from langgraph_sessions.runs.thread_ids import ThreadIdFactory
from langgraph_sessions.runs.underway import TRIES, UnderWay
from langgraph_sessions.sessions import reading
from langgraph_sessions.sessions.base_manager import BaseManager
from langgraph_sessions.sql.rows import is_whole
from langgraph_sessions.titles.by_model import Titler
from langgraph_sessions.titles.clear import may_title
from langgraph_sessions.types import ConcurrentRuns

CONCURRENT_RUNS: Final[tuple[str, ...]] = get_args(ConcurrentRuns)


class SaverPlans:
    """The part of a saver that does no I/O.

    Everything here is shared by the copies that LangGraph makes of a saver, but for `serde`.
    """

    serde: SerializerProtocol
    _manager: BaseManager

    def _set_up(
        self,
        manager: BaseManager,
        thread_id_factory: ThreadIdFactory,
        titler: Titler | None,
        concurrent_runs: str,
        trust_thread_id: bool = False,
        require_user: bool = False,
    ) -> None:
        """Check the arguments that are not the database's."""
        checks.optional_function("titler", titler)
        self._manager = manager
        self._under_way = UnderWay()
        self._home = manager._home = secrets.token_hex(8)
        self._thread_id_factory = thread_id_factory
        self._titler = titler
        self._rejects = (
            checks.one_of("concurrent_runs", concurrent_runs, CONCURRENT_RUNS) == "reject"
        )
        self._trusts = checks.boolean("trust_thread_id", trust_thread_id)
        self._requires_user = checks.boolean("require_user", require_user)

    def __repr__(self) -> str:
        """Say which database it is on, without a password."""
        return f"<{type(self).__name__} on {self._manager._database.where}>"

    @property
    def _agent(self) -> str | None:
        return self._manager.agent

    @abstractmethod
    def _await_saves(self, saves: Sequence[Future[None]]) -> Any:
        """Wait for *saves*, not for ever; give a run that goes on time to begin its next one."""

    @abstractmethod
    def _start_titler(self, titler: Titler, thread_id: str) -> None:
        """Have *titler* called beside the run."""

    # --- Reading -----------------------------------------------------------------------------

    def _get_tuple(self, config: RunnableConfig) -> Plan[CheckpointTuple | None]:
        """Load the checkpoint that *config* asks for; a run starts with this."""
        is_run = RUNTIME_KEY in configurable_of(config)
        request = self._request(config, is_run)
        run = active_run(config)
        begins = is_run and run is None and not request.checkpoint_ns
        open_thread = self._begin if begins else self._open
        opened = yield from open_thread(config, run, request, Parent.SELECT_SQL)
        run = opened.run
        if is_run:
            self._refuse_nobody(config, run)
        given = named(config, request.thread_id) if run is None else pin(config, run)
        found = yield from from_row(opened.row, LoadCheckpoint(run, given, self.serde))
        if run is None:
            return found
        if is_run:
            refuse(run, request, given["configurable"], found, held=is_held(opened.row))
            begins = self._start(run, found, request, given)
            if begins and found and not run.known and run.words.may_title:  # It is adopted.
                run.words.title = yield from reading.title(run.thread_id, self.serde)
        return owned(found, run, goes_on=is_run) if found else None

    def _begin(
        self, config: RunnableConfig, run: ActiveRun | None, request: Request, select: str | None
    ) -> Plan[Opened]:
        """Open the thread of a run that begins, when nothing is being saved to it in this saver.

        Another run there that has not ended is given time for its next save: it may have been
        stopped between two.
        """
        for number in range(TRIES):
            with self._under_way.loading() as saved:
                opened = yield from self._open(config, run, request, select)
                if opened.run is None:
                    return opened
                thread_id = opened.run.thread_id
                saves = self._under_way.saves(thread_id)
                goes_on = number == 0 and self._under_way.goes_on(thread_id)
                if saves or thread_id in saved or goes_on:
                    yield Call(self._await_saves, (saves,))
                if not all(save.done() for save in saves):
                    break  # One of an event loop, say, whose thread has just waited here.
                if thread_id not in saved and not self._under_way.saves(thread_id):
                    break
        assert opened.run is not None
        self._under_way.begin(opened.run)
        return opened

    def _request(self, config: RunnableConfig, is_run: bool = False) -> Request:
        """Read what *config* asks for; a run may have to name a user."""
        requires = self._requires_user and is_run
        return Request.of(
            config,
            agent=self._agent,
            default_title=self._manager.default_title,
            trusts=self._trusts,
            requires=requires,
        )

    def _refuse_nobody(self, config: RunnableConfig, run: ActiveRun | None) -> None:
        """Raise `ValueError` for a *run* without a user, where one is required."""
        if run is None and self._requires_user:
            raise no_user(config)

    def _open(
        self, config: RunnableConfig, run: ActiveRun | None, request: Request, select: str | None
    ) -> Plan[Opened]:
        """Open the thread of the *run* that *config* is part of, or of one that begins.

        A run keeps to its thread. What a graph inside it says of the session, the run does.
        """
        if run is None or run.home != self._home:
            opened = yield from open_run(request, self._thread_id_factory, select)
            if run is None or not _is_shared(run, opened.run):
                return self._begun(opened, config)
        else:
            opened = yield from continue_thread(request, run, select)
        if request.instructs and (select is None or RUNTIME_KEY in config["configurable"]):
            run.instructed = request
        return Opened(run, opened.row)

    def _begun(self, opened: Opened, config: RunnableConfig) -> Opened:
        run, around = opened.run, surroundings(config["configurable"])
        if run is not None:
            run.home, run.around = self._home, Position.of(around) if around else None
            run.words.has_titler = self._titler is not None
            run.words.may_title = may_title(self._manager.auto_title, self.serde)
        return opened

    def _start(
        self,
        run: ActiveRun,
        found: CheckpointTuple | None,
        request: Request,
        config: RunnableConfig,
    ) -> bool:
        """Name the saves of a run that starts, so that it and other runs notice each other.

        Only a root graph's run: a subgraph is part of one, and `get_state` and `update_state` are
        none.
        """
        if run.claim.token or request.checkpoint_ns:
            return False
        newest = found.checkpoint["id"] if found else ""
        addressed = request.checkpoint_id is not None
        run.claim.start(newest, addressed=addressed, checked=self._rejects)
        run.progress = progress_of(config["configurable"])
        return True

    def _list(
        self, config: RunnableConfig | None, **filters: Any
    ) -> Plan[Sequence[CheckpointTuple]]:
        """Load checkpoints, newest first; without *config*, of all threads of all users."""
        check_filters(**filters)
        run, pinned = (None, None) if config is None else (yield from self._reader(config))
        listed = yield LoadList(run, pinned or {}, self.serde, filters)
        return [owned(found, run) if run else found for found in listed]

    def _history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Plan[Mapping[str, DeltaChannelHistory]]:
        """Load what rebuilds delta channels."""
        run, pinned = yield from self._reader(config)
        history: Mapping[str, DeltaChannelHistory] = yield LoadHistory(
            run, pinned, self.serde, channels
        )
        return history

    def _reader(self, config: RunnableConfig) -> Plan[tuple[ActiveRun | None, RunnableConfig]]:
        """Return the run that reads *config*'s thread, and that on the run's thread.

        One under way was checked before.
        """
        request = self._request(config)
        run = active_run(config) or (yield from find_thread(request))
        return run, named(config, request.thread_id) if run is None else pin(config, run)

    # --- Saving ------------------------------------------------------------------------------

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Plan[RunnableConfig]:
        """Save a checkpoint, and its session's row if there is a user."""
        require(configurable_of(config), "checkpoint_ns")
        run = self._under_way_in(config) or (yield from self._writer(config))
        if run is None:
            yield SavePlainCheckpoint(config, (checkpoint, metadata, new_versions), self.serde)
            return _saved_config(config, checkpoint)
        began = self._manager.cache.now()
        if progress := progress_of(config["configurable"]):
            progress.note_checkpoint(config["configurable"], checkpoint["id"])
        save = SaveCheckpoint.of(run, config, checkpoint, metadata, new_versions, self.serde)
        row = yield save
        save.done(row)
        self._note(run, row, began)
        titler = None if save.checkpoint_ns else self._titler
        if titler is not None and run.words.wants_titler(checkpoint["id"]):
            self._start_titler(titler, run.thread_id)
        return save.saved_config

    def _put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> Plan[None]:
        """Save a task's writes."""
        checks.address("task_id", task_id)
        require(configurable_of(config), "checkpoint_ns", "checkpoint_id")
        run = self._under_way_in(config) or (yield from self._writer(config))
        if run is None:
            yield SavePlainWrites(config, (writes, task_id, task_path), self.serde)
            return
        began = self._manager.cache.now()
        if progress := progress_of(config["configurable"]):
            progress.note_writes(config["configurable"], writes, task_id)
        wrote = SaveWrites.of(run, config, writes, task_id, task_path, self.serde)
        if wrote.is_stop:
            self._under_way.stop(run)
        row = yield wrote
        wrote.done(row)
        self._note(run, row, began)

    def _note(self, run: ActiveRun, row: Mapping[str, Any] | None, began: float) -> None:
        """Bring the cache up to date with the *row* that a save begun at *began* returned.

        A whole one is kept unless the session is another agent's: a graph that is called inside
        another agent's run, on its thread, saves to that.
        """
        if row is None:
            return
        if not is_whole(row):
            self._manager.cache.touched(run.user_id, run.thread_id, row["updated_at"], began)
        elif self._agent in (None, row["agent"]):
            self._manager.cache.wrote(Session.from_row(row), began)

    def _under_way_in(self, config: RunnableConfig) -> ActiveRun | None:
        """Return the run of this saver's that saves by *config*, if nothing is to be asked."""
        run = active_run(config)
        # `update_state` of a graph inside a run instructs it with its saves.
        if run is None or run.home != self._home or instructs(config):
            return None
        if run.instructed is not None:
            run.heed(run.instructed)
        return run

    def _writer(self, config: RunnableConfig) -> Plan[ActiveRun | None]:
        """Return the run that writes to *config*'s thread, `None` for one without a user."""
        request = self._request(config, is_run=True)
        # A run of nobody's, under way: whose thread it is was settled when it began.
        if request.user_id is None and RUNTIME_KEY in config["configurable"]:
            return None
        if request.user_id is None:
            require(config["configurable"], "thread_id")
        run = (yield from self._open(config, active_run(config), request, None)).run
        self._refuse_nobody(config, run)
        if run is not None and run.instructed is not None:
            run.heed(run.instructed)
        return run


def _is_shared(run: ActiveRun, opened: ActiveRun | None) -> bool:
    """Say whether *run*, of another saver, is on the *opened* thread: it was the last to save."""
    last = opened and opened.claim.seen
    return bool(run.claim.token and last and last.startswith(f"{run.claim.token}."))


def _saved_config(config: RunnableConfig, checkpoint: Checkpoint) -> RunnableConfig:
    """Return the result of LangGraph's `put`."""
    configurable = config["configurable"]
    return {
        "configurable": {
            "thread_id": configurable["thread_id"],
            "checkpoint_ns": configurable["checkpoint_ns"],
            "checkpoint_id": checkpoint["id"],
        }
    }
