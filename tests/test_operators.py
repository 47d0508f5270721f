"""What operators do on the command line: `sessions list`, `purge`, `doctor` and the others."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.base import MIGRATIONS
from langgraph.types import interrupt
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from langgraph_sessions import Session, SessionSaver
from langgraph_sessions.cli import main
from langgraph_sessions.doctor import visit
from langgraph_sessions.embedded.server import find_binaries
from langgraph_sessions.sql import ddl
from tests.support import TABLES, config, graph_builder, past_pooler
from tests.terminal import COMMAND, environment, in_a_terminal, run
from tests.test_setup import catalogue

Db = psycopg.Connection[Any]

EVIL = "\x1b[31m[bold]red[/bold]\u202e\nrole> x"


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as one JSON document."""
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)


Operate = Callable[..., Done]


@pytest.fixture
def operate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> Operate:
    """Run a command as `main` does, in this process; standard input is no terminal."""

    def call(*arguments: str, database: str = url) -> Done:
        words = ["langgraph-sessions", "sessions", *arguments, "--database", database]
        monkeypatch.setattr(sys, "argv", words)
        status = main.run()
        shown = capsys.readouterr()
        return Done(status, shown.out, shown.err)

    return call


def talk(saver: SessionSaver, user_id: str, text: str, **configurable: Any) -> Session:
    """Say something in a session, and return it."""
    graph = graph_builder().compile(checkpointer=saver)
    graph.invoke({"messages": [text]}, config(user_id=user_id, **configurable))
    saver.sessions.clear_memory_cache()
    return saver.sessions.get_current_user_session(user_id)


def ask(state: Any) -> dict[str, Any]:
    """Wait for an answer."""
    return {"messages": [AIMessage(interrupt("Go on?"))]}


def leave_behind(url: str, thread_id: str, **configurable: Any) -> None:
    """Let a plain PostgresSaver save a thread."""
    with PostgresSaver.from_conn_string(past_pooler(url)) as plain:
        plain.setup()
        graph = graph_builder().compile(checkpointer=plain)
        graph.invoke({"messages": ["Long ago"]}, config(thread_id=thread_id, **configurable))


def contents(db: Db) -> dict[str, list[Any]]:
    """Return every row of every table."""
    return {
        table: sorted(map(str, db.execute(f"SELECT * FROM {table}").fetchall())) for table in TABLES
    }


def age(db: Db, *thread_ids: str, days: int = 100) -> None:
    """Let sessions, and what is in them, be older."""
    db.execute(
        "UPDATE user_sessions SET created_at = created_at - make_interval(days => %(days)s), "
        "updated_at = updated_at - make_interval(days => %(days)s) WHERE thread_id = ANY (%(ids)s)",
        {"days": days, "ids": list(thread_ids)},
    )


# --- Looking ---------------------------------------------------------------------------------


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


# --- Changing --------------------------------------------------------------------------------


def test_rename(operate: Operate, saver: SessionSaver) -> None:
    """A session gets the title, which no message replaces."""
    thread = talk(saver, "alice", "Rome").thread_id
    assert operate("rename", "alice", thread, "Oslo").out == (
        f'Renamed session {thread} of alice: "Oslo"\n'
    )
    assert operate("rename", "alice", thread, "Bergen", "--json").json["title"] == "Bergen"
    assert talk(saver, "alice", "More").title == "Bergen"


def test_deactivate(operate: Operate, saver: SessionSaver) -> None:
    """One session is ended, or with --all each of the user's and of nobody else."""
    for title in ("One", "Two", "Three"):
        saver.sessions.create_user_session("alice", title, thread_id=title)
    saver.sessions.create_user_session("bob")
    assert operate("deactivate", "alice", "One").out == "Deactivated 1 session.\n"
    assert operate("deactivate", "alice", "One", "--json").json == {"deactivated": 0}
    assert operate("deactivate", "alice", "--all", "--json").json == {"deactivated": 2}
    assert [session.user_id for session in saver.sessions.list_active_sessions()] == ["bob"]


def test_fork(operate: Operate, saver: SessionSaver) -> None:
    """A fork is a new session with the conversation so far, or up to a checkpoint."""
    thread = talk(saver, "alice", "One").thread_id
    graph = graph_builder().compile(checkpointer=saver)
    early = graph.get_state(config(user_id="alice", thread_id=thread)).config
    talk(saver, "alice", "Two")
    whole = operate("fork", "alice", thread, "--json").json
    assert len(operate("show", "alice", whole["thread_id"], "--json").json["messages"]) == 4
    checkpoint = early["configurable"]["checkpoint_id"]
    done = operate("fork", "alice", thread, "--checkpoint", checkpoint, "--title", "Half")
    saver.sessions.clear_memory_cache()
    half = saver.sessions.get_current_user_session("alice")
    assert done.out == f'Made session {half.thread_id} of alice: "Half"\n'
    assert len(operate("show", "alice", half.thread_id, "--json").json["messages"]) == 2


def test_adopt(operate: Operate, url: str, saver: SessionSaver) -> None:
    """A thread of a plain saver becomes a session, titled by its first message or as given."""
    leave_behind(url, "old")
    leave_behind(url, "older")
    done = operate("adopt", "carol", "old")
    assert done.out == 'Adopted session old of carol: "Long ago"\n'
    adopted = operate("adopt", "carol", "older", "--title", "Given", "--json").json
    assert adopted == dict(saver.sessions.get_session("carol", "older"))
    assert operate("adopt", "bob", "old").err == "Error: user_id 'bob' has no session 'old'\n"


def test_backfill(operate: Operate, empty_url: str) -> None:
    """On a database of a plain saver's alone, all threads with a user become sessions."""
    leave_behind(empty_url, "c1", user_id="carol")
    leave_behind(empty_url, "c2", user_id="carol")
    leave_behind(empty_url, "nobodys")
    done = operate("backfill", database=empty_url)
    assert (done.status, done.err) == (0, "")
    assert done.out == "Adopted 2 of 3 threads; 1 name no user.\n"
    listed = operate("list", "--user", "carol", "--json", database=empty_url).json["sessions"]
    assert sorted((s["thread_id"], s["title"]) for s in listed) == [
        ("c1", "Long ago"),
        ("c2", "Long ago"),
    ]
    again = operate("backfill", "--json", database=empty_url).json
    assert again == {"seen": 3, "adopted": 0, "unowned": 1, "skipped": 0}


def test_backfill_tells_what_it_skipped(operate: Operate, empty_url: str) -> None:
    """A thread whose id is too long for a session is told of, not passed over."""
    leave_behind(empty_url, "c1", user_id="carol")
    leave_behind(empty_url, "c" * 256, user_id="carol")
    done = operate("backfill", database=empty_url)
    assert done.status == 0
    assert done.out == "Adopted 1 of 2 threads; 0 name no user; skipped 1, each with a warning.\n"


# --- Deleting --------------------------------------------------------------------------------


def test_delete(operate: Operate, saver: SessionSaver, db: Db) -> None:
    """A session goes with its thread, and nothing else does."""
    kept = talk(saver, "alice", "Stay")
    before = contents(db)
    gone = talk(saver, "alice", "Go", new_session=True, thread_id=None)
    done = operate("delete", "alice", gone.thread_id, "--yes", "--json")
    assert done.json == dict(gone)
    after = contents(db)
    assert {**after, "session_users": before["session_users"]} == before
    assert saver.sessions.get_session("alice", kept.thread_id) == kept


def test_delete_everything_of_a_user(operate: Operate, saver: SessionSaver, db: Db) -> None:
    """With --all, not a row of the user is left, and the counts are told."""
    talk(saver, "alice", "One")
    talk(saver, "bob", "Mine")
    saver.sessions.update_preferences("alice", {"tone": "short"})
    counts = operate("delete", "alice", "--all", "--yes", "--json").json
    assert (counts["sessions"], counts["users"]) == (1, 1)
    assert counts["checkpoints"] > 0
    assert "alice" not in str(contents(db))
    assert operate("delete", "bob", "--all", "--yes").out.startswith(
        "Deleted everything of bob: 1 sessions, "
    )
    assert not any(contents(db).values())


@pytest.mark.parametrize(
    ("choice", "condition"),
    [
        (["--idle-for", "90d"], ["aged", "ended"]),
        (["--older-than", "2400h"], ["aged", "ended"]),
        (["--idle-for", "90d", "--active"], ["aged"]),
        (["--inactive"], ["ended"]),
        (["--idle-for", "144000m", "--interrupted"], ["aged", "ended", "waiting"]),
        (["--idle-for", "101d"], []),
    ],
)
def test_purge(
    choice: list[str], condition: list[str], operate: Operate, saver: SessionSaver, db: Db
) -> None:
    """Those that all conditions select are deleted; a dry run only counts them."""
    for thread_id in ("fresh", "aged", "ended"):
        talk(saver, "alice", thread_id, thread_id=thread_id)
    graph = graph_builder(ask).compile(checkpointer=saver)
    graph.invoke({"messages": ["Hm"]}, config(user_id="alice", thread_id="waiting"))
    saver.sessions.deactivate_session("alice", thread_id="ended")
    age(db, "aged", "ended", "waiting")
    before = contents(db)
    dry = operate("purge", *choice, "--dry-run", "--batch-size", "1", "--json").json
    assert (dry["purged"], dry["dry_run"]) == (len(condition), True)
    assert contents(db) == before
    done = operate("purge", *choice, "--batch-size", "1", "--yes", "--json").json
    assert done == {**dry, "dry_run": False}
    left = {session.thread_id for session in saver.sessions.list_sessions()}
    assert left == {"fresh", "aged", "ended", "waiting"} - set(condition)


def test_purge_tells_what_it_did(operate: Operate, saver: SessionSaver, db: Db) -> None:
    """It says how many it would delete, and then how many it did."""
    talk(saver, "alice", "Hi", thread_id="aged")
    age(db, "aged")
    choice = ("purge", "--idle-for", "90d")
    assert operate(*choice, "--dry-run").out == "Would delete 1 session.\n"
    assert operate(*choice, "--yes").out == "Deleted 1 session.\n"
    assert operate(*choice, "--yes").out == "Deleted 0 sessions.\n"


DELETING = [["delete", "alice", "t"], ["delete", "alice", "--all"], ["purge", "--active"]]


@pytest.mark.parametrize("command", DELETING)
def test_nothing_is_deleted_unasked(
    command: list[str], operate: Operate, saver: SessionSaver, db: Db
) -> None:
    """Without a terminal and --yes, one line says so, with status 2, and nothing changes."""
    talk(saver, "alice", "Hi", thread_id="t")
    before = contents(db)
    done = operate(*command)
    assert (done.status, done.out) == (2, "")
    assert done.err == ("Error: this deletes, and there is no terminal to ask in: give --yes\n")
    assert contents(db) == before


@pytest.mark.parametrize("command", DELETING)
def test_a_terminal_is_asked(
    command: list[str], url: str, saver: SessionSaver, db: Db, tmp_path: Path
) -> None:
    """In a terminal one is asked: anything but yes deletes nothing, yes does it."""
    talk(saver, "alice", EVIL, thread_id="t")
    before = contents(db)

    def answer(key: bytes) -> str:
        words = ("sessions", *command, "--database", url)
        return in_a_terminal(*words, cwd=tmp_path, prompt="[y/N]: ", keys=[key])

    screen = answer(b"\n")
    assert "Nothing was deleted." in screen
    assert "\x1b[31m" not in screen
    assert contents(db) == before
    assert "Deleted" in answer(b"y\n")
    assert saver.sessions.count_sessions() == 0


# --- Taking out ------------------------------------------------------------------------------


def test_export(operate: Operate, saver: SessionSaver, tmp_path: Path) -> None:
    """An export is a JSON line for each record, on standard output or in a file of one's own."""
    talk(saver, "alice", f"Rome {EVIL} \u2028 Grüße")
    talk(saver, "bob", "Secret")
    records = list(saver.sessions.export_user("alice"))
    printed = operate("export", "alice")
    assert (printed.status, printed.err) == (0, "")
    assert [json.loads(line) for line in printed.out.splitlines()] == records
    file = tmp_path / "alice.jsonl"
    file.write_text("what was there before")
    done = operate("export", "alice", "--output", str(file))
    assert done.out == f"Wrote 1 session, 2 messages to {file}.\n"
    assert file.read_text() == printed.out
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_fails_leaves_the_file(
    operate: Operate, saver: SessionSaver, db: Db, tmp_path: Path
) -> None:
    """What was in the file before stays, and no half of an export lies beside it."""
    talk(saver, "alice", "Hi")
    db.execute("UPDATE checkpoint_blobs SET type = 'nonsense'")
    file = tmp_path / "alice.jsonl"
    file.write_text("before")
    done = operate("export", "alice", "--output", str(file))
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "Error: what was saved cannot be read: Unknown serialization type: nonsense\n"
    )
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_export_as_a_program(saver: SessionSaver, url: str, tmp_path: Path) -> None:
    """In a process of its own, with the URL in DATABASE_URL: lines alone, and no bar in a pipe."""
    talk(saver, "alice", "Grüße")
    done = run("sessions", "export", "alice", cwd=tmp_path, DATABASE_URL=url)
    assert (done.returncode, done.stderr) == (0, "")
    records = list(saver.sessions.export_user("alice"))
    assert [json.loads(line) for line in done.stdout.splitlines()] == records


@pytest.mark.parametrize(
    "command", [["backfill"], ["purge", "--active", "--yes"], ["export", "alice"]]
)
def test_progress(command: list[str], saver: SessionSaver, url: str, tmp_path: Path) -> None:
    """Where standard error is a terminal, a bar is on it; standard output has the result alone."""
    talk(saver, "alice", "Hi")
    ours, its = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "sessions", *command, "--database", url],
        cwd=tmp_path,
        env=environment(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=its,
    ) as process:
        os.close(its)
        screen = b""
        with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as terminal:
            while more := terminal.read(1000):
                screen += more
        assert process.stdout is not None
        printed = process.stdout.read().decode()
    assert process.returncode == 0
    assert "━" in screen.decode()
    assert printed
    assert "━" not in printed


def psql(url: str, script: str) -> None:
    """Run *script* in one go; psql comes with the embedded PostgreSQL."""
    program = shutil.which("psql", path=f"{find_binaries()}:{os.environ['PATH']}")
    assert program
    command = [program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", url]
    subprocess.run(command, input=script, text=True, check=True, stdout=subprocess.DEVNULL)


def test_ddl(operate: Operate, empty_url: str, url: str) -> None:
    """What it prints makes in an empty database what setup makes, so that nothing is missing."""
    script = operate("ddl", database="postgresql://nowhere.invalid/x").out
    assert "CONCURRENTLY" not in script
    psql(empty_url, script)
    assert catalogue(empty_url) == catalogue(url)
    assert operate("doctor", "--json", database=empty_url).json == {"healthy": True, "findings": []}
    with SessionSaver(empty_url, auto_setup=False) as saver:
        assert talk(saver, "alice", "Hi").title == "Hi"


def test_ddl_where_langgraphs_tables_are(operate: Operate, empty_url: str, url: str) -> None:
    """It adds ours to those of a plain saver, and a second time changes nothing."""
    leave_behind(empty_url, "old")
    script = operate("ddl").out
    psql(empty_url, script)
    assert catalogue(empty_url) == catalogue(url)
    with pytest.raises(subprocess.CalledProcessError):
        psql(empty_url, script)
    assert operate("doctor", database=empty_url).status == 0


# --- The doctor ------------------------------------------------------------------------------

SET = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {}', current_database()); END $$"
CHECKPOINT = (
    "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata) "
    "VALUES ('t', '1', '{}', '{}')"
)
BREAKAGES = [
    ("schema-old", [], "DROP SCHEMA public CASCADE; CREATE SCHEMA public"),
    ("schema-old", [], "DELETE FROM user_sessions_migrations"),
    ("schema-old", [], "DROP TABLE user_sessions_migrations"),
    ("schema-old", [], "DELETE FROM checkpoint_migrations WHERE v > 4"),
    (
        "schema-new",
        [],
        "INSERT INTO user_sessions_migrations (version, breaking) VALUES (999, TRUE)",
    ),
    ("schema-new", [], "INSERT INTO checkpoint_migrations (v) VALUES (999)"),
    ("table-missing", ["checkpoint_writes"], "DROP TABLE checkpoint_writes"),
    ("table-missing", ["user_sessions"], "DROP TABLE user_sessions CASCADE"),
    ("index-missing", ["user_sessions_user_idx"], "DROP INDEX user_sessions_user_idx"),
    ("index-missing", ["checkpoints_thread_id_idx"], "DROP INDEX checkpoints_thread_id_idx"),
    (
        "index-missing",
        ["user_sessions_thread_id_key"],
        "ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_thread_id_key",
    ),
    (
        "index-missing",
        ["checkpoint_blobs_pkey"],
        "ALTER TABLE checkpoint_blobs DROP CONSTRAINT checkpoint_blobs_pkey",
    ),
    ("column", ["user_sessions.metadata"], "ALTER TABLE user_sessions DROP COLUMN metadata"),
    ("column", ["user_sessions.id"], "ALTER TABLE user_sessions ALTER id DROP DEFAULT"),
    ("column", ["user_sessions.id"], "ALTER TABLE user_sessions DROP COLUMN id CASCADE"),
    (
        "index-other",
        ["user_sessions_recent_idx"],
        "DROP INDEX user_sessions_recent_idx;"
        " CREATE INDEX user_sessions_recent_idx ON user_sessions (title)",
    ),
    (
        "index-other",
        ["user_sessions_thread_id_key"],
        "ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_thread_id_key;"
        " CREATE INDEX user_sessions_thread_id_key ON user_sessions (thread_id)",
    ),
    (
        "index-invalid",
        ["user_sessions_recent_idx"],
        "UPDATE pg_index SET indisvalid = FALSE "
        "WHERE indexrelid = 'user_sessions_recent_idx'::regclass",
    ),
    (
        "index-invalid",
        ["checkpoint_blobs_thread_id_idx"],
        "UPDATE pg_index SET indisvalid = FALSE "
        "WHERE indexrelid = 'checkpoint_blobs_thread_id_idx'::regclass",
    ),
    ("function", ["user_sessions_guard"], "DROP FUNCTION user_sessions_guard"),
    (
        "function",
        ["user_sessions_owner"],
        "CREATE OR REPLACE FUNCTION user_sessions_owner(p_metadata jsonb) RETURNS text "
        "LANGUAGE sql IMMUTABLE AS $$ SELECT 'me' $$",
    ),
    (
        "thread-without-session",
        ["t"],
        CHECKPOINT.replace("'{}')", """'{"user_id": "carol"}')"""),
    ),
    (
        "stray-rows",
        ["t"],
        "INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, blob) "
        "VALUES ('t', '1', 'x', 0, 'c', '')",
    ),
    (
        "stray-rows",
        ["t"],
        "INSERT INTO checkpoint_blobs (thread_id, channel, version, type) "
        "VALUES ('t', 'c', '1', 'empty')",
    ),
    ("isolation", [], SET.format("default_transaction_isolation = serializable")),
    ("read-only", [], SET.format("default_transaction_read_only = on")),
]
REMARKABLE = [
    ("thread-of-nobody", [], CHECKPOINT),
    (
        "session-without-thread",
        ["t"],
        "INSERT INTO user_sessions (user_id, thread_id, title, created_at) "
        "VALUES ('alice', 't', 'Unused', now() - interval '2 hours')",
    ),
]


def diagnose(operate: Operate, database: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the doctor's status and findings, and see that people are told the same."""
    done = operate("doctor", "--json", database=database)
    report = json.loads(done.out)
    told = operate("doctor", database=database)
    assert (told.status, told.err, done.err) == (done.status, "", "")
    assert report["healthy"] is (done.status == 0)
    for finding in report["findings"]:
        assert f"{'Problem' if finding['is_problem'] else 'Note'}: {finding['what']}" in told.out
        assert f"    mend: {finding['mend']}\n" in told.out
    return done.status, report["findings"]


def test_a_healthy_database(operate: Operate, saver: SessionSaver, url: str) -> None:
    """With sessions used, fresh, waiting and forked, nothing is found."""
    talk(saver, "alice", "Hi")
    saver.sessions.create_user_session("alice")
    graph_builder(ask).compile(checkpointer=saver).invoke({"messages": ["Hm"]}, config(user_id="b"))
    assert diagnose(operate, url) == (0, [])
    assert operate("doctor").out.splitlines()[1:] == ["Healthy."]


@pytest.mark.parametrize(("check", "which", "breakage"), [*BREAKAGES, *REMARKABLE])
def test_what_the_doctor_finds(
    check: str, which: list[str], breakage: str, operate: Operate, url: str, db: Db
) -> None:
    """Each way in which a database can be broken is found, alone, and nothing is changed."""
    for statement in breakage.split(";") if "DO" not in breakage else [breakage]:
        db.execute(statement)
    before = catalogue(url)
    status, findings = diagnose(operate, url)
    assert {finding["check"] for finding in findings} == {check}
    assert findings[0]["which"] == which
    assert status == (0 if check in {name for name, *_ in REMARKABLE} else 1)
    assert catalogue(url) == before


@pytest.mark.parametrize(
    ("check", "breakage"),
    [
        (check, breakage)
        for check, which, breakage in BREAKAGES
        if check in ("index-missing", "index-invalid", "stray-rows") and "_pkey" not in which[0]
    ],
)
def test_what_mends_it(check: str, breakage: str, operate: Operate, url: str, db: Db) -> None:
    """The SQL that the doctor gives, run as it stands, mends what it found."""
    db.execute(breakage)
    _, (finding,) = diagnose(operate, url)
    db.execute(finding["mend"].removeprefix("while no run is at work: "))
    assert diagnose(operate, url) == (0, [])


def test_what_commands_mend(operate: Operate, url: str, db: Db) -> None:
    """`ddl --functions` restores functions; `backfill` makes the sessions of bare threads."""
    db.execute("DROP FUNCTION user_sessions_guard, user_sessions_purge")
    _, (finding,) = diagnose(operate, url)
    assert finding["which"] == ["user_sessions_guard", "user_sessions_purge"]
    assert "ddl --functions" in finding["mend"]
    psql(url, operate("ddl", "--functions").out)
    leave_behind(url, "old", user_id="carol")
    _, (finding,) = diagnose(operate, url)
    assert finding["mend"].endswith("sessions backfill")
    operate("backfill")
    assert diagnose(operate, url) == (0, [])


def test_an_old_schema_is_mended_by_setup(operate: Operate, empty_url: str) -> None:
    """Of a plain saver's database, ours alone are missing; setup mends it."""
    leave_behind(empty_url, "old", user_id="carol")
    _, (finding,) = diagnose(operate, empty_url)
    assert finding["what"].startswith("the tables of langgraph-sessions are missing")
    with SessionSaver(empty_url) as saver:
        saver.setup()
    assert [f["check"] for f in diagnose(operate, empty_url)[1]] == ["thread-without-session"]


def test_missing_rights(operate: Operate, url: str, db: Db) -> None:
    """What the role may not do is found, and granted by the SQL that the doctor gives."""
    role = f"Reader-{db.info.dbname}"
    db.execute(f'CREATE ROLE "{role}" LOGIN')
    try:
        db.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
        theirs = make_conninfo(url, user=role)
        status, (finding,) = diagnose(operate, theirs)
        assert (status, finding["check"]) == (1, "rights")
        assert {"UPDATE on checkpoints", "USAGE on public.user_sessions_id_seq"} <= set(
            finding["which"]
        )
        assert "SELECT on checkpoints" not in finding["which"]
        db.execute(finding["mend"])
        assert diagnose(operate, theirs) == (0, [])
        with SessionSaver(theirs) as saver:
            talk(saver, "alice", "Hi")
            saver.sessions.delete_user("alice")
    finally:
        db.execute(f'DROP OWNED BY "{role}"')
        db.execute(f'DROP ROLE "{role}"')


def test_an_old_server(operate: Operate, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than what is supported is found."""
    monkeypatch.setattr(visit, "OLDEST_SERVER", 99)
    assert [finding["check"] for finding in diagnose(operate, url)[1]] == ["server-version"]


def test_another_encoding(operate: Operate, server: str, db: Db) -> None:
    """A database that cannot hold every character is found."""
    name = f"ascii_{db.info.dbname}"
    db.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' "
        "LOCALE_PROVIDER libc LOCALE 'C'"
    )
    database = make_conninfo(server, dbname=name)
    psql(database, ddl.ddl(MIGRATIONS))
    assert [finding["check"] for finding in diagnose(operate, database)[1]] == ["encoding"]
    db.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def pooler(url: str) -> Iterator[str]:
    """Stand before the server, and announce another process, as PgBouncer does."""
    info = conninfo_to_dict(url)
    path = f"{info['host']}/.s.PGSQL.{info.get('port', 5432)}"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, path), daemon=True).start()
        port = listening.getsockname()[1]
        yield make_conninfo(
            url, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )


def _accept(listening: socket.socket, path: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listening.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(path)
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=_relay, args=pair, daemon=True).start()


def _relay(source: socket.socket, target: socket.socket, is_server: bool) -> None:
    """Pass on what comes; of the server's BackendKeyData, change the process id."""
    with contextlib.suppress(OSError), source, target:
        while data := source.recv(65536):
            at = data.find(b"K\x00\x00\x00\x0c") if is_server else -1
            if at >= 0:
                data = data[: at + 5] + b"\x7f\x00\x00\x01" + data[at + 9 :]
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_a_pooler_is_noted(operate: Operate, url: str) -> None:
    """A pooler before the server is no problem, but what it asks of one's own pools is told."""
    if not conninfo_to_dict(url).get("host", "").startswith("/"):
        pytest.skip("the test server has no socket")
    with pooler(url) as pooled:
        status, (finding,) = diagnose(operate, pooled)
    assert (status, finding["check"], finding["is_problem"]) == (0, "pooler", False)
    assert "prepare_threshold=None" in finding["mend"]


def test_a_pooler_in_transaction_mode() -> None:
    """A server process that changes under a connection gives transaction mode away."""
    (finding,) = visit._pooler(1, 2, 3)
    assert "such as PgBouncer stands before the server, in transaction mode" in finding.what
    assert list(visit._pooler(1, 1, 1)) == []


def test_many_orphans_are_counted_and_a_few_named(operate: Operate, url: str, db: Db) -> None:
    """Of many, the count is told and five are named, whatever is in their names."""
    db.execute(
        "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint, metadata) "
        "SELECT E'\\x1b[31m' || n, '1', '{}', '{\"user_id\": \"carol\"}' "
        "FROM generate_series(10, 2510) AS n"
    )
    status, (finding,) = diagnose(operate, url)
    assert (status, finding["count"], len(finding["which"])) == (1, 2501, 5)
    assert "(2501: \\x1b[31m10, " in operate("doctor").out


def test_doctor_as_a_program(url: str, db: Db, tmp_path: Path) -> None:
    """In a process of its own, its status says whether something is to be mended."""
    words = ("sessions", "doctor", "--database", url)
    healthy = run(*words, cwd=tmp_path)
    assert (healthy.returncode, healthy.stderr) == (0, "")
    assert healthy.stdout.endswith("\nHealthy.\n")
    db.execute("DROP INDEX user_sessions_user_idx")
    ill = run(*words, cwd=tmp_path)
    assert (ill.returncode, ill.stderr) == (1, "")
    assert "Problem: an index is missing (1: user_sessions_user_idx)\n" in ill.stdout
    assert ill.stdout.endswith("\n1 problem.\n")


# --- What is wrong is told in one line ---------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["list", "--limit", "0"], "0 is not in the range 1<=x<=1000"),
        (["list", "--limit", "1000000"], "1000000 is not in the range"),
        (["list", "--status", "asleep"], "'asleep' is not one of"),
        (["list", "--cursor", "nonsense"], "cursor must be the next_cursor"),
        (["list", "--user", " "], "--user must not be empty or blank"),
        (["list", "--title", "a" * 256], "title must have at most 255 characters"),
        (["show", "alice", "none"], "user_id 'alice' has no session 'none'"),
        (["show", "alice", "bobs"], "user_id 'alice' has no session 'bobs'"),
        (["show", "alice"], "Missing argument 'THREAD'"),
        (["show", "alice", os.fsdecode(b"a\xff")], "THREAD must be valid Unicode"),
        (["rename", "alice", "bobs", "Mine"], "has no session 'bobs'"),
        (["rename", "bob", "bobs", " "], "title must not be empty or blank"),
        (["deactivate", "alice", "bobs"], "has no session 'bobs'"),
        (["deactivate", "bob"], "give either THREAD or --all"),
        (["deactivate", "bob", "bobs", "--all"], "give either THREAD or --all"),
        (["fork", "alice", "bobs"], "has no session 'bobs'"),
        (["fork", "bob", "bobs", "--checkpoint", "x"], "checkpoint_id 'x' is not in the session"),
        (["delete", "alice", "bobs", "--yes"], "has no session 'bobs'"),
        (["delete", "bob", "--yes"], "give either THREAD or --all"),
        (["adopt", "alice", "none"], "has no session 'none'"),
        (["adopt", "alice", "bobs"], "has no session 'bobs'"),
        (["purge", "--yes"], "give --idle-for, --older-than, --active or --inactive"),
        (["purge", "--idle-for", "90", "--yes"], "'90': give a time such as 30m, 12h or 90d"),
        (["purge", "--idle-for", "-1d", "--yes"], "'-1d': give a time"),
        (["purge", "--idle-for", "٣d", "--yes"], "'٣d': give a time"),
        (["purge", "--older-than", "99999999d", "--yes"], "up to 36500d"),
        (["purge", "--inactive", "--batch-size", "0", "--yes"], "'--batch-size': 0 is not in"),
        (["export", "bob", "--output", "/nonexistent/x"], "No such file or directory"),
        (["export", "bob", "--output", "/"], "'/' is a directory"),
        (["backfill", "extra"], "unexpected extra argument (extra)"),
    ],
)
def test_wrong_input(
    arguments: list[str], told: str, operate: Operate, saver: SessionSaver, db: Db
) -> None:
    """Wrong input gets one line on standard error and status 2, and changes nothing."""
    talk(saver, "bob", "Mine", thread_id="bobs")
    before = contents(db)
    done = operate(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert told in done.err
    assert contents(db) == before


def test_wrong_input_as_a_program(saver: SessionSaver, url: str, tmp_path: Path) -> None:
    """In a process of its own, too: one line, status 2, no traceback."""
    done = run("sessions", "show", "alice", "a\nb", "--database", url, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: user_id 'alice' has no session 'a\\nb'\n"


@pytest.mark.parametrize("command", [["list"], ["purge", "--active", "--yes"], ["export", "a"]])
def test_no_tables_are_made_in_a_mistyped_database(
    command: list[str], operate: Operate, empty_url: str
) -> None:
    """A command that finds no tables says so, and leaves none behind."""
    done = operate(*command, database=empty_url)
    assert (done.status, done.out) == (2, "")
    assert "are missing or out of date" in done.err
    assert catalogue(empty_url) == []


@pytest.mark.parametrize("arguments", [[], ["--help"], ["purge", "--help"], ["doctor", "-h"]])
def test_help(arguments: list[str], tmp_path: Path) -> None:
    """Help needs no database."""
    done = run("sessions", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: python -m langgraph_sessions sessions")
    assert not list(tmp_path.iterdir())
