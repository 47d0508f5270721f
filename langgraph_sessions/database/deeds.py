"""Deeds: what is done in a certain order, written once for sync and async.

A deed is a generator that yields functions without arguments. `do` calls each; `ado` also
awaits what it returned, if that can be awaited. What a function raises is raised in the deed.

A plan says what happens; a deed only in which order.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from types import CoroutineType
from typing import Any, TypeVar

T = TypeVar("T")

Deed = Generator[Callable[[], Any], Any, T]


def do(deed: Deed[T]) -> T:
    """Do *deed*, and return its result."""
    try:
        return _do(deed)
    except BaseException as error:
        if inspect.getgeneratorstate(deed) == inspect.GEN_CLOSED:  # The deed's own error.
            raise
        return _do(deed, error)  # Ctrl-C between two steps: the deed cleans up.


def _do(deed: Deed[T], error: BaseException | None = None) -> T:
    try:
        step = next(deed) if error is None else deed.throw(error)
        while True:
            try:
                value = step()
            except BaseException as raised:
                step = deed.throw(raised)
            else:
                step = deed.send(value)
    except StopIteration as done:
        result: T = done.value
        return result


async def ado(deed: Deed[T]) -> T:
    """Async version of `do`."""
    try:
        step = next(deed)
        while True:
            try:
                value = step()
                if type(value) is CoroutineType or inspect.isawaitable(value):
                    value = await value
            except BaseException as error:
                step = deed.throw(error)
            else:
                step = deed.send(value)
    except StopIteration as done:
        result: T = done.value
        return result
