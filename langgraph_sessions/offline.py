"""A chat model without a network, and the graph that the demo, the chat and notebooks use.

`OfflineChatModel` answers from the conversation alone, so that what a session remembers
can be seen. `chat_model` prefers Gemini where there is a key for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from langgraph_sessions.errors import SessionError
from langgraph_sessions.titles.text import shorten

KEY_VARIABLE: Final = "GOOGLE_API_KEY"
GEMINI: Final = "gemini-2.5-flash"
RECALLED: Final = 5  # So that a long conversation does not make ever longer answers.

ChatGraph = CompiledStateGraph[MessagesState, None, MessagesState, MessagesState]


class OfflineChatModel(BaseChatModel):
    """A deterministic chat model that recalls what the conversation's humans said.

    The same messages always get the same answer. It streams word by word.
    """

    @property
    def _llm_type(self) -> str:
        return "offline"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer(messages)))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for word in re.findall(r"\S+\s*", answer(messages)):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk


def answer(messages: Sequence[BaseMessage]) -> str:
    """Return what the offline model says to *messages*: what it was told, in order."""
    told = [_quoted(message.text) for message in messages if isinstance(message, HumanMessage)]
    things = [f"{number}. {thing}" for number, thing in enumerate(told, 1)]
    if not told:
        return "You have told me nothing so far."
    if len(told) == 1:
        return f"You have told me 1 thing so far: {things[0]}. I will remember it."
    count = f"You have told me {len(told)} things so far"
    if len(told) <= RECALLED:
        return f"{count}: {'; '.join(things)}."
    return f"{count}. It began with {told[0]}. The last were: {'; '.join(things[-RECALLED:])}."


def _quoted(text: str) -> str:
    short = shorten(text)
    more = "" if short == " ".join(text.split()) else " ..."
    return f'"{short.rstrip(".")}{more}"'


def chat_model() -> tuple[BaseChatModel, str]:
    """Return Gemini if `GOOGLE_API_KEY` is set, else the offline model; and which, and why.

    Raises:
        SessionError: There is a key, and langchain-google-genai is not installed.
    """
    if not os.environ.get(KEY_VARIABLE):
        return OfflineChatModel(), (
            f"the offline model, because {KEY_VARIABLE} is not set "
            "(it answers from the conversation alone)"
        )
    try:
        from langchain_google_genai import ChatGoogleGenerativeAI
    except ImportError as error:
        raise SessionError(
            f"{KEY_VARIABLE} is set, but langchain-google-genai cannot be imported: "
            'pip install "langgraph-sessions[gemini]", or unset the variable to use the '
            "offline model"
        ) from error
    return ChatGoogleGenerativeAI(model=GEMINI), f"{GEMINI}, because {KEY_VARIABLE} is set"


def chat_graph(
    model: BaseChatModel, checkpointer: BaseCheckpointSaver[Any] | None = None
) -> ChatGraph:
    """Return a graph of one node, `assistant`, in which *model* answers the messages.

    It runs both ways: an asynchronous run can be cancelled while the model answers.
    """

    def answered(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [model.invoke(state["messages"])]}

    async def aanswered(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("assistant", RunnableLambda(answered, aanswered, name="assistant"))
    builder.add_edge(START, "assistant")
    return builder.compile(checkpointer=checkpointer)
