"""The README does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import GUIDE, README, ROOT, program, promised
from tests.support import python

TEXT = README.read_text()
SAID = re.findall(r'"messages": \["(.*?)"\]', TEXT)  # By everybody, the one who is refused too.
# What a browser would do with the block on FastAPI.
BROWSER = """
from fastapi.testclient import TestClient

with TestClient(app) as browser:
    said = browser.post("/chat", params={"text": "By train", "user_id": "alice"}).json()
assert said == {"thread_id": rome.thread_id, "answer": "Gladly!"}
assert [session.title for session in manager.list_sessions("alice")] == ["Rome in May", "CV"]
"""
EXPORT = [sys.executable, "-m", "langgraph_sessions", "sessions", "export"]


def environment(url: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {**kept, "PYTHONPATH": str(ROOT), **({"DATABASE_URL": url} if url else {})}


def kept_of(user: str, folder: Path, url: str | None) -> list[str]:
    """Return what another process finds of *user*: what humans said."""
    command = [*EXPORT, user]
    lines = subprocess.check_output(command, cwd=folder, env=environment(url), text=True)
    records = map(json.loads, lines.splitlines())
    return [record["content"] for record in records if record.get("role") == "human"]


@pytest.fixture(params=["DATABASE_URL", "embedded"])
def database(request: pytest.FixtureRequest) -> str | None:
    """Where the README's blocks go by default: to a URL, or without one to the embedded server."""
    return request.getfixturevalue("unused_url") if request.param == "DATABASE_URL" else None


@pytest.mark.server
def test_its_blocks_run_in_order_and_nothing_said_is_lost(
    database: str | None, tmp_path: Path
) -> None:
    """As printed, in one folder and database, without a warning; another process reads it all."""
    whole = program(README) + BROWSER
    ended = python(whole, cwd=str(tmp_path), env=environment(database))
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert re.search(".*".join(promised(README)), ended.stdout, re.DOTALL)
    assert SAID[-2:] == ["Show me", "And then?"]
    said = [text for text in SAID if text != "Show me"]
    assert sorted(kept_of("alice", tmp_path, database)) == sorted([*said, "By train"])
    assert kept_of("bob", tmp_path, database) == []


def test_it_can_be_read_at_a_sitting() -> None:
    """It has under 200 lines; the rest is in the guide."""
    assert len(TEXT.splitlines()) < 200


def test_the_two_commands_are_there() -> None:
    """The commands that run the main job and the tests are printed as CI runs them."""
    assert 'pip install -e ".[demo]" && python -m langgraph_sessions demo' in TEXT
    assert 'pip install -e ".[test]" && pytest' in TEXT


@pytest.mark.parametrize("page", GUIDE)
def test_every_page_of_the_guide_is_in_it(page: str) -> None:
    """A page that nobody is led to is not read."""
    assert f"(langgraph_sessions/guide/{page}.md" in TEXT
