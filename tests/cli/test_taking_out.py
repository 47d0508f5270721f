"""What operators take out: exports, their progress, and the tables' SQL."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from langgraph_sessions import SessionSaver
from tests.catalogue import catalogue
from tests.operating import EVIL, Db, Operate, leave_behind, psql, talk
from tests.support import config, graph_builder
from tests.terminal import COMMAND, environment, run


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
    dash = operate("export", "alice", "--output", "-")
    assert (dash.status, dash.out) == (0, printed.out)


def test_an_export_that_fails_leaves_the_file(
    operate: Operate, saver: SessionSaver, db: Db, tmp_path: Path
) -> None:
    """What was in the file before stays, and no half of an export lies beside it."""
    talk(saver, "alice", "Hi")
    db.execute("DROP TABLE checkpoint_blobs")
    file = tmp_path / "alice.jsonl"
    file.write_text("before")
    done = operate("export", "alice", "--output", str(file))
    assert (done.status, done.out) == (2, "")
    assert "checkpoint_blobs" in done.err
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_exported_is_said(
    operate: Operate, saver: SessionSaver, db: Db, tmp_path: Path
) -> None:
    """The file has all the rest, standard error names the thread, and the status is 1."""
    talk(saver, "alice", "Hi", thread_id="broken")
    talk(saver, "alice", "Hello", thread_id="whole")
    db.execute("UPDATE checkpoint_blobs SET type = 'nonsense' WHERE thread_id = 'broken'")
    file = tmp_path / "alice.jsonl"
    for options in ([], ["--output", str(file)]):
        done = operate("export", "alice", *options)
        assert done.status == 1
        (line,) = done.err.splitlines()
        assert line.startswith("Could not export thread broken: ")
        lines = (file.read_text() if options else done.out).splitlines()
        kinds = [record["record"] for record in map(json.loads, lines)]
        assert sorted(kinds) == ["message", "message", "session", "session", "unreadable"]


def test_jq_and_postgresql_read_an_export(operate: Operate, saver: SessionSaver, db: Db) -> None:
    """Whatever was said, each line is one document; what was replaced is said once."""
    odd = {"nan": math.nan, "most": [math.inf, -math.inf], "nul": "a\0b"}
    for number in range(2):
        said = HumanMessage(f"{EVIL} \u2028 Grüße", additional_kwargs=odd)
        graph_builder().compile(checkpointer=saver).invoke(
            {"messages": [said]}, config(user_id="alice", thread_id=f"t{number}")
        )
    done = operate("export", "alice")
    assert done.status == 0
    assert done.err.startswith("Note: null stands for NaN")
    assert len(done.err.splitlines()) == 1
    lines = done.out.splitlines()
    for line in lines:
        db.execute("SELECT %s::jsonb", [line])
    if jq := shutil.which("jq"):
        read = subprocess.run(
            [jq, "-r", ".record"], input=done.out, text=True, check=True, capture_output=True
        )
        assert len(read.stdout.splitlines()) == len(lines)
    kwargs = json.loads(lines[1])["message"]["additional_kwargs"]
    assert kwargs == {"nan": None, "most": [None, None], "nul": "a\ufffdb"}
    assert json.loads(lines[-1])["thread_ids"] == ["t1", "t0"]


def test_export_as_a_program(saver: SessionSaver, url: str, tmp_path: Path) -> None:
    """In a process of its own, with the URL in DATABASE_URL: lines alone, and no bar in a pipe."""
    talk(saver, "alice", "Grüße")
    done = run("sessions", "export", "alice", cwd=tmp_path, DATABASE_URL=url)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("Database: ")
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


@pytest.mark.one_server("it makes one server's tables")
def test_ddl(operate: Operate, empty_url: str, url: str) -> None:
    """What it prints makes in an empty database what setup makes, so that nothing is missing."""
    script = operate("ddl", database="postgresql://nowhere.invalid/x").out
    assert "CONCURRENTLY" not in script
    psql(empty_url, script)
    assert catalogue(empty_url) == catalogue(url)
    assert operate("doctor", "--json", database=empty_url).json == {"healthy": True, "findings": []}
    with SessionSaver(empty_url, auto_setup=False) as saver:
        assert talk(saver, "alice", "Hi").title == "Hi"


@pytest.mark.one_server("it makes one server's tables")
def test_ddl_where_langgraphs_tables_are(operate: Operate, empty_url: str, url: str) -> None:
    """It adds ours to those of a plain saver, and a second time changes nothing."""
    leave_behind(empty_url, "old")
    script = operate("ddl").out
    psql(empty_url, script)
    assert catalogue(empty_url) == catalogue(url)
    with pytest.raises(subprocess.CalledProcessError):
        psql(empty_url, script)
    assert operate("doctor", database=empty_url).status == 0
