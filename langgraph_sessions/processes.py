"""Processes that fork, as servers with several workers do."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forks(Protocol):
    """An object that must know of a fork in the child."""

    def forked(self) -> None:
        """Called in the child first: its locks and connections are the parent's."""


# A child has only the thread that forked: a lock that another one held stays held for ever, and
# a connection is the parent's.
_watched: weakref.WeakSet[Forks] = weakref.WeakSet()


def watch(thing: Forks) -> None:
    """Call its `forked` in every child that this process forks."""
    _watched.add(thing)


def _in_child() -> None:
    for thing in list(_watched):
        thing.forked()


if hasattr(os, "register_at_fork"):  # Not on Windows, which does not fork.
    os.register_at_fork(after_in_child=_in_child)
