"""What the machine draws, which savers there are, and which rules the package does not keep yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition

from tests.model.comparing import USERS

# Rules of the contract that the package does not keep yet. A line goes when one lands.
NOT_YET: Final = frozenset(
    {
        "purges",  # A session that was stopped without a trace is purged at once, not after a day.
    }
)

# The savers on the one database, and their agents.
SAVERS: Final[dict[str, str | None]] = {
    "sync": None,
    "async": None,
    "sync a": "a",
    "async b": "b",
}

users = st.integers(0, USERS - 1)
kinds = st.sampled_from([*SAVERS])
operators = st.sampled_from(("sync", "async"))
numbers = st.integers(0, 9)  # The n-th session, or checkpoint, of those that there are.
durabilities = st.sampled_from(("async", "sync", "exit"))
words = st.sampled_from(("hello", "ask", "fail", "twice", "hi  there", "nest"))
titles = st.sampled_from((None, "Plans", "CV"))
activations = st.sampled_from((None, True, False))
updates = {
    "title": st.sampled_from(("Plans", "CV")),
    "is_active": st.booleans(),
    "metadata": st.dictionaries(st.sampled_from("ab"), st.none() | st.integers(0, 3)),
}

with_sessions = precondition(lambda self: self.contract.sessions)
with_runs = precondition(lambda self: self.under_way)


def once(name: str) -> Callable[[Any], Any]:
    """Return a precondition: the package keeps the rule called *name*."""
    return precondition(lambda self: name not in NOT_YET)
