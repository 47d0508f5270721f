"""Reading what conversations hold, for exports and adoption.

It goes through the parent's own saver, so that whatever LangGraph can load is read alike.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langchain_core.messages import BaseMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions.plans import Plan
from langgraph_sessions.runs.loading import LoadCheckpoint, LoadHistory
from langgraph_sessions.titles import from_words
from langgraph_sessions.titles.messages import MESSAGES, said


def messages(
    thread_id: str, serde: SerializerProtocol, checkpoint_id: str | None = None
) -> Plan[list[BaseMessage]]:
    """Return what was said in a thread, each message once, in the order they were said.

    It asks nobody whose the thread is.

    Raises:
        ValueError: The thread has no such checkpoint.
    """
    found = yield LoadCheckpoint(None, thread(thread_id, checkpoint_id), serde)
    if found is None:
        if checkpoint_id is not None:
            raise ValueError(f"checkpoint_id {checkpoint_id!r} is not in the session")
        return []
    if checkpoint_id is not None:  # What its tasks answered came after it.
        found = found._replace(pending_writes=None)
    channels = unloaded_channels(found)
    histories = yield LoadHistory(None, found.config, serde, channels=channels)
    return _messages(found, histories)


def thread(thread_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
    """Return the config that reads a thread's newest checkpoint, or a certain one."""
    configurable = {"thread_id": thread_id, "checkpoint_ns": ""}
    if checkpoint_id is not None:
        configurable["checkpoint_id"] = checkpoint_id
    return {"configurable": configurable}


def unloaded_channels(found: CheckpointTuple) -> list[str]:
    """Return the channels that are rebuilt from their history (`DeltaChannel`).

    Some are only empty; the input's is when it was taken, and its past is in other channels.
    """
    versions = found.checkpoint["channel_versions"]
    values = found.checkpoint["channel_values"]
    unloaded = (channel for channel in versions if values.get(channel, True) is True)
    return [channel for channel in unloaded if channel != from_words.INPUT_CHANNEL]


def _messages(
    found: CheckpointTuple, histories: Mapping[str, DeltaChannelHistory]
) -> list[BaseMessage]:
    """Return the messages of a checkpoint, each once, in the order they were said."""
    # It takes all of LangGraph with it, which a program that only looks at sessions does not need.
    from langgraph.graph.message import REMOVE_ALL_MESSAGES

    by_id: dict[str, BaseMessage] = {}
    seen: list[list[BaseMessage]] = []
    for channel, value in _values(found, histories):
        # Messages without ids may stand in two channels: what an entrypoint returned and saved.
        if (those := list(said(channel, value))) in seen:
            continue
        seen.append(those)
        for message in those:
            if not isinstance(message, RemoveMessage):
                by_id[message.id or f"unnamed {len(by_id)}"] = message
            elif message.id == REMOVE_ALL_MESSAGES:
                by_id.clear()
            else:
                by_id.pop(str(message.id), None)
    return list(by_id.values())


def _values(
    found: CheckpointTuple, histories: Mapping[str, DeltaChannelHistory]
) -> Iterator[tuple[str, Any]]:
    yield from from_words.values_of(found.checkpoint).items()
    for channel, history in histories.items():
        yield channel, getattr(history.get("seed"), "value", history.get("seed"))
        yield from ((channel, value) for _, _, value in history["writes"])
    # What the tasks of a waiting or failed run answered belongs to the conversation, too.
    for _, channel, value in found.pending_writes or ():
        yield channel, value


def title(messages: Iterable[BaseMessage]) -> str | None:
    """Return the title that messages suggest, or `None`."""
    return from_words.from_values([(MESSAGES, list(messages))])


def record(thread_id: str, message: BaseMessage) -> dict[str, Any]:
    """Return a message as a JSON-ready record, readable without this package."""
    # Not mode="json", which fails on bytes that are no text; users put anything in messages.
    whole = json.loads(json.dumps(message.model_dump(exclude_none=True), default=_json))
    return {
        "record": "message",
        "thread_id": thread_id,
        "role": message.type,
        "content": whole.get("content"),
        "message": whole,
    }


def _json(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
