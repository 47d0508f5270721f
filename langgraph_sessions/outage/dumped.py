"""Values that are held as the bytes which will be stored."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langgraph_sessions import json_checks

PRIMITIVES: Final = (str, int, float, bool, type(None))


class Dumped(NamedTuple):
    """A value as a serializer dumped it."""

    type: str
    data: bytes


class AsDumped:
    """A serializer that dumps no value twice: what it loads may be less than what was dumped."""

    def __init__(self, serde: SerializerProtocol) -> None:
        """Dump by *serde* what is not dumped yet."""
        self._serde = serde

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return *obj*'s type and bytes."""
        if isinstance(obj, _DeltaSnapshot) and isinstance(obj.value, Dumped):
            return obj.value
        return obj if isinstance(obj, Dumped) else self._serde.dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the value that *data* stand for."""
        return self._serde.loads_typed(data)


def checkpoint(
    given: Checkpoint, new_versions: ChannelVersions, serde: SerializerProtocol
) -> tuple[Checkpoint, int]:
    """Return *given* with the values that a saver would store dumped, and the bytes of these.

    That is how `PostgresSaver.put` takes it apart: primitive values stand in the checkpoint's
    JSON, others that are new in blobs.

    Raises:
        psycopg.DataError: A primitive value cannot be stored as JSONB.
    """
    values: dict[str, Any] = {}
    size = 0
    for channel, value in given["channel_values"].items():
        if isinstance(value, PRIMITIVES):
            _check_jsonb(channel, value)
            values[channel] = value
            size += len(str(value))
        elif channel in new_versions:
            dumped = Dumped(*serde.dumps_typed(value))
            is_snapshot = isinstance(value, _DeltaSnapshot)
            values[channel] = _DeltaSnapshot(dumped) if is_snapshot else dumped
            size += len(dumped.data)
        elif isinstance(value, _DeltaSnapshot):
            values[channel] = _DeltaSnapshot(None)  # Of which only is stored that it is there.
    # The rest is plain data, which the run goes on to change.
    rest = copy.deepcopy({key: value for key, value in given.items() if key != "channel_values"})
    return cast(Checkpoint, {**rest, "channel_values": values}), size


def writes(
    given: Sequence[tuple[str, Any]], serde: SerializerProtocol
) -> tuple[Sequence[tuple[str, Dumped]], int]:
    """Return *given* with the values dumped, and the bytes of these."""
    dumped = [(channel, Dumped(*serde.dumps_typed(value))) for channel, value in given]
    return dumped, sum(len(value.data) for _, value in dumped)


def check_metadata(config: RunnableConfig, metadata: CheckpointMetadata) -> None:
    """Raise `psycopg.DataError` for metadata that cannot be stored as JSONB."""
    try:
        json.dumps(get_serializable_checkpoint_metadata(config, metadata), allow_nan=False)
    except ValueError as error:
        raise psycopg.DataError(f"metadata: {error}") from None


def _check_jsonb(channel: str, value: object) -> None:
    try:
        json_checks.metadata({channel: value}, "channel_values", math.inf)
    except ValueError as error:
        raise psycopg.DataError(str(error)) from None
