"""Addresses of one database through several nodes."""

from __future__ import annotations

import pytest

from tests import citus
from tests.nodes.cluster import through_all


@pytest.fixture
def urls(url: str) -> list[str]:
    """The database's address through each node, the coordinator first."""
    assert citus.url()
    return through_all(url)
