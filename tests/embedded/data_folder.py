"""Whether the server of a data folder runs, and as which process."""

from __future__ import annotations

from pathlib import Path


def postmaster(folder: Path) -> int:
    """Return the server's process id."""
    return int((folder / "data/postmaster.pid").read_text().split()[0])


def is_running(folder: Path) -> bool:
    """Say whether the server's pid file is there, which a stopped one removes."""
    return (folder / "data/postmaster.pid").exists()
