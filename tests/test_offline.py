"""The offline model, and the choice between it and Gemini."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig

from langgraph_sessions import SessionError, SessionSaver
from langgraph_sessions.offline import OfflineChatModel, chat_graph, chat_model

TOLD: list[BaseMessage] = [
    SystemMessage("Be brief."),
    HumanMessage("I am Alice."),
    AIMessage("Hello."),
    HumanMessage([{"type": "text", "text": "I like\n museums"}]),
]


def test_it_recalls_what_humans_said_in_order() -> None:
    """The answer counts and quotes the human messages, and nobody else's."""
    said = OfflineChatModel().invoke(TOLD).text
    assert said == 'You have told me 2 things so far: 1. "I am Alice"; 2. "I like museums".'


def test_it_is_deterministic() -> None:
    """The same messages get the same answer."""
    assert OfflineChatModel().invoke(TOLD).content == OfflineChatModel().invoke(TOLD).content


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        ([SystemMessage("Be brief.")], "You have told me nothing so far."),
        ([HumanMessage("Hi")], 'You have told me 1 thing so far: 1. "Hi". I will remember it.'),
        (
            [HumanMessage(f"thing {number}") for number in range(1, 8)],
            'You have told me 7 things so far. It began with "thing 1". The last were: '
            '3. "thing 3"; 4. "thing 4"; 5. "thing 5"; 6. "thing 6"; 7. "thing 7".',
        ),
    ],
)
def test_what_it_says(messages: list[BaseMessage], answer: str) -> None:
    """It has an answer to nothing, to one thing, and to many, which it keeps short."""
    assert OfflineChatModel().invoke(messages).text == answer


def test_a_long_message_is_cut() -> None:
    """A long message is quoted by its beginning, cut at a word."""
    said = OfflineChatModel().invoke([HumanMessage("word " * 1000)]).text
    assert 'word word ..."' in said
    assert len(said) < 150


def test_it_streams_words() -> None:
    """The stream's chunks are the words of the answer, and together the answer."""
    chunks = [chunk.text for chunk in OfflineChatModel().stream(TOLD) if chunk.text]
    assert chunks[:4] == ["You ", "have ", "told ", "me "]
    assert "".join(chunks) == OfflineChatModel().invoke(TOLD).text


@pytest.mark.server
def test_the_graph_streams_and_remembers(tmp_path: Path) -> None:
    """In the graph, its words come one by one, and a second turn knows the first."""
    alice = RunnableConfig(configurable={"user_id": "alice"})
    with SessionSaver(path=tmp_path) as saver:
        graph = chat_graph(OfflineChatModel(), saver)
        graph.invoke({"messages": [HumanMessage("One")]}, alice)
        stream = graph.stream({"messages": [HumanMessage("Two")]}, alice, stream_mode="messages")
        chunks = [(chunk.text, metadata["langgraph_node"]) for chunk, metadata in stream]
    words = "".join(text for text, _ in chunks)
    assert words == 'You have told me 2 things so far: 1. "One"; 2. "Two".'
    assert ("You ", "assistant") in chunks


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_the_model_is_offline(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without GOOGLE_API_KEY, or with an empty one, it is the offline model, which says why."""
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("GOOGLE_API_KEY", key)
    model, description = chat_model()
    assert isinstance(model, OfflineChatModel)
    assert description.startswith("the offline model, because GOOGLE_API_KEY is not set")


def test_a_key_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key and without langchain-google-genai, the error says what to install."""
    monkeypatch.setenv("GOOGLE_API_KEY", "local")
    monkeypatch.setitem(sys.modules, "langchain_google_genai", None)
    with pytest.raises(SessionError, match=r'pip install "langgraph-sessions\[gemini\]"'):
        chat_model()
