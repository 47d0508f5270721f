"""A server that tests of the savers stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gate import Gate, stoppable
from tests.servers import Server


@pytest.fixture
def own_server() -> Iterator[Server | Gate]:
    """A server that may be stopped."""
    with stoppable() as server:
        yield server
