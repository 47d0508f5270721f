"""Thread ids for new sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import uuid4

from langgraph_sessions import checks
from langgraph_sessions.errors import quoted
from langgraph_sessions.plans import Call, Plan

ThreadIdFactory = Callable[[str], str]


def default_thread_id(user_id: str) -> str:
    """Return `<user_id>_<uuid>`, the user part cut to fit into 255 characters."""
    unique = str(uuid4())
    return f"{user_id[: checks.ID_LENGTH - len(unique) - 1]}_{unique}"


FACTORY_ID: Final = "the thread id that thread_id_factory returned"


def in_use(name: str, thread_id: str) -> ValueError:
    """Return the error for a thread id, an argument called *name*, that something has."""
    return ValueError(f"{name}, {quoted(thread_id)}, is in use")


def new_thread_ids(factory: ThreadIdFactory, user_id: str) -> Plan[tuple[str, str]]:
    """Return the thread id that *factory* makes, and one for where that is in use.

    Who guesses what a factory makes, and takes it, locks nobody out. Raises as `new_thread_id`.
    """
    return (yield Call(new_thread_id, (factory, user_id))), default_thread_id(user_id)


def new_thread_id(factory: ThreadIdFactory, user_id: str) -> str:
    """Ask *factory* for a thread id and check it.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It is blank, too long or not text.
    """
    return checks.text(FACTORY_ID, factory(user_id))
