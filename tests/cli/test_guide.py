"""The command `guide`: the package's documentation, wherever it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from langgraph_sessions.cli.guide import _rendered, guide_command
from tests.documents import GUIDE
from tests.terminal import in_a_terminal, run


@pytest.mark.server
def test_without_a_page_it_says_which_there_are(tmp_path: Path) -> None:
    """A line for each: its name, and what its title says."""
    done = run("guide", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*GUIDE]
    assert "who is trusted with what" in next(line for line in lines if line.startswith("threats"))
    assert max(map(len, lines)) <= 80  # A terminal would break a longer one within a word.


@pytest.mark.parametrize("page", GUIDE)
def test_a_page_is_as_it_is_where_no_terminal_is(page: str) -> None:
    """For grep, and for a file."""
    assert CliRunner().invoke(guide_command, [page]).output == GUIDE[page].read_text()


@pytest.mark.server
def test_in_a_terminal_it_is_rendered_and_paged(tmp_path: Path) -> None:
    """Without the marks of Markdown, by way of the user's own pager."""
    paged = {"TERM": "xterm", "PAGER": "tr a-z A-Z", "NO_COLOR": "1"}
    screen = in_a_terminal("guide", "titles", cwd=tmp_path, **paged)
    assert "BY A MODEL" in screen
    assert "#" not in screen.replace("# ROMAN SPRING", "")
    assert "```" not in screen


@pytest.mark.parametrize("page", GUIDE)
def test_tables_are_whole_in_a_narrow_terminal(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No column ends in an ellipsis: what is too long for it, such as a test's name, is folded."""
    monkeypatch.setenv("COLUMNS", "80")
    text = GUIDE[page].read_text()
    shown = _rendered(text)
    assert shown.count("…") == text.count("…")
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.server
def test_a_page_that_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    """It names those that are."""
    done = run("guide", "nothing", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert all(repr(page) in done.stderr for page in ("nothing", *GUIDE))
