"""A server of pages on a clean database, and a visitor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web.visiting import Served, Visitor, serving_pages


@pytest.fixture
def served(direct_url: str) -> Iterator[Served]:
    """The pages of a clean database."""
    with serving_pages(direct_url) as served:
        yield served


@pytest.fixture
def visitor(served: Served) -> Iterator[Visitor]:
    """Somebody who was told the token."""
    with served.client() as http:
        yield Visitor(served, http)
