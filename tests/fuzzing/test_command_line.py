"""Words of any kind on the command line."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_sessions.cli import main
from tests.doors.house import SECRET, House
from tests.fuzzing.drawing import TEXT, profile, rounds

pytestmark = pytest.mark.server

# What a shell can hand over: no NUL, and bytes that are no text as surrogates.
WORDS = st.one_of(
    TEXT,
    st.text(st.characters(exclude_characters="\0"), max_size=20),
    st.binary(max_size=9).map(lambda it: it.replace(b"\0", b"").decode(errors="surrogateescape")),
    st.sampled_from(["hers", "bob", "his", "-1", "--", "1d", "99999999d", "", "%s"]),
)
OPTIONS = st.sampled_from(
    [
        *("--json", "--yes", "--all", "--active", "--inactive", "--interrupted", "--dry-run"),
        *("--agent", "--title", "--status", "--limit", "--cursor", "--checkpoint"),
        *("--csv", "--markdown", "--before", "--thread", "--unused"),
        *("--idle-for", "--older-than", "--batch-size", "--help"),
    ]
)
# None of those that go over everybody's, by their purpose.
COMMANDS = st.sampled_from(
    [
        *("list", "show", "checkpoints", "rename", "deactivate", "fork", "delete", "export"),
        *("adopt", "transfer", "nonsense"),
    ]
)


@rounds(3000)
def test_a_command_works_or_is_told_in_a_line(
    examples: int,
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its status is 0, 1 or 2, it prints no traceback, and nothing of alice's is shown."""
    before = house.of_alice()

    @profile(examples)
    @given(COMMANDS, st.lists(WORDS | OPTIONS, max_size=5))
    def holds(command: str, words: list[Any]) -> None:
        if {"alice", "--user", "--"} & {*words}:
            return
        narrowed = ["--user", "bob"] if command not in ("export", "transfer", "nonsense") else []
        given = [command, "--database", house.url, *narrowed, *words]
        arguments = ["langgraph-sessions", "sessions", *given]
        monkeypatch.setattr(sys, "argv", arguments)
        assert main.run() in (0, 1, 2)
        shown = capfd.readouterr()
        assert "Traceback" not in shown.err
        assert SECRET not in shown.out + shown.err

    holds()
    assert house.of_alice() == before
