"""The embedded server is its owner's alone: what it may, who gets in, and what is refused."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from langgraph_sessions import SessionError
from langgraph_sessions.embedded.account import ENVIRONMENT
from langgraph_sessions.embedded.folders import SPARE_GROUPS
from langgraph_sessions.embedded.guardian import SOCKET, socket_folder
from langgraph_sessions.embedded.server import EmbeddedServer, find_binaries
from tests.embedded.data_folder import as_normal_user, is_running, need_reading_all, postmaster
from tests.support import until

pytestmark = pytest.mark.server

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="what PostgreSQL may of root's")
ROOTS_OWN = "PostgreSQL's programs lie where root alone may enter: install where others may pass"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
READ_ALL = 1 << 2  # CAP_DAC_READ_SEARCH
LOCKS = ["start.lock", "users.lock", "guardian.lock"]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[EmbeddedServer]:
    """Run the server in this block."""
    server = EmbeddedServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.release()
        until(lambda: not is_running(folder))


def status(pid: int) -> dict[str, str]:
    """Return what the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def capabilities(pid: int) -> set[int]:
    """Return the capabilities that a process has or can give to those that it starts."""
    said = status(pid)
    return {int(said[key], 16) for key in ("CapPrm", "CapEff", "CapInh", "CapAmb")}


def parent(pid: int) -> int:
    """Return the process that started *pid*."""
    return int(status(pid)["PPid"])


def guardian_of(folder: Path) -> int:
    """Return the process id of the guardian, while it is the server's parent."""
    return parent(postmaster(folder))


def as_nobody(*command: str, group: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run *command* as any other program of `nobody`'s does, or of that and *group*."""
    user = pwd.getpwnam("nobody")
    become: dict[str, Any] = {"user": user.pw_uid, "group": group or user.pw_gid}
    return subprocess.run(
        command, capture_output=True, text=True, cwd="/", extra_groups=[], **become
    )


def need_programs() -> None:
    """Skip a test for which other accounts have to reach PostgreSQL's programs."""
    path = find_binaries() / "psql"
    if any(not parent.stat().st_mode & stat.S_IXOTH for parent in path.parents):
        pytest.skip(ROOTS_OWN)


def psql(folder: Path) -> list[str]:
    """Return the command that reads root's passwords, if the server lets it."""
    need_programs()
    command = [str(find_binaries() / "psql"), "-h", str(folder / "socket"), "-U", "postgres"]
    return [*command, "-c", "SELECT pg_read_file('/etc/shadow')"]


# What it may.


@ROOT
@LINUX
def test_roots_server_has_no_capability(folder: Path) -> None:
    """Where it can be reached without, it has none, and is in one group, which is nobody else's."""
    need_programs()
    with running(folder):
        pid = postmaster(folder)
        assert capabilities(pid) == {0}
        said = status(pid)
        (group,) = {int(each) for each in said["Gid"].split()}
        assert group in SPARE_GROUPS
        assert said["Groups"] == ""


@ROOT
@LINUX
def test_roots_server_in_a_private_folder_may_read_and_no_more(folder: Path) -> None:
    """In a folder that only root may enter it reads everything, and writes what is its own."""
    folder.parent.chmod(0o700)
    need_reading_all(folder.parent)
    with running(folder) as server, psycopg.connect(server.conninfo) as conn:
        assert capabilities(postmaster(folder)) == {READ_ALL}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"COPY (SELECT 1) TO '{folder.parent}/written'")


@LINUX
def test_nothing_of_the_environment_reaches_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the server nor its guardian has keys or settings of the user's, but a fixed PATH."""
    monkeypatch.setenv("MY_API_KEY", "secret")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    with running(folder):
        for pid in postmaster(folder), guardian_of(folder):
            said = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            words = dict(word.split("=", 1) for word in said if "=" in word)
            assert words.keys() <= {"PATH", "LC_CTYPE"}  # Python may add its locale to its own.
            assert words["PATH"] == ENVIRONMENT["PATH"]


# Who gets in.


@ROOT
@LINUX
def test_other_programs_of_nobody_are_kept_out(folder: Path) -> None:
    """They reach neither socket nor data, and look into no process of it."""
    with running(folder):
        assert "Permission denied" in as_nobody(*psql(folder)).stderr
        for path in folder / "data/PG_VERSION", Path(f"/proc/{postmaster(folder)}/environ"):
            assert "Permission denied" in as_nobody("cat", str(path)).stderr
        # Shared memory that has a name is open to the account that made it.
        assert "/dev/shm/" not in Path(f"/proc/{postmaster(folder)}/maps").read_text()


@ROOT
def test_whoever_reaches_the_socket_is_asked_who_he_is(folder: Path) -> None:
    """The server's own account, in its own group, is not let in: only who started it is."""
    with running(folder):
        refused = as_nobody(*psql(folder), group=folder.stat().st_gid)
        assert "Peer authentication failed" in refused.stderr
        own = subprocess.run([*psql(folder)[:-1], "SELECT 1"], capture_output=True, text=True)
        assert own.returncode == 0, own.stderr


@ROOT
def test_nothing_is_told_to_somebody_elses_server(folder: Path) -> None:
    """A server of another account in its place is sent nothing, not even a name."""
    with running(folder) as server:
        conninfo = server.conninfo
    (folder / "socket" / SOCKET).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "socket" / SOCKET))
        other.listen()
        with pytest.raises(psycopg.OperationalError, match="requirepeer"):
            psycopg.connect(make_conninfo(conninfo, connect_timeout=5))
        client, _ = other.accept()
        with client:
            assert client.recv(100) == b""


@LINUX
def test_a_pid_file_ends_nobody_else(folder: Path) -> None:
    """A guardian that adopts the server asks the kernel which one it is, not a file of its."""
    first = EmbeddedServer(folder)
    first.start()
    pid = postmaster(folder)
    os.kill(guardian_of(folder), signal.SIGKILL)
    file = folder / "data/postmaster.pid"
    with subprocess.Popen(["sleep", "300"]) as another:
        file.write_text(file.read_text().replace(str(pid), str(another.pid), 1))
        second = EmbeddedServer(folder)
        second.start()
        first.release()
        second.release()
        until(lambda: not Path(f"/proc/{pid}").exists())
        assert another.poll() is None
        another.kill()
    file.unlink(missing_ok=True)


# What is refused.


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_all_its_files_are_private(folder: Path, mask: int) -> None:
    """Whatever the umask, its folders are 0700 and its files 0600; root's lets its group pass."""
    before = os.umask(mask)
    try:
        with running(folder):
            for path in folder.rglob("*"):
                assert path.lstat().st_mode & 0o077 == 0, path
            assert folder.stat().st_mode & 0o777 == (0o710 if os.geteuid() == 0 else 0o700)
    finally:
        os.umask(before)


def _opened(folder: Path) -> None:
    (folder / "something").touch()
    folder.chmod(0o755)


def _writable(folder: Path) -> None:
    folder.chmod(0o777)


def _for_a_group(folder: Path) -> None:
    folder.chmod(0o770)


def _linked(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def _nowhere(folder: Path) -> None:
    folder.rmdir()
    folder.symlink_to("nowhere")


def _file(folder: Path) -> None:
    folder.rmdir()
    folder.touch()


def _anothers(folder: Path) -> None:
    os.chown(folder, pwd.getpwnam("daemon").pw_uid, -1)


PREPARED = [
    (_opened, "chmod 700"),
    (_writable, "chmod 700"),
    (_for_a_group, "chmod 700"),
    (_linked, "no link"),
    (_nowhere, "no link"),
    (_file, "must be a folder"),
    pytest.param(_anothers, "belongs to another user", marks=ROOT),
]


@pytest.mark.parametrize(("prepare", "said"), PREPARED)
def test_a_folder_that_is_not_its_users_alone_is_refused(
    folder: Path, prepare: Callable[[Path], None], said: str
) -> None:
    """It is not used, and nothing is written to it; the error says what to do."""
    folder.mkdir(mode=0o700)
    prepare(folder)
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(SessionError, match=said):
        EmbeddedServer(folder).start()
    assert sorted(folder.parent.rglob("*")) == before


def test_an_empty_folder_is_made_private(folder: Path) -> None:
    """One that somebody made for it as folders are made serves."""
    folder.mkdir(mode=0o755)
    with running(folder):
        assert folder.stat().st_mode & 0o067 == 0


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file, neither of which may change."""
    (tmp_path / "file").write_text("kept")
    (tmp_path / "file").chmod(0o644)

    def told() -> list[Any]:
        paths = [tmp_path, *tmp_path.iterdir()]
        return [(path, stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) for path in paths]

    before = told()
    yield tmp_path
    assert told() == before
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("name", [*LOCKS, "server.log", ".gitignore"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_file_is_followed_elsewhere(
    folder: Path, victim: Path, name: str, link: Callable[[Path, Path], None]
) -> None:
    """A link in the place of a lock or the log is refused, and where it leads nothing changes."""
    folder.mkdir(mode=0o700)
    link(victim / "file", folder / name)
    with pytest.raises(SessionError, match=f"{name} must be a file"):
        EmbeddedServer(folder).start()


@pytest.mark.parametrize("name", ["data", "data.new", "socket"])
def test_no_folder_is_followed_elsewhere(folder: Path, victim: Path, name: str) -> None:
    """A link in the place of one of its folders is refused."""
    folder.mkdir(mode=0o700)
    (folder / name).symlink_to(victim)
    with pytest.raises(SessionError, match=f"{name} must be a folder"):
        EmbeddedServer(folder).start()


@pytest.mark.parametrize("name", ["pg_hba.conf", "pg_ident.conf"])
def test_no_setting_is_written_elsewhere(folder: Path, victim: Path, name: str) -> None:
    """A link in the place of a file that says who is let in is refused."""
    with running(folder):
        (folder / "data" / name).unlink()
        (folder / "data" / name).symlink_to(victim / "file")
    with pytest.raises(SessionError, match=f"{name} must be a file"):
        EmbeddedServer(folder).start()


def test_a_pipe_in_the_place_of_the_log_is_refused(folder: Path) -> None:
    """Nobody waits for its other end."""
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / "server.log")
    with pytest.raises(SessionError, match=r"server\.log must be a file"):
        EmbeddedServer(folder).start()


@pytest.mark.parametrize("planted", ["link", "open"])
def test_the_short_folder_of_a_long_path_is_as_private(
    folder: Path, victim: Path, planted: str
) -> None:
    """Where a socket lies in /tmp, what others prepared there is refused."""
    deep = folder / ("x" * 60) / ("y" * 60)
    short = socket_folder(deep).parent
    if planted == "link":
        short.symlink_to(victim)
    else:
        short.mkdir()
        short.chmod(0o777)
    try:
        with pytest.raises(SessionError, match=rf"{short}"):
            EmbeddedServer(deep).start()
        assert not (victim / "socket").exists()
    finally:
        short.unlink() if planted == "link" else short.rmdir()
    with running(deep) as server:
        assert str(socket_folder(deep)) in server.conninfo
        assert short.stat().st_mode & 0o067 == 0
    until(lambda: not short.exists())


# The same as a normal user.


@ROOT
def test_all_of_it_holds_for_a_normal_user() -> None:
    """The tests above, run by somebody who is not root, say the same."""
    _, become = as_normal_user()
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", __file__]
    ended = subprocess.run(
        [*become, *command], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert ended.returncode == 0, ended.stdout
    assert " passed" in ended.stdout
