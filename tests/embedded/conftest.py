"""A data folder for the embedded server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that only its owner may enter, as `mktemp -d` makes it."""
    with tempfile.TemporaryDirectory(prefix="lgs-") as name:
        root = Path(name) / "data of a project"
        yield root
        if (root / "data").exists():
            until(lambda: not (root / "data/postmaster.pid").exists())
