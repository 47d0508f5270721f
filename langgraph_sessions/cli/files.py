"""Files that the commands write."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click

from langgraph_sessions.cli.telling import Update
from langgraph_sessions.cli.terminal import one_line


@dataclass
class Written:
    """What was written of an export.

    Attributes:
        counts: How many sessions and messages.
        told: What is to be said of it: what was replaced, and which threads cannot be read.
        complete: Whether every thread could be read.
    """

    counts: dict[str, int]
    told: list[str]
    complete: bool = True

    def note(self, record: Mapping[str, Any]) -> None:
        """Note that *record* was written."""
        kind = record["record"]
        if kind in self.counts:
            self.counts[kind] += 1
        elif kind == "note":
            self.told.append(f"Note: {record['note']}.")
        elif kind == "unreadable":
            self.told.append(f"Could not export thread {record['thread_id']}: {record['error']}")
            self.complete = False

    def tell(self) -> int:
        """Say on standard error what is to be said; return the status, 1 if all is not there."""
        for line in self.told:
            click.echo(one_line(line), err=True)
        return 0 if self.complete else 1


def write_lines(records: Iterable[Mapping[str, Any]], file: TextIO, update: Update) -> Written:
    """Write *records* as JSON lines; return what was written."""
    written = Written({"session": 0, "message": 0}, [])
    for record in records:
        file.write(json.dumps(record, allow_nan=False) + "\n")
        written.note(record)
        update(written.counts, written.counts["session"])
    return written


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open *path* to write: all is there in the end, or what was there before.

    Raises:
        click.ClickException: It cannot be written.
    """
    try:
        with _replacing(path) as file:
            yield file
    except BrokenPipeError:  # Whoever reads a pipe has had enough.
        raise
    except OSError as error:  # Which names a file that nobody has heard of, or none.
        raise click.ClickException(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    if path.exists() and not path.is_file():  # A device or a pipe.
        with path.open("w", encoding="ascii") as device:
            yield device
        return
    path = path.resolve()
    handle, part = tempfile.mkstemp(prefix=".export-", dir=path.parent)
    try:
        with open(handle, "w", encoding="ascii") as file:  # Which only its owner may read.
            yield file
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
