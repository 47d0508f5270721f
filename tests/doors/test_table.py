"""The table of doors is whole."""

from __future__ import annotations

import inspect

from langgraph.graph.state import CompiledStateGraph

from langgraph_sessions import (
    AgentSessionManager,
    AsyncAgentSessionManager,
    AsyncSessionSaver,
    SessionSaver,
)
from tests.doors.managers import MANAGERS, NO_MANAGERS
from tests.doors.table import DOORS, NO_DOORS, OPERATORS


def entries(of: str, *classes: type) -> set[str]:
    """Return what is public of classes, a method and its twin as one."""
    names = {
        name
        for each in classes
        for name, member in inspect.getmembers(each)
        if name[0].islower() and (callable(member) or isinstance(member, property))
    }
    return {f"{of}.{name[1:] if name[0] == 'a' and name[1:] in names else name}" for name in names}


def test_every_method_of_a_saver_has_its_door() -> None:
    """A new one fails here until it has a row in the table of doors, or the reason why not."""
    tabled = {*(door.entry for door in DOORS), *NO_DOORS, *OPERATORS}
    assert entries("saver", SessionSaver, AsyncSessionSaver) <= tabled


def test_every_method_of_a_manager_has_its_door() -> None:
    """A new one fails here likewise."""
    tabled = {*(door.entry for door in MANAGERS), *NO_MANAGERS}
    assert entries("sessions", AgentSessionManager, AsyncAgentSessionManager) == tabled


def test_every_entry_of_langgraph_has_its_door() -> None:
    """Whatever of a graph takes a config; a new one of LangGraph's fails here likewise."""
    taking = {
        name
        for name in entries("graph", CompiledStateGraph)
        if callable(method := getattr(CompiledStateGraph, name.removeprefix("graph."), None))
        and "config" in inspect.signature(method).parameters
    }
    assert taking <= {*(door.entry for door in DOORS), *NO_DOORS}


def test_what_has_no_door_is_not_tried() -> None:
    """Each entry stands in one of the lists."""
    assert not {door.entry for door in (*DOORS, *MANAGERS)} & {*NO_DOORS, *NO_MANAGERS, *OPERATORS}
