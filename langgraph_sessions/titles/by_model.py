"""Titles by a model: asked for in the background, never in a run's way."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langgraph_sessions.titles import from_words
from langgraph_sessions.titles.background import in_daemon
from langgraph_sessions.titles.messages import said

if TYPE_CHECKING:  # It takes LangSmith with it; whoever has a model has imported it.
    from langchain_core.language_models import BaseChatModel

Titler = Callable[[Sequence[BaseMessage]], str | Awaitable[str]]

SENT: Final = 300  # Characters of each message: what it is about, and no more of what it costs.
PROMPT: Final = (
    "Give this conversation a title of at most six words, in its own language. Answer with "
    "the title alone."
)


def titler(model: BaseChatModel) -> Titler:
    """Return a titler over a LangChain chat model, for the savers' `titler` argument.

    It asks the model for a title of at most six words, from the first six messages of humans and
    the model, 300 characters of each. What a model thinks, and writes around a title, is taken off.
    What the model raises is logged by the savers, and raised by `call_titler`.
    """

    # Sync, and so called in a thread that no program waits for: a model's own async call may well
    # be its sync one in a thread of the loop's, which is waited for.
    def call_model(messages: Sequence[BaseMessage]) -> str:
        spoken = [
            message
            for message in messages
            if isinstance(message, HumanMessage | AIMessage) and not from_words.is_example(message)
        ]
        transcript = "\n".join(
            f"{message.type}: {from_words.text_of(message)[:SENT]}" for message in spoken[:6]
        )
        answer = model.invoke([SystemMessage(PROMPT), HumanMessage(transcript)])
        return from_words.text_of(answer)

    return call_model


def is_answered(values: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> bool:
    """Say whether *values* of channels, or writes to them, hold a model's answer in words."""
    pairs = values.items() if isinstance(values, Mapping) else values
    return any(
        isinstance(message, AIMessage) and from_words.text_of(message).strip()
        for channel, value in pairs
        for message in said(channel, value)
    )


async def ask(titler: Titler, messages: Sequence[BaseMessage]) -> str:
    """Call *titler*, sync or async, off the event loop if it is sync."""
    if inspect.iscoroutinefunction(titler):
        answer = await titler(messages)
    else:
        answer = await asyncio.wrap_future(in_daemon(partial(titler, messages)))
        if inspect.isawaitable(answer):
            answer = await answer
    if not isinstance(answer, str):
        raise TypeError(f"titler must return a str, not {type(answer).__name__}")
    return answer


def ask_now(titler: Titler, messages: Sequence[BaseMessage]) -> str:
    """Sync version of `ask`, in a thread of its own: in Jupyter, this one runs a loop already."""
    return in_daemon(lambda: asyncio.run(ask(titler, messages))).result()
