"""The server of the pages."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

import uvicorn
from starlette.types import ASGIApp

PATIENCE: Final = 2  # Seconds in which requests under way may end.


def server(app: ASGIApp) -> uvicorn.Server:
    """Return a server of *app* that logs no request: addresses hold threads, and titles."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=PATIENCE,
    )
    return uvicorn.Server(config)


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serve *app* on *listening* until Ctrl-C or SIGTERM."""
    with suppress(KeyboardInterrupt):
        server(app).run(sockets=[listening])
