"""HTTP clients that go away in the middle of an answer, and ask again at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from langgraph_sessions import AsyncSessionSaver, ConcurrentRunError
from tests.graphs import DURABILITIES
from tests.runs import stopping
from tests.runs.stopping import Caller, Tries, assert_faithful
from tests.slow import slow_commits
from tests.support import config


def service(graph: Any) -> Starlette:
    """Return an application that streams answers as server-sent events."""

    async def chat(request: Request) -> StreamingResponse:
        asked = request.query_params
        given, where = {"messages": [asked["text"]]}, config(user_id=asked["user"])
        how = {"durability": asked["durability"], "stream_mode": ["values", "custom"]}

        async def events() -> AsyncIterator[str]:
            try:
                async for _ in graph.astream(given, where, **how):
                    yield "data: part\n\n"
                yield "data: end\n\n"
            except ConcurrentRunError:
                yield "data: refused\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return Starlette(routes=[Route("/chat", chat)])


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client of *app*, which uvicorn serves."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)
        server = uvicorn.Server(settings)
        serving = asyncio.create_task(server.serve([listening]))
        port = listening.getsockname()[1]
        try:
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False
            ) as client:
                yield client
        finally:
            server.should_exit = True
            await serving


class Browser(Caller):
    """A user of the service."""

    async def chunks(self, text: str) -> AsyncIterator[str]:
        """Say something, and give the events that come; who closes this goes away."""
        asked = {"text": text, "user": self.user_id, "durability": self.durability}
        async with self.graph.stream("GET", "/chat", params=asked) as response:
            async for line in response.aiter_lines():
                if line == "data: refused":
                    raise ConcurrentRunError(self.user_id)
                if line:
                    yield line


@pytest.mark.parametrize(
    "tries", [20, pytest.param(200, marks=pytest.mark.long)], ids=["short", "long"]
)
async def test_who_goes_away_and_comes_back_is_heard(url: str, tries: int) -> None:
    """The server learns of it while the next message comes in, which is not refused."""
    slow_commits(url)
    all_tries = Tries(tries)
    async with AsyncSessionSaver(url) as saver:
        graph = stopping.answering(all_tries.chance).compile(checkpointer=saver)
        async with served(service(graph)) as client:

            async def talk(durability: str) -> None:
                for number in range(tries):
                    browser = Browser(client, durability, f"{durability}-{number}")
                    await all_tries.one(browser, stopping.closed)

            await asyncio.gather(*map(talk, DURABILITIES))
    assert all_tries.refused == {}
    await assert_faithful(url, all_tries.users)
