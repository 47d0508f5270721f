"""The process that owns the embedded server: see `embedded`.

It imports the standard library and little of this package: it lives as long as the server and
should weigh little. What goes wrong ends it, with the reason in the server's log.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from langgraph_sessions.embedded.account import UMASK, become, owner, server_account
from langgraph_sessions.embedded.folders import PrivateFolder
from langgraph_sessions.errors import SessionError

POLL_SECONDS = 0.1
ATTEMPTS = 20  # A killed server's files may be in the way for a moment.
SOCKET_PATH_BYTES = 103  # sockaddr_un.sun_path on macOS, the shortest, less the closing NUL
PORT = 5432  # It only names the socket.
SOCKET = f".s.PGSQL.{PORT}"
TEMPORARY = Path("/tmp")  # Not TMPDIR: every process must find it.
HBA: Final = """# Written at each start: nobody but this server's owner is let in.
local all all peer map=owner
"""
IDENT: Final = """# Written at each start.
owner "{owner}" all
"""


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
    return TEMPORARY / f"langgraph-sessions-{os.geteuid()}-{digest}" / "socket"


class Postmaster:
    """The server process: our child, or one whose guardian was killed."""

    def __init__(self, command: list[str], options: dict[str, Any], running: int | None) -> None:
        """Adopt the server that is *running*, or start one by *command*."""
        self._command, self._options = command, options
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = running
        if self._pid is None:
            self.launch()

    def launch(self) -> None:
        """Start the server."""
        self._child = subprocess.Popen(self._command, **self._options)
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


class Home:
    """Where a server lives and as whom: what its guardian knows of it."""

    def __init__(self, place: PrivateFolder, binaries: Path) -> None:
        """Make what is not there yet of the folders in and beside *place*.

        Raises:
            SessionError: One of them is not the server's alone, or cannot be reached as its user.
        """
        self._place, self._binaries = place, binaries
        self._data, self._folder = place.path / "data", socket_folder(place.path)
        self._account = server_account(place.group)
        self._prefix, self._options = become(self._account, binaries / "postgres", place.path)
        if self._is_inside:
            place.make(self._folder.name, self._account)
        else:
            with PrivateFolder(self._folder.parent, place.group) as beside:
                beside.make(self._folder.name, self._account)
        self._initialise()

    @property
    def _is_inside(self) -> bool:
        return self._folder.parent == self._place.path

    def server(self) -> Postmaster:
        """Start the server, or adopt the one that runs."""
        return Postmaster(self._command(), self._options, self.running())

    def running(self) -> int | None:
        """Return the pid of the server that answers, if one does."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self._folder / SOCKET))
                return _listener(client, self._account.uid, self._data)
        except (OSError, ValueError, IndexError):
            return None

    def leave(self) -> None:
        """Remove what of it lies elsewhere."""
        if not self._is_inside:
            shutil.rmtree(self._folder.parent, ignore_errors=True)

    def _command(self) -> list[str]:
        settings = ["listen_addresses=", "unix_socket_permissions=0700", "max_connections=200"]
        if self._account.uid != os.geteuid():
            # POSIX shared memory would be open to all programs of an account that others use.
            settings.append("dynamic_shared_memory_type=mmap")
        return [
            *(*self._prefix, str(self._binaries / "postgres"), "-D", str(self._data)),
            *("-k", str(self._folder), "-p", str(PORT)),
            *(word for setting in settings for word in ("-c", setting)),
        ]

    def _initialise(self) -> None:
        """Create the database cluster, unless a complete one is there, and say whom it lets in."""
        if not (self._place.has("data", self._account) and (self._data / "PG_VERSION").exists()):
            # Made beside its place and moved there: killed half way, it is simply made again.
            self._place.remove("data.new")
            self._place.make("data.new", self._account)
            self._initdb(self._place.path / "data.new")
            self._place.rename("data.new", "data")
        # Each time: the user may have another name now, or on another machine.
        self._place.write("data", "pg_hba.conf", HBA, self._account)
        ident = IDENT.format(owner=owner().replace('"', '""'))
        self._place.write("data", "pg_ident.conf", ident, self._account)

    def _initdb(self, data: Path) -> None:
        subprocess.run(
            [
                *(*self._prefix, str(self._binaries / "initdb"), "--pgdata", str(data)),
                *("--username", "postgres", "--auth", "peer"),
                # Unicode rules for upper and lower case, whatever the system has installed.
                *("--encoding", "UTF8", "--locale-provider", "builtin"),
                *("--builtin-locale", "C.UTF-8", "--locale", "C"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **self._options,
        )


def _listener(client: socket.socket, owner: int, data: Path) -> int:
    """Return the pid of the server that *client* is connected to.

    Raises:
        ValueError: It is not *owner*'s, or not to be seen from here, as in another container.
    """
    if sys.platform != "linux":
        return int((data / "postmaster.pid").read_text().split()[0])
    # The kernel's word: the file is the server's, and we may be root.
    peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", peer)
    if pid <= 0 or uid != owner:
        raise ValueError(f"the server of {data} is not ours")
    return int(pid)


def guard(place: PrivateFolder, binaries: Path, guardian: int) -> None:
    """Keep the server of *place* running for as long as anybody uses it; then free *guardian*.

    Raises:
        SessionError: It does not start.
    """
    os.umask(UMASK)
    home = Home(place, binaries)
    server = home.server()
    attempts = ATTEMPTS
    users = place.open("users.lock")
    while not try_lock(users):
        if attempts and home.running():
            attempts = 0  # It can start, so it is started again for as long as it is used.
        if not server.is_alive():
            if attempts == 1:
                raise SessionError("the server does not start")
            attempts = max(0, attempts - 1)
            server.launch()
        time.sleep(POLL_SECONDS)
    # The exclusive lock is held until the server is down: who comes now waits for that,
    # and must then find that there is no guardian any more.
    server.stop()
    home.leave()
    fcntl.flock(guardian, fcntl.LOCK_UN)


def main(root: Path, binaries: Path) -> None:
    """Become the guardian of *root*, unless there is one, as nobody's child."""
    try:
        with PrivateFolder(root) as place:
            guardian = place.open("guardian.lock")
            # Before the fork, which shares the lock: our starter sees it taken as we return.
            if try_lock(guardian) and os.fork() == 0:
                guard(place, binaries, guardian)
    except SessionError as error:
        sys.exit(str(error))
