"""A data folder for the embedded server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is not there yet, in one that everybody may pass through."""
    with tempfile.TemporaryDirectory(prefix="lgs-") as name:
        os.chmod(name, 0o711)
        root = Path(name) / "data of a project"
        yield root
        if (root / "data").exists():
            until(lambda: not (root / "data/postmaster.pid").exists())
