"""The README does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from langgraph_sessions import AgentSessionManager
from langgraph_sessions.runs.request import AUTH_USER_ID, INSTRUCTIONS
from tests.support import python

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GUIDE = {path.name: path.read_text() for path in (ROOT / "langgraph_sessions/guide").glob("*.md")}
TEST = r"`((?:\w+/)?test_\w+\.py::test_\w+)`"
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0][:40])
def test_every_python_block_runs(block: str, url: str) -> None:
    """Each block, on its own and as printed, runs on a fresh database without a warning."""
    program = block.replace("postgresql://localhost/app", url)
    ended = python(f"import os\nos.environ['DATABASE_URL'] = {url!r}\n{program}", cwd=str(ROOT))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_it_has_blocks() -> None:
    """The test above has something to run."""
    assert len(BLOCKS) >= 4


def test_the_two_commands_are_there() -> None:
    """The commands that run the main job and the tests are printed as CI runs them."""
    assert 'pip install -e ".[demo]" && python -m langgraph_sessions demo' in README
    assert 'pip install -e ".[test]" && pytest' in README


def test_every_method_and_key_is_in_it() -> None:
    """A method of the manager or a key of the configurable that the README forgot fails here."""
    methods = [name for name in dir(AgentSessionManager) if not name.startswith("_")]
    for word in [*methods, *INSTRUCTIONS, AUTH_USER_ID]:
        assert re.search(rf"`{word}\b", README), word


@pytest.mark.parametrize("named", re.findall(TEST, "".join([README, *GUIDE.values()])))
def test_every_test_that_it_names_is_there(named: str) -> None:
    """Who looks up a fault's test finds it."""
    file, name = named.split("::")
    assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text())


def test_every_page_of_the_guide_is_in_it() -> None:
    """A page that nobody is led to is not read."""
    for name in GUIDE:
        assert f"langgraph_sessions/guide/{name}" in README
