"""A PostgreSQL server of a test's own: to be stopped, killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from langgraph_sessions.embedded.account import become, server_account
from langgraph_sessions.embedded.server import find_binaries

PATIENCE = 300.0  # Seconds, the most that a test waits for something.
# Nothing that a killed process had acknowledged may be lost with it; the machine stays up.
MEMORY, ROOM = Path("/dev/shm"), 4 << 30
SETTINGS = ("listen_addresses=", "fsync=off", "max_connections=100")


def make_folder(path: Path) -> None:
    """Make a folder of the account that PostgreSQL runs as."""
    account = server_account()
    path.mkdir(mode=0o700, exist_ok=True)
    os.chown(path, account.uid, account.gid)


def as_server() -> tuple[list[str], dict[str, Any]]:
    """Return what makes `subprocess` run a command as PostgreSQL's account."""
    return become(server_account(), find_binaries() / "postgres")


def locale() -> list[str]:
    """Return initdb's options for a database with Unicode's rules for upper and lower case."""
    if version() >= 17:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


@functools.cache
def version() -> int:
    """Return the major version of the PostgreSQL that servers are started with."""
    command = [str(find_binaries() / "postgres"), "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(told.split()[2].partition(".")[0])


def in_memory() -> Path | None:
    """Return a folder on a file system in memory, if there is one with room; else `None`.

    Each test's database is some 300 files that live for a moment: there it takes half the time.
    """
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY).free > ROOM and os.access(MEMORY, os.W_OK):
            return MEMORY
    return None


class Server:
    """A server on a Unix socket in a folder of its own.

    Attributes:
        folder: Where its data and its socket are.
        process: The postmaster.
    """

    def __init__(self, *settings: str, auth: str = "trust") -> None:
        """Make its data, with *auth* as initdb's -A; the password, if any, is `secret`."""
        self._make_folder(settings)
        with tempfile.NamedTemporaryFile("w", prefix="lgs-", suffix=".password") as password:
            os.chmod(password.name, 0o644)
            password.write("secret\n")
            password.flush()
            self.command(
                *("initdb", "-D", str(self.data), "-A", auth, "-U", "postgres", "-E", "UTF8"),
                *("--no-sync", *locale(), "--pwfile", password.name),
            )

    @classmethod
    def standby_of(cls, primary: Server) -> Server:
        """Make a streaming standby of *primary*, which runs."""
        self = cls.__new__(cls)
        self._make_folder(primary._settings)
        self.command(
            *("pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "--no-sync"),
            *("--checkpoint=fast", "-d", primary.conninfo),
        )
        return self

    def _make_folder(self, settings: tuple[str, ...]) -> None:
        # Not under tmp_path: a socket's path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="lgs-", dir=in_memory()))
        self.folder.chmod(0o755)
        self.data, self.socket = self.folder / "data", self.folder / "socket"
        make_folder(self.data)
        make_folder(self.socket)
        self._settings = settings
        self._prefix, self._options = as_server()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, as the server's user."""
        words = [*self._prefix, str(find_binaries() / program), *arguments]
        subprocess.run(words, check=True, capture_output=True, **self._options)

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self.process is not None

    @property
    def conninfo(self) -> str:
        """The conninfo of its first database."""
        return make_conninfo(
            host=str(self.socket), port=5432, user="postgres", dbname="postgres", password="secret"
        )

    @property
    def elsewhere(self) -> str:
        """The conninfo that reaches it when it is started with `hidden`."""
        return make_conninfo(self.conninfo, port=5433)

    def start(self, *, hidden: bool = False) -> None:
        """Start it, and wait until it answers; *hidden*: where `conninfo` does not find it."""
        assert self.process is None
        port = "5433" if hidden else "5432"
        conninfo = self.elsewhere if hidden else self.conninfo
        settings = [word for each in (*SETTINGS, *self._settings) for word in ("-c", each)]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [
                    *(*self._prefix, str(find_binaries() / "postgres"), "-D", str(self.data)),
                    *("-k", str(self.socket), "-p", port, *settings),
                ],
                stdout=log,
                stderr=log,
                **self._options,
            )
        pause, until = threading.Event(), time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(conninfo).close()
                return
            pause.wait(0.01)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it, if it runs: with SIGQUIT at once; with SIGKILL, and its children with it."""
        process, self.process = self.process, None
        if process is None:
            return
        children = _children(process.pid) if how == signal.SIGKILL else []
        process.send_signal(how)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, how)
        process.wait()
        # A process that is not reaped yet has let go of all that the next server wants.
        pause = threading.Event()
        while any(map(_is_running, children)):
            pause.wait(0.01)

    def remove(self) -> None:
        """Stop it, and remove all that it has."""
        self.stop()
        shutil.rmtree(self.folder)

    def execute(self, statement: str, dbname: str = "postgres") -> list[Any]:
        """Execute a statement of the test's, and return its rows, if it gives any."""
        with psycopg.connect(self.conninfo, dbname=dbname, autocommit=True) as conn:
            cursor = conn.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Start it for the block, give its conninfo, and remove it."""
        try:
            self.start()
            yield self.conninfo
        finally:
            self.remove()

    @contextlib.contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Make a database, and give its conninfo."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield make_conninfo(self.conninfo, dbname=name)
        finally:
            if self.is_running:
                self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def terminate_backends(url: str) -> int:
    """Terminate all others' connections to *url*'s database; return how many there were."""
    with psycopg.connect(url, autocommit=True) as conn:
        ended = conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(ended.fetchall())


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for *condition*, not for ever."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - What happens in a server has no event.
            await asyncio.sleep(0.01)


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in found.split()]


def _is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
