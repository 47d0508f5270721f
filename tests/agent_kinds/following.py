"""A chat model that calls the tools that it is told to call, and tools for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool

from tests.support import Chat


class Follower(BaseChatModel):
    """A model that follows instructions: the lines of the last human message, one at a time.

    A line such as `weather {"city": "Rome"}` is a call of that tool, if the model has it. When all
    were called, it says how many messages it sees and how the last of them begins. So what it says
    shows which history it was given. It streams word by word, and counts tokens, as models do.
    """

    names: tuple[str, ...] = ()

    @property
    def _llm_type(self) -> str:
        return "follower"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        names = (convert_to_openai_tool(each)["function"]["name"] for each in tools)
        return self.model_copy(update={"names": tuple(names)})

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        used = sum(len(message.text.split()) for message in messages)
        usage = {"input_tokens": used, "output_tokens": 1, "total_tokens": used + 1}
        if call := next(self._left(messages), None):
            return AIMessage("", tool_calls=[call], usage_metadata=usage)  # type: ignore[arg-type]
        last = messages[-1].text.strip()[:60]
        return AIMessage(f"{len(messages)}: {last}", usage_metadata=usage)  # type: ignore[arg-type]

    def _left(self, messages: list[BaseMessage]) -> Iterator[dict[str, Any]]:
        """Yield the calls that the last human asked for and that were not made."""
        made: list[Any] = []
        for message in reversed(messages):
            if isinstance(message, HumanMessage):
                break
            made += [call["name"] for call in getattr(message, "tool_calls", [])]
        else:
            return
        for line in message.text.splitlines():
            name, _, arguments = line.partition(" ")
            if name in made:
                made.remove(name)
            elif name in self.names:
                call = {"name": name, "args": json.loads(arguments or "{}"), "type": "tool_call"}
                yield {**call, "id": f"call-{len(messages)}"}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in _pieces(self._answer(messages)):
            chunk = ChatGenerationChunk(message=piece)
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk


def _pieces(answer: AIMessage) -> Iterator[AIMessageChunk]:
    for call in answer.tool_calls:
        asked = json.dumps(call["args"])
        name, at = call["name"], call["id"]
        yield AIMessageChunk(
            "", tool_call_chunks=[tool_call_chunk(name=name, args="", id=at, index=0)]
        )
        yield AIMessageChunk("", tool_call_chunks=[tool_call_chunk(args=asked, index=0)])
    for word in re.findall(r"\S+\s*", answer.text):
        yield AIMessageChunk(word)
    yield AIMessageChunk("", usage_metadata=answer.usage_metadata, chunk_position="last")


@tool
def weather(city: str) -> str:
    """Look up the weather."""
    return f"sun in {city}"


@tool
def book(hotel: str) -> str:
    """Book a hotel."""
    return f"booked {hotel}"


ROME = 'weather {"city": "Rome"}'
OSLO = 'weather {"city": "Oslo"}'
RITZ = 'book {"hotel": "Ritz"}'


def asking_an_expert(chat: Chat) -> Any:
    """Return an agent with a tool that asks another agent, which keeps its memory."""
    expert = create_agent(Follower(), [weather], name="expert", checkpointer=True)

    def last(state: Any) -> str:
        return str(state["messages"][-1].text)

    if chat.is_async:

        @tool
        async def ask(question: str) -> str:
            """Ask the expert."""
            return last(await expert.ainvoke({"messages": [question]}))

    else:

        @tool
        def ask(question: str) -> str:
            """Ask the expert."""
            return last(expert.invoke({"messages": [question]}))

    return create_agent(Follower(), [ask], checkpointer=chat.saver)
