"""`langgraph-sessions web`, as one starts it, and what it says where it cannot."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from psycopg.conninfo import make_conninfo

from langgraph_sessions import SessionSaver
from langgraph_sessions.cli import main
from langgraph_sessions.web import hosts
from tests.support import PATIENCE
from tests.terminal import Program
from tests.web.visiting import named, talk

pytestmark = pytest.mark.server

SECRET = "rosebud"
PASSWORD = "swordfish"
URL = "postgresql://127.0.0.1:1/none"


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run the command in this process, and return the one line that it ends with."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(
            sys, "argv", ["langgraph-sessions", "web", "--database", URL, *arguments]
        )
        assert main.run() == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.count("\n") == 1
        return shown.err

    return call


def test_a_port_in_use_is_one_line(refused: Callable[..., str]) -> None:
    """It is named, and nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port} is in use" in refused("--port", port)


def test_other_machines_are_let_in_only_if_said_twice(refused: Callable[..., str]) -> None:
    """A host that they reach is refused without `--allow-remote`; so is one that there is not."""
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        assert "--allow-remote" in refused("--host", host)
    assert "no such host" in refused("--host", "nowhere.invalid")
    assert "no such host" in refused("--host", "a" * 100)
    assert "--host must not be empty" in refused("--host", " ")
    assert "cannot listen" in refused("--host", "192.0.2.1", "--allow-remote")


def test_wrong_arguments_are_named(refused: Callable[..., str]) -> None:
    """A port that is none, an option that there is not, and a word too many."""
    assert "--port" in refused("--port", "70000")
    assert "--token" in refused("--token", "mine")
    assert "unexpected" in refused("sessions")


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("localhost", None)])
def test_the_address_leads_there(host: str, shown: str | None) -> None:
    """It is the number on which it listens, with the token."""
    with hosts.listen(host, 0, remote=False) as listening:
        number, port = listening.getsockname()[:2]
        name = shown or (f"[{number}]" if ":" in number else number)
        assert hosts.url(listening, "t") == f"http://{name}:{port}/?token=t"


def test_the_address_of_all_is_this_machines() -> None:
    """A browser elsewhere cannot go to 0.0.0.0."""
    with hosts.listen("0.0.0.0", 0, remote=True) as listening:
        assert hosts.url(listening, "t").startswith(f"http://{socket.gethostname()}:")


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "jinja2"])
def test_without_the_extra_it_says_how_to_install_it(missing: str) -> None:
    """One line, and status 2."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
sys.argv = ["langgraph-sessions", "web", "--database", {URL!r}]
from langgraph_sessions.cli import main
raise SystemExit(main.run())"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    told = 'Error: the page needs more: pip install "langgraph-sessions[web]"\n'
    assert (done.stdout, done.stderr) == ("", told)


def test_it_serves_until_it_is_stopped_and_logs_nothing_that_was_said(
    direct_url: str, saver: SessionSaver, tmp_path: Path
) -> None:
    """It prints where, ends well with Ctrl-C, and tells no words, titles, threads or password."""
    session = talk(saver, "alice", SECRET, thread_id=SECRET)
    url = make_conninfo(direct_url, password=PASSWORD)
    with Program("web", "--database", url, cwd=tmp_path) as program:
        line = program.wait_for("\n")
        (door,) = re.findall(r"http://127\.0\.0\.1:\d+/\?token=\S{43}", line)
        with httpx.Client(timeout=PATIENCE, trust_env=False, follow_redirects=True) as http:
            page = http.get(door)
            assert SECRET in page.text
            assert PASSWORD not in page.text
            for path, asked in (
                ("/", {"title": SECRET, "status": "asleep"}),
                ("/session", named(session)),
                ("/session", {"user": SECRET, "thread": SECRET}),
                ("/nothing", {SECRET: SECRET}),
            ):
                http.get(str(page.url.join(path)), params=asked)
        program.process.send_signal(signal.SIGINT)
        status, out, err = program.end()
    assert status == 0
    told = line + out + err
    assert "database t_" in told
    assert SECRET not in told
    assert PASSWORD not in told
    assert "Traceback" not in told


def test_where_there_is_no_database_it_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever is in the wrong folder is told so, and leaves nothing there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["langgraph-sessions", "web"])
    assert main.run() == 2
    assert "there is no database" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_it_takes_the_database_of_the_surroundings(direct_url: str, tmp_path: Path) -> None:
    """`DATABASE_URL` names it, as for every command; SIGTERM ends it, too."""
    with Program("web", cwd=tmp_path, DATABASE_URL=direct_url) as program:
        assert "token=" in program.wait_for("\n")
        program.process.terminate()
        assert "database t_" in program.end()[2]
