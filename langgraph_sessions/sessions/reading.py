"""Reading what conversations hold, for exports and adoption.

It goes through the parent's own saver, so that whatever LangGraph can load is read alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import psycopg
from langchain_core.messages import BaseMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions.errors import SessionError, described, quoted
from langgraph_sessions.log import logger
from langgraph_sessions.plans import Plan, T
from langgraph_sessions.runs.loading import LoadCheckpoint, LoadHistory
from langgraph_sessions.sessions.plain import Plain
from langgraph_sessions.sessions.strict import Guarded, Unreadable
from langgraph_sessions.sql.upkeep import FirstInputs
from langgraph_sessions.titles import from_words
from langgraph_sessions.titles.messages import MESSAGES, said


def messages(
    thread_id: str, serde: SerializerProtocol, checkpoint_id: str | None = None
) -> Plan[list[BaseMessage]]:
    """Return what was said in a thread, each message once, in the order they were said.

    It asks nobody whose the thread is.

    Raises:
        ValueError: The thread has no such checkpoint.
        UnreadableThread: What is stored cannot be read by *serde*, or is damaged.
    """
    return (yield from _told(thread_id, _read(thread_id, Guarded(serde), checkpoint_id)))


class UnreadableThread(SessionError):
    """A thread cannot be read: what a row of it holds is encrypted, damaged, or runs code."""

    def __init__(self, thread_id: str, why: str) -> None:
        """Say which, and why, without anything that was said in it."""
        self.thread_id, self.why = thread_id, why
        super().__init__(f"thread {quoted(thread_id)} cannot be read: {why}")

    def __reduce__(self) -> tuple[type[UnreadableThread], tuple[str, str]]:
        """Let it cross process boundaries."""
        return type(self), (self.thread_id, self.why)


def _told(thread_id: str, read: Plan[T]) -> Plan[T]:
    """Return what a plan reads of a thread; say which it was where that cannot be read."""
    try:
        return (yield from read)
    except Unreadable as error:
        raise UnreadableThread(thread_id, str(error)) from None
    except (KeyError, TypeError, AttributeError) as error:  # No checkpoint of LangGraph's.
        raise UnreadableThread(thread_id, f"it is damaged: {described(error)}") from None


def _read(
    thread_id: str, serde: SerializerProtocol, checkpoint_id: str | None
) -> Plan[list[BaseMessage]]:
    found = yield LoadCheckpoint(None, thread(thread_id, checkpoint_id), serde, by_manager=True)
    if found is None:
        if checkpoint_id is not None:
            raise ValueError(f"checkpoint_id {quoted(checkpoint_id)} is not in the session")
        return []
    if checkpoint_id is not None:  # What its tasks answered came after it.
        found = found._replace(pending_writes=None)
    channels = unloaded_channels(found)
    histories = yield LoadHistory(None, found.config, serde, channels=channels, by_manager=True)
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


def title(thread_id: str, serde: SerializerProtocol) -> Plan[str | None]:
    """Return the title that a thread's first inputs suggest; `None` where it cannot be read.

    Where none was saved (`durability="exit"`, a thread that was pruned), its messages do.
    """
    try:
        return (yield from _title(thread_id, Guarded(serde)))
    except psycopg.Error:
        raise
    except Exception as error:
        # An encrypted or damaged thread, or one of another serializer, is adopted all the same.
        logger.warning(
            "a thread cannot be read, and gets no title: %s",
            described(error),
            extra={"thread_id": thread_id},
        )
        return None


def _title(thread_id: str, serde: SerializerProtocol) -> Plan[str | None]:
    inputs = yield FirstInputs(thread_id)
    for row in inputs:
        found = yield LoadCheckpoint(
            None, thread(thread_id, row["checkpoint_id"]), serde, by_manager=True
        )
        values = from_words.values_of(found.checkpoint) if found else {}
        if title := from_words.from_input(values.get(from_words.INPUT_CHANNEL)):
            return title
    said = [] if inputs else (yield from messages(thread_id, serde))
    return from_words.from_values([(MESSAGES, said)])


def record(thread_id: str, message: BaseMessage, plain: Plain | None = None) -> dict[str, Any]:
    """Return a message as a strictly JSON-ready record, readable without this package."""
    whole = (plain or Plain())(message)
    return {
        "record": "message",
        "thread_id": thread_id,
        "role": message.type,
        "content": whole.get("content"),
        "message": whole,
    }


# --- State ---------------------------------------------------------------------------------------

# LangGraph's own channels, which say what runs next and hold nothing of an application's.
_CONTROL: Final = ("branch:", "join:", "__pregel_", "__no_writes__", "__scheduled__")


def state(thread_id: str, serde: SerializerProtocol) -> Plan[dict[str, dict[str, Any]]]:
    """Return what a thread holds beside messages, by channel.

    Its `values`, where a `DeltaChannel`'s is what it began with and what was written since, and
    what is `pending` of a run that waits or failed: questions (`__interrupt__`), errors, writes.
    """
    return (yield from _told(thread_id, _state(thread_id, Guarded(serde))))


def _state(thread_id: str, serde: SerializerProtocol) -> Plan[dict[str, dict[str, Any]]]:
    found = yield LoadCheckpoint(None, thread(thread_id), serde, by_manager=True)
    if found is None:
        return {}
    channels = unloaded_channels(found)
    histories = yield LoadHistory(None, found.config, serde, channels=channels, by_manager=True)
    pending: dict[str, list[Any]] = {}
    for _, channel, value in found.pending_writes or ():
        pending.setdefault(channel, []).append(value)
    values = from_words.values_of(found.checkpoint) | {
        channel: [*_since(history)] for channel, history in histories.items()
    }
    both = {"values": _beside_messages(values), "pending": _beside_messages(pending)}
    return {name: channels for name, channels in both.items() if channels}


def _since(history: DeltaChannelHistory) -> Iterator[Any]:
    seed = history.get("seed")
    if seed is not None:
        yield getattr(seed, "value", seed)
    yield from (value for _, _, value in history["writes"])


def _beside_messages(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        channel: value
        for channel, value in values.items()
        if not channel.startswith(_CONTROL) and not _is_said(channel, value)
    }


def _is_said(channel: str, value: Any) -> bool:
    """Say whether there is nothing but messages in *value*, or lists of them."""
    if isinstance(value, list | tuple):
        return all(_is_said(channel, each) for each in value) and (
            bool(value) or channel == MESSAGES
        )
    return isinstance(value, BaseMessage) or (
        channel == MESSAGES and not isinstance(value, str) and len([*said(channel, value)]) == 1
    )
