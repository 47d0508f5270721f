"""Gemini: its real client, against a local server that speaks its API."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_google_genai import ChatGoogleGenerativeAI

from langgraph_sessions import SessionSaver
from langgraph_sessions.embedded.server import DEFAULT_PATH
from langgraph_sessions.offline import GEMINI, chat_graph, chat_model
from tests.screen import CTRL_C, Screen
from tests.terminal import PATIENCE, Program

ALICE = RunnableConfig(configurable={"user_id": "alice"})


class GeminiServer(ThreadingHTTPServer):
    """Answers how many messages it was sent, and keeps them.

    Attributes:
        asked: Each request's conversation, as (role, text).
        methods: Each request's API method.
        was_asked: Whether a request came.
        may_finish: While it is not set, a stream stops after its first chunk.
        refuses: Whether the key is not accepted.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[list[tuple[str, str]]] = []
        self.methods: list[str] = []
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.was_asked = threading.Event()
        self.refuses = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request of the API."""

    server: GeminiServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        conversation = [
            (content["role"], "".join(part["text"] for part in content["parts"]))
            for content in asked["contents"]
        ]
        self.server.asked.append(conversation)
        self.server.was_asked.set()
        method = self.path.partition("?")[0].rpartition(":")[2]
        self.server.methods.append(method)
        words = ["That", " makes", f" {len(conversation)}", " messages."]
        if self.server.refuses:
            refusal = {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}
            self._send(400, json.dumps({"error": refusal}))
        elif method == "streamGenerateContent":
            self._stream(words)
        else:
            self._send(200, json.dumps(response("".join(words))))

    def _send(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def _stream(self, words: list[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # The client may leave.
            for word in words:
                event = json.dumps(response(word, word is words[-1]))
                self.wfile.write(f"data: {event}\r\n\r\n".encode())
                self.server.may_finish.wait()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def response(text: str, finished: bool = True) -> dict[str, Any]:
    """Return what the API answers, as its reference has it."""
    content = {"role": "model", "parts": [{"text": text}]}
    candidate = {"content": content, "index": 0, **({"finishReason": "STOP"} if finished else {})}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": GEMINI}


@pytest.fixture
def gemini() -> Iterator[GeminiServer]:
    with GeminiServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.may_finish.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def model(gemini: GeminiServer) -> ChatGoogleGenerativeAI:
    return ChatGoogleGenerativeAI(model=GEMINI, api_key="local", base_url=gemini.url)


TWO_TURNS = [
    [("user", "Hello")],
    [("user", "Hello"), ("model", "That makes 1 messages."), ("user", "Again")],
]


def test_the_second_turn_sends_the_first(
    gemini: GeminiServer, model: ChatGoogleGenerativeAI, tmp_path: Path
) -> None:
    """Given a user_id and nothing else, Gemini is sent the conversation so far."""
    with SessionSaver(path=tmp_path) as saver:
        graph = chat_graph(model, saver)
        graph.invoke({"messages": [HumanMessage("Hello")]}, ALICE)
        said = graph.invoke({"messages": [HumanMessage("Again")]}, ALICE)["messages"]
    assert gemini.asked == TWO_TURNS
    assert isinstance(said[-1], AIMessage)
    assert said[-1].text == "That makes 3 messages."
    assert gemini.methods == ["generateContent"] * 2


def test_streaming(gemini: GeminiServer, model: ChatGoogleGenerativeAI, tmp_path: Path) -> None:
    """A streamed run passes on each chunk as it comes, and saves the whole answer."""
    gemini.may_finish.clear()
    with SessionSaver(path=tmp_path) as saver:
        graph = chat_graph(model, saver)
        stream = graph.stream({"messages": [HumanMessage("Hello")]}, ALICE, stream_mode="messages")
        chunk, _ = next(stream)
        assert chunk.text == "That"  # The server has said no more yet.
        gemini.may_finish.set()
        rest = "".join(chunk.text for chunk, _ in stream)
        graph.invoke({"messages": [HumanMessage("Again")]}, ALICE)
    assert rest == " makes 1 messages."
    assert gemini.asked == TWO_TURNS
    assert gemini.methods == ["streamGenerateContent", "generateContent"]


def test_chat_model_is_gemini_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With GOOGLE_API_KEY set, the model is Gemini, and the description says why."""
    monkeypatch.setenv("GOOGLE_API_KEY", "local")
    model, description = chat_model()
    assert isinstance(model, ChatGoogleGenerativeAI)
    assert model.model.endswith(GEMINI)
    assert description == f"{GEMINI}, because GOOGLE_API_KEY is set"


# GOOGLE_GEMINI_BASE_URL is the client's own: google/genai/_base_url.py.


def test_chat_streams_from_gemini(gemini: GeminiServer, tmp_path: Path) -> None:
    """With a key, the chat talks to Gemini, says so, and shows each chunk as it comes."""
    gemini.may_finish.clear()
    variables = {"GOOGLE_API_KEY": "local", "GOOGLE_GEMINI_BASE_URL": gemini.url}
    with Program("chat", "--user", "alice", cwd=tmp_path, **variables) as chat:
        assert f"Model: {GEMINI}, because GOOGLE_API_KEY is set" in chat.wait_for("alice> ")
        chat.type("Hello")
        chat.wait_for("assistant> That")  # The server has said no more yet.
        gemini.may_finish.set()
        chat.wait_for(" makes 1 messages.\n")
        chat.type("Again")
        status, _, errors = chat.end()
    assert (status, errors) == (0, "")
    assert gemini.asked == TWO_TURNS


def test_ctrl_c_stops_an_answer(gemini: GeminiServer, tmp_path: Path) -> None:
    """Ctrl-C stops an answer that Gemini has not finished, and the next message is answered."""
    gemini.may_finish.clear()
    variables = {"GOOGLE_API_KEY": "local", "GOOGLE_GEMINI_BASE_URL": gemini.url}
    with Program("chat", "--user", "alice", cwd=tmp_path, **variables) as chat:
        chat.type("Hello")
        chat.wait_for("assistant> That")
        chat.process.send_signal(signal.SIGINT)
        chat.wait_for("\nStopped.\n")
        gemini.may_finish.set()
        chat.type("Again")
        chat.wait_for("assistant> That makes 2 messages.\n")
        status, out, errors = chat.end()
    assert (status, errors) == (0, "")
    assert out.endswith("Bye. Your sessions are kept.\n")
    assert gemini.asked[-1] == [("user", "Hello"), ("user", "Again")]


def test_a_key_stops_an_answer(gemini: GeminiServer, tmp_path: Path) -> None:
    """So does the key in a terminal; the session is idle then, and /quit leaves at once."""
    gemini.may_finish.clear()
    variables = {"GOOGLE_API_KEY": "local", "GOOGLE_GEMINI_BASE_URL": gemini.url}
    with Screen("chat", "--user", "alice", cwd=tmp_path, **variables) as screen:
        screen.wait_for("[new session] alice>")
        screen.press("Hello\n")
        assert gemini.was_asked.wait(PATIENCE)
        screen.press(CTRL_C)
        screen.see("\nStopped.\n")
        screen.wait_for("[Hello] alice>")
        screen.press("/quit\n")
        assert screen.end()[0] == 0
    with SessionSaver(path=tmp_path / DEFAULT_PATH) as saver:
        (session,) = saver.sessions.list_sessions("alice")
    assert session.status == "idle"


def test_a_refusal_is_one_line_and_the_chat_goes_on(gemini: GeminiServer, tmp_path: Path) -> None:
    """What Gemini refuses is told in one line, and the next message is answered."""
    gemini.refuses = True
    variables = {"GOOGLE_API_KEY": "wrong", "GOOGLE_GEMINI_BASE_URL": gemini.url}
    with Program("chat", "--user", "alice", cwd=tmp_path, **variables) as chat:
        chat.type("Hello")
        chat.wait_for("\nError: ")
        assert "API key not valid." in chat.wait_for("\n")
        chat.wait_for("alice> ")
        gemini.refuses = False
        chat.type("Again")
        chat.wait_for("assistant> That makes 2 messages.\n")
        status, _, errors = chat.end()
    assert (status, errors) == (0, "")
