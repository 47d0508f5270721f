"""What the translations are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langgraph_sessions.plans import Composite, Execute, Fetch, Params, Plan, Statement


@dataclass(frozen=True)
class _Fetched(Fetch):
    """A statement that is sent as it is."""


@dataclass(frozen=True)
class _Executed(Execute):
    """A statement without rows that is sent as it is."""


@dataclass(frozen=True)
class Steps(Composite):
    """Several statements in place of one.

    Attributes:
        make: Returns their plan.
    """

    make: Callable[[], Plan[Any]]

    def plan(self) -> Plan[Any]:
        """As `Composite.plan`."""
        return self.make()


@dataclass(frozen=True)
class AtomicSteps(Steps):
    """Several statements in place of one, in a transaction."""

    atomic = True


def steps(plan: Callable[[Any], Plan[Any]], *, atomic: bool = False) -> Callable[[Any], Composite]:
    """Return the translation of a statement into the steps of *plan*."""
    kind = AtomicSteps if atomic else Steps
    return lambda statement: kind(lambda: plan(statement))


def params(statement: Statement, **more: Any) -> dict[str, Any]:
    """Return a statement's parameters, which are by name, and *more*."""
    named: Any = statement.params
    return {**named, **more}


def ask(sql: str, params: Params) -> Fetch:
    """Return a statement that is sent as it is."""
    return _Fetched(sql, params)


def ask_for_nothing(sql: str, params: Params) -> Execute:
    """Return a statement without rows that is sent as it is."""
    return _Executed(sql, params)
