"""What both savers read while the database is away, which takes no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions.outage.memory import Memory
from langgraph_sessions.plans import Plan
from langgraph_sessions.runs import opening, saving
from langgraph_sessions.runs.active import ActiveRun, active_run, owned, pin
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.thread_ids import ThreadIdFactory


class HeldReading:
    """The part of a saver that reads what is in memory; each method raises as `Memory`'s."""

    serde: SerializerProtocol
    _concurrent_runs: str
    _thread_id_factory: ThreadIdFactory

    def _open(self, request: Request, select: str | None = None) -> Plan[opening.Opened]:
        return opening.open_run(request, self._thread_id_factory, select)

    def _get_held(
        self, config: RunnableConfig, request: Request, memory: Memory
    ) -> CheckpointTuple | None:
        run = active_run(config)
        if run is None or request.instructs:
            run = memory.sessions.run(self._open(request)).run
        assert run is not None
        given, config = config, pin(config, run)
        found = memory.get_tuple(run, config, self.serde)
        head = {"checkpoint_id": found.checkpoint["id"]} if found else None
        saving.start(opening.Opened(run, head), given, request, self._concurrent_runs)
        return owned(found, run.user_id) if found else None

    def _list_held(
        self, config: RunnableConfig, memory: Memory, **filters: Any
    ) -> Sequence[CheckpointTuple]:
        run = self._reader_of_held(config, memory)
        listed = memory.list(pin(config, run), self.serde, **filters)
        return [owned(found, run.user_id) for found in listed]

    def _history_held(
        self, config: RunnableConfig, channels: Sequence[str], memory: Memory
    ) -> Mapping[str, DeltaChannelHistory]:
        run = self._reader_of_held(config, memory)
        return memory.get_delta_channel_history(pin(config, run), channels, self.serde)

    def _reader_of_held(self, config: RunnableConfig, memory: Memory) -> ActiveRun:
        find = opening.find_thread(Request.of(config))
        return active_run(config) or cast(ActiveRun, memory.sessions.run(find))
