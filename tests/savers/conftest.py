"""A server that tests of the savers stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Server


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that may be stopped."""
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()
