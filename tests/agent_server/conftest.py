"""Agent Servers, with and without authentication, each on a database of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from tests import citus
from tests.support import PATIENCE, psycopg_pool_options

APP = Path(__file__).parent / "app"
GRAPHS = {name: f"./agent.py:{name}" for name in ("chat", "asking", "failing")}


OPEN: list[Any] = []  # The clients of the test that runs.


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    """Close the clients of each test."""
    yield
    while OPEN:
        await OPEN.pop().aclose()


class AgentServer(NamedTuple):
    """A server that runs.

    Attributes:
        url: Its address.
        db: A connection to its database.
    """

    url: str
    db: psycopg.Connection[Any]

    def client(self, user_id: str | None = None) -> Any:
        """Return a client of LangGraph's SDK, of a user if one is given."""
        from langgraph_sdk import get_client

        headers = {"Authorization": f"Bearer {user_id}"} if user_id else None
        OPEN.append(client := get_client(url=self.url, headers=headers))
        return client

    def sessions(self, thread_id: str) -> list[dict[str, Any]]:
        """Return the rows of a thread's session."""
        sql = "SELECT user_id, title, status, is_active FROM user_sessions WHERE thread_id = %s"
        return self.db.execute(sql, [thread_id]).fetchall()


def said(text: str) -> dict[str, Any]:
    """Return the input that says *text*."""
    return {"messages": [{"role": "user", "content": text}]}


@pytest.fixture(scope="module")
def signing_in(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentServer]:
    """A server with authentication."""
    yield from _running(server, template, tmp_path_factory.mktemp("app"), auth=True)


@pytest.fixture(scope="module")
def open_to_all(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentServer]:
    """A server without authentication."""
    yield from _running(server, template, tmp_path_factory.mktemp("app"), auth=False)


def _running(server: str, template: str, folder: Path, *, auth: bool) -> Iterator[AgentServer]:
    if importlib.util.find_spec("langgraph_api") is None:
        pytest.skip("needs LangGraph's server: pip install 'langgraph-cli[inmem]'")
    name = f"agent_server_{os.getpid()}_{'auth' if auth else 'open'}"
    with (
        citus.cloned(server, name, template) as database,
        psycopg.connect(database, **psycopg_pool_options()) as db,
        open(folder / "log", "wb") as log,
    ):
        port = _free_port()
        process = _start(folder, database, port, log, auth=auth)
        try:
            _wait_for(f"http://127.0.0.1:{port}", process, folder / "log")
            yield AgentServer(f"http://127.0.0.1:{port}", db)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _start(
    folder: Path, database: str, port: int, log: Any, *, auth: bool
) -> subprocess.Popen[bytes]:
    shutil.copytree(APP, folder, dirs_exist_ok=True)
    settings: dict[str, Any] = {
        "dependencies": ["."],
        "graphs": GRAPHS,
        "checkpointer": {"path": "langgraph_sessions.server:checkpointer"},
    }
    if auth:
        settings["auth"] = {"path": "./auth.py:auth"}
    (folder / "langgraph.json").write_text(json.dumps(settings))
    words = ["dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.Popen(
        [sys.executable, "-m", "langgraph_cli", *words],
        cwd=folder,
        env={**os.environ, "DATABASE_URL": database, "LANGSMITH_TRACING": "false"},
        stdout=log,
        stderr=log,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        try:
            httpx.get(f"{url}/ok").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)  # There is nothing to wait for but the server.
            continue
        return
    raise TimeoutError(log.read_text())
