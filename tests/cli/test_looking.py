"""What operators look at: `sessions list` and `show`, for people and as JSON."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langgraph_sessions import SessionSaver
from tests.operating import EVIL, Operate, ask, talk
from tests.support import config, graph_builder


def test_list(operate: Operate, saver: SessionSaver) -> None:
    """Sessions are listed newest first, a line for each, with all that names them."""
    first, second = talk(saver, "alice", "Rome"), talk(saver, "bob", "Oslo")
    done = operate("list")
    assert (done.status, done.err) == (0, "")
    rows = [line.split("│")[1:-1] for line in done.out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row][:5] for row in rows] == [
        ["bob", second.thread_id, "Oslo", "idle", "yes"],
        ["alice", first.thread_id, "Rome", "idle", "yes"],
    ]
    assert operate("list", "--user", "nobody").out == "No sessions.\n"


def test_list_as_json_page_by_page(operate: Operate, saver: SessionSaver) -> None:
    """--json gives sessions as `dict(session)` does, and --cursor the page after."""
    for number in range(3):
        saver.sessions.create_user_session("alice", f"Number {number}")
    listed = [dict(session) for session in saver.sessions.list_sessions("alice")]
    page = operate("list", "--user", "alice", "--limit", "2", "--json").json
    assert page["sessions"] == listed[:2]
    more = ("--limit", "2", "--cursor", page["next_cursor"])
    rest = operate("list", "--user", "alice", *more, "--json").json
    assert rest == {"sessions": listed[2:], "next_cursor": None}
    assert (
        f"More: --cursor {page['next_cursor']}\n"
        in operate("list", "--user", "alice", "--limit", "2").out
    )
    wrong = operate("list", "--user", "bob", *more)
    assert (wrong.status, wrong.out) == (2, "")
    assert wrong.err.startswith("Error: cursor must be")


def test_list_filters(operate: Operate, saver: SessionSaver) -> None:
    """--user, --active, --inactive, --title and --status each leave the others out."""
    saver.sessions.create_user_session("alice", "Rome")
    ended = saver.sessions.create_user_session("alice", "Oslo")
    saver.sessions.deactivate_session("alice", thread_id=ended.thread_id)
    graph = graph_builder(ask).compile(checkpointer=saver)
    graph.invoke({"messages": ["Waiting"]}, config(user_id="bob"))

    def titles(*filters: str) -> list[str]:
        return sorted(s["title"] for s in operate("list", "--json", *filters).json["sessions"])

    assert titles("--user", "alice") == ["Oslo", "Rome"]
    assert titles("--active") == ["Rome", "Waiting"]
    assert titles("--inactive") == ["Oslo"]
    assert titles("--title", "RO") == ["Rome"]
    assert titles("--status", "interrupted") == ["Waiting"]


def test_show(operate: Operate, saver: SessionSaver) -> None:
    """A session is shown with its messages, as the records of an export with --json."""
    session = talk(saver, "alice", "Rome\nin May")
    done = operate("show", "alice", session.thread_id)
    assert done.out.endswith("\nhuman>\n    Rome\n    in May\n\nai>\n    1 so far\n")
    assert f"thread_id:   {session.thread_id}\n" in done.out
    shown = operate("show", "alice", session.thread_id, "--json").json
    assert shown["session"] == dict(session)
    exported = [r for r in saver.sessions.export_user("alice") if r["record"] == "message"]
    assert shown["messages"] == exported


def test_show_of_what_is_no_text(operate: Operate, saver: SessionSaver) -> None:
    """Calls of tools and parts that are no text are shown as JSON, not left out."""

    def call(state: Any) -> dict[str, Any]:
        wanted = [{"name": "search", "args": {"q": "Rome"}, "id": "1"}]
        picture = {"type": "image", "url": "https://example.org/a.png"}
        return {"messages": [AIMessage(["See", picture], tool_calls=wanted)]}

    graph = graph_builder(call).compile(checkpointer=saver)
    graph.invoke({"messages": ["Look"]}, config(user_id="alice", thread_id="t"))
    shown = operate("show", "alice", "t").out
    assert "ai>\n    See\n" in shown
    assert "a.png" in shown
    assert 'calls search {"name": "search", "args": {"q": "Rome"}' in shown


def test_no_bar_and_no_empty_line_without_a_terminal(
    url: str, saver: SessionSaver, tmp_path: Path
) -> None:
    """Where standard error is no terminal, long work writes nothing there."""
    talk(saver, "alice", "hello")
    for command in (["export", "alice", "--output", str(tmp_path / "a")], ["backfill"]):
        words = [sys.executable, "-m", "langgraph_sessions", "sessions", *command]
        done = subprocess.run([*words, "--database", url], capture_output=True, check=True)
        assert b"\n\n" not in b"\n" + done.stderr


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_users_wrote_is_shown_literally(
    form: tuple[str, ...], operate: Operate, saver: SessionSaver
) -> None:
    """Neither markup nor control characters of titles, ids, messages and metadata are obeyed."""
    thread = "t\x1b]0;pwned\x07"
    saver.sessions.create_user_session("al\x1b[2J", EVIL, thread_id=thread, metadata={"k": EVIL})
    graph = graph_builder().compile(checkpointer=saver)
    graph.invoke({"messages": [EVIL]}, config(user_id="al\x1b[2J", thread_id=thread))
    for arguments in (
        ("list",),
        ("show", "al\x1b[2J", thread),
        ("rename", "al\x1b[2J", thread, EVIL),
        ("fork", "al\x1b[2J", thread, "--title", EVIL),
        ("delete", "al\x1b[2J", thread, "--yes"),
    ):
        done = operate(*arguments, *form)
        assert (done.status, done.err) == (0, "")
        assert not set("\x1b\u202e\x07") & set(done.out)
        assert "[bold]red[/bold]" in done.out
        assert "\nrole>" not in done.out
