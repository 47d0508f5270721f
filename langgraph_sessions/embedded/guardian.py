"""The process that owns the embedded server: see `embedded`.

Run by its path and made of the standard library alone: it lives as long as the server and
should weigh little. What goes wrong ends it, with the reason in the server's log.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.1
ATTEMPTS = 20  # A killed server's files may be in the way for a moment.
SOCKET_PATH_BYTES = 103  # sockaddr_un.sun_path on macOS, the shortest, less the closing NUL
UNPRIVILEGED_USER = "nobody"
PORT = 5432  # It only names the socket.
SOCKET = f".s.PGSQL.{PORT}"
TEMPORARY = Path("/tmp")  # Not TMPDIR: every process must find it.


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[int]:
    """Open a file that can be locked until the end of the block."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def try_lock(file: int) -> bool:
    """Take the exclusive lock on *file* if it is free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def socket_folder(root: Path) -> Path:
    """Return the folder of the server's socket: in *root*, or another if its path does not do.

    It does not if it is too long for a socket, or has what separates folders in settings.
    """
    inside = root / "socket"
    path = os.fsencode(inside / SOCKET)
    if len(path) <= SOCKET_PATH_BYTES and not set(path) & set(b",\n\r"):
        return inside
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return TEMPORARY / f"langgraph-sessions-{os.getuid()}-{digest}"


def unprivileged() -> tuple[list[str], dict[str, Any]]:
    """Return what makes a command run as somebody PostgreSQL agrees to run as.

    PostgreSQL refuses root, so as root it runs as `nobody`. Where `setpriv` is there (any
    Linux), it keeps the one right to pass through folders that only root may enter, such as
    root's home or a `mktemp -d`, for its data and for its programs; the alternative would be
    to open those to everybody.
    """
    if os.geteuid() != 0:
        return [], {}
    user = pwd.getpwnam(UNPRIVILEGED_USER)
    if setpriv := shutil.which("setpriv"):
        prefix = [
            setpriv,
            f"--reuid={user.pw_uid}",
            f"--regid={user.pw_gid}",
            "--clear-groups",
            "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override",
            # Else access(2), by which PostgreSQL looks for its programs, would not count it.
            "--securebits=+no_setuid_fixup",
        ]
        # A container may have taken that right from root itself.
        if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode == 0:
            return prefix, {}
    return [], {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def make_folder(path: Path) -> None:
    """Make *path* a private folder of the user that the server runs as.

    Raises:
        SystemExit: It is there already and is somebody else's.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED_USER)
        if path.stat().st_uid == 0:
            os.chown(path, user.pw_uid, user.pw_gid)
        owner = user.pw_uid
    else:
        owner = os.geteuid()
    if path.is_symlink() or path.stat().st_uid != owner:
        raise SystemExit(f"{path} belongs to another user: use it as that one, or another path")
    path.chmod(0o700)


class Postmaster:
    """The server process: our child, or one whose guardian was killed."""

    def __init__(self, data: Path, folder: Path, binaries: Path) -> None:
        """Adopt the server that runs on *data*, or start one."""
        prefix, self._options = unprivileged()
        self._command = [
            *prefix,
            str(binaries / "postgres"),
            *("-D", str(data), "-k", str(folder), "-c", "listen_addresses="),
            *("-p", str(PORT), "-c", "unix_socket_permissions=0700", "-c", "max_connections=200"),
        ]
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = _running(data, folder)
        if self._pid is None:
            self.launch()

    def launch(self) -> None:
        """Start the server."""
        self._child = subprocess.Popen(self._command, cwd="/", **self._options)
        self._pid = self._child.pid

    def is_alive(self) -> bool:
        """Say whether it runs; a child that ended is reaped."""
        if self._child is not None:
            return self._child.poll() is None
        assert self._pid is not None
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True

    def stop(self) -> None:
        """End it as `pg_ctl stop -m fast` does, and wait."""
        assert self._pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGINT)
        while self.is_alive():
            time.sleep(POLL_SECONDS)


def _running(data: Path, folder: Path) -> int | None:
    """Return the pid of the server that answers in *folder*, if one does."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / SOCKET))
        return int((data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def guard(root: Path, binaries: Path, guardian: int) -> None:
    """Keep the server of *root* running for as long as anybody uses it; then free *guardian*."""
    data, folder = root / "data", socket_folder(root)
    make_folder(folder)
    _initialise(data, binaries)
    server = Postmaster(data, folder, binaries)
    attempts = ATTEMPTS
    with lock_file(root / "users.lock") as users:
        while not try_lock(users):
            if attempts and _running(data, folder):
                attempts = 0  # It can start, so it is started again for as long as it is used.
            if not server.is_alive():
                if attempts == 1:
                    raise SystemExit("the server does not start")
                attempts = max(0, attempts - 1)
                server.launch()
            time.sleep(POLL_SECONDS)
        # The exclusive lock is held until the server is down: who comes now waits for that,
        # and must then find that there is no guardian any more.
        server.stop()
        if folder.parent != root:
            shutil.rmtree(folder, ignore_errors=True)
        fcntl.flock(guardian, fcntl.LOCK_UN)


def _initialise(data: Path, binaries: Path) -> None:
    """Create the database cluster, unless a complete one is there."""
    if (data / "PG_VERSION").exists():
        return
    # Made beside its place and moved there: killed half way, it is simply made again.
    draft = data.with_name("data.new")
    shutil.rmtree(draft, ignore_errors=True)
    make_folder(draft)
    prefix, options = unprivileged()
    subprocess.run(
        [
            *prefix,
            str(binaries / "initdb"),
            *("--pgdata", str(draft), "--username", "postgres", "--auth", "trust"),
            # Unicode rules for upper and lower case, whatever the system has installed.
            *("--encoding", "UTF8", "--locale-provider", "builtin"),
            *("--builtin-locale", "C.UTF-8", "--locale", "C"),
        ],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        **options,
    )
    draft.rename(data)


def main(root: Path, binaries: Path) -> None:
    """Become the guardian of *root*, unless there is one, as nobody's child."""
    with lock_file(root / "guardian.lock") as guardian:
        # Before the fork, which shares the lock: our starter sees it taken as we return.
        if try_lock(guardian) and os.fork() == 0:
            guard(root, binaries, guardian)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
