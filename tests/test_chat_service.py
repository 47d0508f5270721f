"""The example of a web service, with real uvicorn and a real HTTP client."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import PATIENCE

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


OPEN: list[httpx.Client] = []  # The clients of the test that runs.


class Browser:
    """A client of the service, in which *user_id* is signed in."""

    def __init__(self, url: str, user_id: str | None) -> None:
        headers = {"X-User": user_id} if user_id else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, trust_env=False)
        OPEN.append(self.http)

    def say(self, text: str, **asked: Any) -> list[tuple[str, Any]]:
        """Say something, and return the events of the answer."""
        return self.send(text=text, **asked)

    def send(self, **given: Any) -> list[tuple[str, Any]]:
        """Send a text, or an answer, and return the events of the answer to it."""
        with self.http.stream("POST", "/chat", json=given) as response:
            response.raise_for_status()
            return [*_events(response.iter_lines())]

    def stop_after_the_first_word(self, text: str) -> None:
        """Say something, and go away in the midst of the answer."""
        with self.http.stream("POST", "/chat", json={"text": text}) as response:
            next(event for event in _events(response.iter_lines()) if event[0] == "message")

    def said(self, thread_id: str) -> list[str]:
        """Return what the humans said in a session."""
        messages = self.http.get(f"/sessions/{thread_id}").raise_for_status().json()
        return [message["text"] for message in messages if message["role"] == "human"]


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    for line in lines:
        if line.startswith("event: "):
            yield line.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))


@contextmanager
def serving(url: str, workers: int, app: str = "chat_service:app") -> Iterator[str]:
    """The address at which uvicorn serves the example, on the database *url*."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    words = [app, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *words, "--workers", str(workers)],
        cwd=NOTEBOOKS,
        env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/sessions", trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.1)  # There is nothing to wait for but the server.
        else:
            return
    raise RuntimeError("the service did not start")


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def service(request: pytest.FixtureRequest, direct_url: str) -> Iterator[str]:
    """The service's address."""
    pytest.importorskip("fastapi")
    with serving(direct_url, request.param) as url:
        yield url
    while OPEN:
        OPEN.pop().close()


def test_a_conversation(service: str) -> None:
    """It says the session first, streams the answer, lists, renames, reads and deletes."""
    alice = Browser(service, "alice")
    (first, place), *words = alice.say("Plan a trip")
    assert first == "session"
    assert "".join(text for _, text in words).startswith("You have told me 1 thing")
    assert alice.say("In May")[0] == ("session", place)
    thread_id = place["thread_id"]
    assert alice.said(thread_id) == ["Plan a trip", "In May"]
    changed = alice.http.patch(f"/sessions/{thread_id}", json={"metadata": {"a": 1}}).json()
    assert (changed["title"], changed["metadata"]) == ("Plan a trip", {"a": 1})
    (listed,) = alice.http.get("/sessions").json()["sessions"]
    assert listed == {**changed, "status": "idle"}
    alice.say("Draft my CV", new_session=True)
    assert alice.http.delete(f"/sessions/{thread_id}").status_code == 204
    assert [s["title"] for s in alice.http.get("/sessions").json()["sessions"]] == ["Draft my CV"]


@pytest.mark.parametrize("service", [1], indirect=True, ids=["one worker"])
def test_stop_and_send_again(service: str) -> None:
    """Who stops an answer and sends the next message at once is answered, each time."""
    alice = Browser(service, "alice")
    thread_id = alice.say("Hello")[0][1]["thread_id"]
    for number in range(5):
        alice.stop_after_the_first_word(f"stopped {number}")
        events = alice.say(f"next {number}", thread_id=thread_id)
        assert "error" not in [name for name, _ in events]
    said = alice.said(thread_id)
    assert [text for text in said if not text.startswith("stopped")] == [
        "Hello",
        *(f"next {number}" for number in range(5)),
    ]


@pytest.mark.parametrize("service", [2], indirect=True, ids=["two workers"])
def test_stop_and_send_again_to_another_worker(service: str) -> None:
    """It is refused there as long as the stopped run still saves, and answered then."""
    alice = Browser(service, "alice")
    thread_id = alice.say("Hello")[0][1]["thread_id"]
    alice.stop_after_the_first_word("stopped")
    deadline = time.monotonic() + PATIENCE
    while alice.say("next", thread_id=thread_id)[-1] == ("error", "ConcurrentRunError"):
        assert time.monotonic() < deadline
    assert alice.said(thread_id)[-1] == "next"


def test_somebody_elses_session_is_not_there(service: str) -> None:
    """It is 404 before the stream, whatever is asked; who is not signed in gets 401."""
    thread_id = Browser(service, "alice").say("secret")[0][1]["thread_id"]
    bob = Browser(service, "bob")
    assert bob.http.post("/chat", json={"text": "Hi", "thread_id": thread_id}).status_code == 404
    assert bob.http.get(f"/sessions/{thread_id}").status_code == 404
    assert bob.http.patch(f"/sessions/{thread_id}", json={"title": "mine"}).status_code == 404
    assert bob.http.delete(f"/sessions/{thread_id}").status_code == 404
    assert bob.http.get("/sessions").json()["sessions"] == []
    assert Browser(service, None).http.get("/sessions").status_code == 401


def test_bad_input_says_what_is_wrong(service: str) -> None:
    """An unknown update, an empty title and a mangled cursor are 422, and are named."""
    alice = Browser(service, "alice")
    thread_id = alice.say("Hello")[0][1]["thread_id"]
    for answer, named in (
        (alice.http.patch(f"/sessions/{thread_id}", json={"user_id": "bob"}), "user_id"),
        (alice.http.patch(f"/sessions/{thread_id}", json={"title": " "}), "title"),
        (alice.http.get("/sessions", params={"cursor": "x"}), "cursor"),
    ):
        assert answer.status_code == 422
        assert named in answer.json()["detail"]


ASKING = """
import chat_service
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

def book(state):
    answer = interrupt({"book": state["messages"][-1].text})
    return {"messages": [AIMessage(f"answered {answer}")]}

def asking(model, saver):
    builder = StateGraph(MessagesState).add_node("book", book)
    return builder.add_edge(START, "book").compile(saver)

chat_service.chat_graph, app = asking, chat_service.app
"""


def test_a_graph_that_interrupts_is_answered(
    direct_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it asks is an event, and its user's answer alone goes on; one to nothing is refused."""
    pytest.importorskip("fastapi")
    (tmp_path / "asking.py").write_text(ASKING)
    monkeypatch.syspath_prepend(tmp_path)
    with serving(direct_url, 1, "asking:app") as url:
        alice, bob = Browser(url, "alice"), Browser(url, "bob")
        for answer in ("yes", False, {"seats": 2}):
            (_, place), (name, asked) = alice.say("Rome")
            assert (name, asked["value"]) == ("question", {"book": "Rome"})
            given = {"answer": answer, **place}
            assert bob.http.post("/chat", json=given).status_code == 404
            (listed,) = alice.http.get("/sessions").json()["sessions"]
            assert listed["status"] == "interrupted"
            assert alice.send(**given)[1:] == [("message", f"answered {answer}")]
            assert alice.http.post("/chat", json=given).status_code == 409
        assert bob.http.post("/chat", json={"answer": "yes"}).status_code == 409
    while OPEN:
        OPEN.pop().close()
