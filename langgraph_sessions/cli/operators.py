"""`sessions …`: what an operator does to sessions, one command for each.

Every command says on standard error which database it is on. Progress is shown there, too, and
only where that is a terminal.
"""

from __future__ import annotations

# Each puts its commands into the group.
from langgraph_sessions.cli import changing, deleting, keeping, looking
from langgraph_sessions.cli.group import sessions

__all__ = ["changing", "deleting", "keeping", "looking", "sessions"]
