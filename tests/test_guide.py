"""The guide's pages, and the README, do what they say and lead where they say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import langgraph_sessions
from langgraph_sessions import AgentSessionManager, SessionSaver
from langgraph_sessions.cli.chat_commands import COMMANDS
from langgraph_sessions.cli.main import cli, sessions
from langgraph_sessions.runs.request import AUTH_USER_ID, INSTRUCTIONS
from tests.documents import DOCUMENTS, GUIDE, ROOT, anchors, links, program, promised
from tests.shape import PACKAGE, modules
from tests.support import python

TEST = r"`((?:\w+/)*test_\w+\.py::test_\w+)`"
ALL = "\n".join(document.read_text() for document in DOCUMENTS)
COMMAND_LINE = GUIDE["command-line"].read_text()
PAGES = "\n".join(page.read_text() for page in GUIDE.values())
RUNNING = [name for name, page in GUIDE.items() if program(page).strip()]
# LangGraph's own saver reads no distributed tables, and an older tool makes none.
ON_ONE_SERVER = {"operating", "storage"}


@pytest.mark.parametrize("name", RUNNING)
def test_a_pages_blocks_run_in_order(
    name: str, unused_url: str, empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one namespace and a fresh database, with no warning; comments say what is printed."""
    monkeypatch.setenv("DATABASE_URL", empty_url if name in ON_ONE_SERVER else unused_url)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ended = python(program(GUIDE[name]), cwd=str(tmp_path))
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert re.search(".*".join(promised(GUIDE[name])), ended.stdout, re.DOTALL)


def test_pages_have_blocks() -> None:
    """The test above has something to run."""
    assert {"runs", "sessions", "savers", "operating"} <= {*RUNNING}


@pytest.mark.parametrize("name", GUIDE)
def test_a_page_has_one_title(name: str) -> None:
    """It is what the list of pages says of it."""
    text = re.sub(r"```.*?```", "", GUIDE[name].read_text(), flags=re.DOTALL)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_every_link_leads_somewhere(document: Path) -> None:
    """To a file, and to a heading of it, as GitHub shows them."""
    for path, anchor in links(document):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path.name}#{anchor}"


def test_links_are_found() -> None:
    """The test above has something to look at."""
    assert sum(len(links(document)) for document in DOCUMENTS) >= 30


def test_every_export_method_option_and_key_is_told() -> None:
    """What can be imported, called, given to a saver or put into a configurable has its place."""
    methods = [name for name in dir(AgentSessionManager) if not name.startswith("_")]
    options = [*inspect.signature(SessionSaver).parameters]
    for word in [*langgraph_sessions.__all__, *methods, *options, *INSTRUCTIONS, AUTH_USER_ID]:
        assert re.search(rf"`[^`\n]*\b{word}\b", PAGES), word


def test_every_command_and_option_is_told() -> None:
    """But for those that are hidden, and `--help`; so is what one types in `chat`."""
    commands = {**cli.commands, **sessions.commands}
    assert len(commands) > 15
    for name, command in commands.items():
        assert command.hidden or re.search(rf"[`\n |]{name}\b", COMMAND_LINE), name
        for param in command.params:
            for option in (*param.opts, *param.secondary_opts):
                assert not option.startswith("--") or option in PAGES, f"{name} {option}"
    for name in COMMANDS:
        assert f"`{name}" in GUIDE["chat"].read_text(), name


def test_every_room_is_told() -> None:
    """Who contributes finds each room, and each file that stands in none, on the map."""
    page = GUIDE["contributing"].read_text()
    told = re.findall(r"^    (\w.*?)(?: {3,}.*)?$", page.partition("## The rooms")[2], re.MULTILINE)
    names = {name.partition(".")[0] for name in modules(PACKAGE)} - {"__init__"}
    assert names <= {*re.findall(r"\w+", "\n".join(told))}


@pytest.mark.parametrize("named", sorted({*re.findall(TEST, ALL)}))
def test_every_test_that_is_named_is_there(named: str) -> None:
    """Who looks up a promise's or a fault's test finds it."""
    file, name = named.split("::")
    assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text())
