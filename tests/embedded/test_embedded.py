"""The embedded PostgreSQL: shared, stopped by the last, and hard to kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from langgraph_sessions import SessionError, SessionSaver
from langgraph_sessions.embedded import server as embedded
from langgraph_sessions.embedded.server import EmbeddedServer
from tests.embedded.data_folder import (
    as_normal_user,
    is_running,
    make_data,
    need_reading_all,
    postmaster,
)
from tests.support import python, stream, until

pytestmark = pytest.mark.server

USER = """
import sys
from langgraph_sessions import SessionSaver
saver = SessionSaver(path=sys.argv[1])
saver.sessions.create_user_session("alice", sys.argv[2])
print(saver.sessions.count_sessions("alice"), flush=True)
sys.stdin.read()
"""


def use(folder: Path, title: str) -> subprocess.Popen[str]:
    """Start a process that uses the server until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(folder), title],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process


def answer(process: subprocess.Popen[str]) -> int:
    """Return how many sessions the process saw."""
    return int(stream(process.stdout).readline())


def leave(process: subprocess.Popen[str]) -> None:
    """Let the process end in order."""
    process.communicate()
    assert process.returncode == 0


def test_processes_share_it_and_the_last_one_stops_it(folder: Path) -> None:
    """Two processes use one server; it goes on when one leaves, and ends with the other."""
    first, second = use(folder, "one"), use(folder, "two")
    assert sorted([answer(first), answer(second)])[1] == 2
    pid = postmaster(folder)
    leave(first)
    third = use(folder, "three")
    assert answer(third) == 3
    assert postmaster(folder) == pid
    leave(second)
    leave(third)
    until(lambda: not is_running(folder))


def test_it_survives_kill_9_of_its_users(folder: Path) -> None:
    """A user killed with -9 counts as gone: the server stops, and the data are there."""
    process = use(folder, "one")
    assert answer(process) == 1
    process.kill()
    process.communicate()
    until(lambda: not is_running(folder))
    again = use(folder, "two")
    assert answer(again) == 2
    leave(again)


def test_it_survives_kill_9_of_the_server(folder: Path) -> None:
    """A server killed with -9 under its users comes back with the data intact."""
    with SessionSaver(path=folder) as saver:
        saver.sessions.create_user_session("alice", "one")
        pid = postmaster(folder)
        os.kill(pid, signal.SIGKILL)
        until(lambda: is_running(folder) and postmaster(folder) != pid)
        later = use(folder, "two")
        assert answer(later) == 2
        leave(later)


def test_a_server_whose_guardian_was_killed_is_adopted(folder: Path) -> None:
    """The next user finds the server running, and the last one still stops it."""
    first = use(folder, "one")
    assert answer(first) == 1
    pid = postmaster(folder)
    found = subprocess.run(["pgrep", "-f", f"python\\S* -I .* {folder} "], capture_output=True)
    (guardian,) = found.stdout.split()
    os.kill(int(guardian), signal.SIGKILL)
    second = use(folder, "two")
    assert answer(second) == 2
    assert postmaster(folder) == pid
    leave(first)
    leave(second)
    until(lambda: not is_running(folder))


def test_a_path_too_long_for_a_socket_works(folder: Path) -> None:
    """A deep folder gets its socket in a short one."""
    deep = folder / ("x" * 60) / ("y" * 60)
    with SessionSaver(path=deep) as saver:
        assert saver.sessions.count_sessions() == 0
    until(lambda: not is_running(deep))


@pytest.mark.parametrize("name", ["a,b", "100% 'x\"", "ünï 🧑"])
def test_odd_paths_work(folder: Path, name: str) -> None:
    """A folder may have any name."""
    with SessionSaver(path=folder / name) as saver:
        assert saver.sessions.count_sessions() == 0
    until(lambda: not is_running(folder / name))


def test_the_environments_settings_for_postgresql_do_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever PG… variables say, processes find the one server, and the last one stops it."""
    first = use(folder, "one")
    assert answer(first) == 1
    for variable, value in {
        "PGPORT": "5499",
        "PGHOSTADDR": "127.0.0.1",
        "PGOPTIONS": "-c search_path=nosuch",
        "PGREQUIREAUTH": "scram-sha-256",
        "PGREQUIREPEER": "nosuch",
        "PGCHANNELBINDING": "require",
        "PGGSSENCMODE": "require",
        "PGSSLMODE": "verify-full",
        "PGSSLCERTMODE": "require",
        "PGTARGETSESSIONATTRS": "standby",
        "PGCLIENTENCODING": "LATIN1",
        "TMPDIR": str(folder),
    }.items():
        monkeypatch.setenv(variable, value)
    second = use(folder, "two 🧑")
    assert answer(second) == 2
    leave(first)
    leave(second)
    until(lambda: not is_running(folder))


SERVICE = """
[elsewhere]
host=example.invalid
hostaddr=192.0.2.1
port=5499
dbname=nosuch
user=nosuch
password=wrong
options=-c search_path=nosuch
require_auth=scram-sha-256
requirepeer=nosuch
channel_binding=require
gssencmode=require
sslmode=verify-full
sslcertmode=require
target_session_attrs=standby
replication=database
client_encoding=LATIN1
"""


def test_a_service_of_the_environment_does_not_matter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes find the one server although PGSERVICE names another."""
    first = use(folder, "one")
    assert answer(first) == 1
    (tmp_path / "services").write_text(SERVICE)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    second = use(folder, "two 🧑")
    assert answer(second) == 2
    leave(first)
    leave(second)
    until(lambda: not is_running(folder))


def test_a_service_that_is_not_defined_is_told_at_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No client can connect then; nobody waits for a minute to hear it."""
    (tmp_path / "services").write_text(SERVICE)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "nosuch")
    with (
        SessionSaver(path=folder) as saver,
        pytest.raises(SessionError, match='service "nosuch" not found'),
    ):
        saver.sessions.count_sessions()
    assert not (folder / "data").exists()


def test_it_is_only_on_a_private_socket(folder: Path) -> None:
    """The server listens on no port, and its socket's folder is the owner's alone."""
    server = EmbeddedServer(folder)
    with psycopg.connect(server.start()) as conn:
        (addresses,) = conn.execute("SHOW listen_addresses").fetchone()  # type: ignore[misc]
    assert addresses == ""
    assert (folder / "socket").stat().st_mode & 0o077 == 0
    assert (folder / ".gitignore").read_text() == "*\n"
    server.release()
    until(lambda: not is_running(folder))


def test_binaries_in_a_private_folder_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment that only its owner may enter serves as well as any."""
    folder.parent.chmod(0o700)
    need_reading_all(folder.parent)
    package = embedded.find_binaries().parent.parent
    for part in package.parent.glob(f"{package.name}*"):  # with its shared libraries
        shutil.copytree(part, folder.parent / part.name, symlinks=True)
    binaries = folder.parent / package.name / "pginstall/bin"
    monkeypatch.setenv(embedded.BINARIES_VARIABLE, str(binaries))
    with SessionSaver(path=folder) as saver:
        assert saver.sessions.count_sessions() == 0
    until(lambda: not is_running(folder))


def test_a_server_started_twice_is_stopped_by_one_release(folder: Path) -> None:
    """A start that is tried again leaves no use of the server behind."""
    server = EmbeddedServer(folder)
    server.start()
    server.start()
    server.release()
    until(lambda: not is_running(folder))


def test_binaries_that_do_not_run_are_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a PostgreSQL that cannot run, its own words are told."""
    make_data(folder, "18")
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text("#!/bin/sh\necho no such library >&2\nexit 127\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv(embedded.BINARIES_VARIABLE, str(tmp_path))
    with pytest.raises(SessionError, match="postgres does not run: no such library"):
        EmbeddedServer(folder).start()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user to try")
def test_it_works_as_a_normal_user() -> None:
    """Somebody who is not root runs the server as themselves."""
    user, become = as_normal_user()
    with tempfile.TemporaryDirectory(prefix="lgs-") as name:
        os.chown(name, user.uid, user.gid)
        folder = Path(name) / "data"
        command = [*become, sys.executable, "-c", USER, str(folder), "one"]
        ended = subprocess.run(command, input="", capture_output=True, text=True, cwd="/")
        assert (ended.stdout, ended.stderr) == ("1\n", "")
        until(lambda: not is_running(folder))
        assert (folder / "data").stat().st_uid == user.uid


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is named with the command that installs it."""
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with (
        SessionSaver() as saver,
        pytest.raises(SessionError, match=r'pip install "langgraph-sessions\[embedded\]"'),
    ):
        saver.sessions.count_sessions()


def test_data_of_another_major_version_are_refused(folder: Path) -> None:
    """A data folder that another PostgreSQL made is left alone, with a clear error."""
    make_data(folder, "12\n")
    with SessionSaver(path=folder) as saver, pytest.raises(SessionError, match="PostgreSQL 12"):
        saver.sessions.count_sessions()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    """The error carries the last lines of the server's log."""
    with SessionSaver(path=folder) as saver:
        saver.sessions.count_sessions()
    until(lambda: not is_running(folder))
    (folder / "data/postgresql.conf").write_text("nonsense = 1\n")
    with SessionSaver(path=folder) as saver, pytest.raises(SessionError, match="nonsense"):
        saver.sessions.count_sessions()


def test_a_program_that_closes_nothing_leaves_no_server(folder: Path) -> None:
    """Neither warning nor server is left by a saver that nobody closed."""
    program = (
        "import sys; from langgraph_sessions import SessionSaver;"
        "saver = SessionSaver(path=sys.argv[1]); print(saver.sessions.count_sessions())"
    )
    ended = python(program, str(folder))
    assert (ended.stdout, ended.stderr) == ("0\n", "")
    until(lambda: not is_running(folder))
