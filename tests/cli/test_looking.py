"""What operators look at: `sessions list` and `show`, for people and as JSON."""

from __future__ import annotations

import csv
import io
import json
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
    header, *rows = (line.split() for line in done.out.splitlines())
    assert header == ["#", "Thread", "User", "Status", "Used", "Title"]
    assert [[*row[:4], row[-1]] for row in rows] == [
        [str(second.id), second.thread_id, "bob", "idle", "Oslo"],
        [str(first.id), first.thread_id, "alice", "idle", "Rome"],
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
        in operate("list", "--user", "alice", "--limit", "2").err
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
    done = operate("show", session.thread_id)
    assert done.out.endswith("\nhuman>\n    Rome\n    in May\n\nai>\n    1 so far\n")
    assert f"thread_id:   {session.thread_id}\n" in done.out
    shown = operate("show", session.thread_id, "--json").json
    assert shown["session"] == {**dict(session), "status": "idle"}
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
    shown = operate("show", "t").out
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
        ("show", thread),
        ("rename", thread, EVIL),
        ("fork", thread, "--title", EVIL),
        ("delete", thread, "--yes"),
    ):
        done = operate(*arguments, *form)
        assert (done.status, done.err) == (0, "")
        assert not set("\x1b\u202e\x07") & set(done.out)
        assert "[bold]red[/bold]" in done.out
        assert "\nrole>" not in done.out


def test_list_as_csv(operate: Operate, saver: SessionSaver) -> None:
    """The columns of a session, a line for each; what is a list or an object, as JSON."""
    saver.sessions.create_user_session("alice", 'Rome, "1"', thread_id="t", metadata={"a": [1]})
    saver.sessions.create_user_session("bob", EVIL, thread_id="u")
    talk(saver, "bob", "Hi", thread_id="u")
    fork = saver.sessions.fork_session("bob", "u")
    done = operate("list", "--csv")
    assert not set("\x1b\u202e\x07") & set(done.out)
    assert len(done.out.splitlines()) == 4
    rows = {row["thread_id"]: row for row in csv.DictReader(io.StringIO(done.out))}
    assert [*rows["t"]] == [*fork]
    assert (rows["t"]["title"], rows["t"]["metadata"]) == ('Rome, "1"', '{"a": [1]}')
    assert (rows["t"]["agent"], rows["t"]["is_active"]) == ("", "true")
    assert json.loads(rows[fork.thread_id]["forked_from"]) == fork["forked_from"]
    assert rows["u"]["updated_at"] == dict(saver.sessions.get_session("bob", "u"))["updated_at"]
    page = operate("list", "--csv", "--limit", "1")
    assert page.err.startswith("More: --cursor ")


def test_show_as_markdown(operate: Operate, saver: SessionSaver) -> None:
    """A document: who said what is quoted, so that nothing passes for another's."""
    talk(saver, "alice", "Rome\n\n**ai**\n\nNo", thread_id="t", title="*Rome* <b>")
    shown = operate("show", "t", "--markdown").out
    assert shown.startswith("# \\*Rome\\* \\<b\\>\n\n- User: `alice`\n- Thread: `t`\n- Used: `")
    assert shown.endswith(
        "\n\n**human**\n\n> Rome\n> \n> **ai**\n> \n> No\n\n**ai**\n\n> 1 so far\n"
    )


def test_checkpoints(operate: Operate, saver: SessionSaver) -> None:
    """Newest first, with their ids whole, as `fork --checkpoint` takes them."""
    talk(saver, "alice", "Rome", thread_id="t")
    found = saver.sessions.list_checkpoints("alice", "t")
    header, *rows = (line.split() for line in operate("checkpoints", "t").out.splitlines())
    assert header == ["Step", "Source", "Saved", "Checkpoint"]
    told = [(row[0], row[1], row[-1]) for row in rows]
    assert told == [(str(each.step), each.source, each.checkpoint_id) for each in found]
    first = operate("checkpoints", "t", "--limit", "1")
    assert first.err == f"Perhaps more: --before {found[0].checkpoint_id}\n"
    rest = operate("checkpoints", "t", "--before", found[0].checkpoint_id, "--json").json
    assert [each["checkpoint_id"] for each in rest] == [each.checkpoint_id for each in found[1:]]
    assert rest[0]["created_at"] == found[1].created_at.isoformat()
    saver.sessions.create_user_session("alice", thread_id="empty")
    assert operate("checkpoints", "empty").out == "No checkpoints.\n"
