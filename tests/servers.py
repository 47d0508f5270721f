"""PostgreSQL servers of a test's own, to be stopped, killed and started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from langgraph_sessions import _guardian
from langgraph_sessions.embedded import find_binaries


class Server:
    """A server on the embedded binaries, listening on a Unix socket: `with Server() as server`."""

    def __init__(self, *settings: str) -> None:
        """Make the data folder; *settings* are as in `max_connections=20`."""
        # Not under tmp_path: a socket's path must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="lgs-"))
        self._folder.chmod(0o755)
        self._settings = ("listen_addresses=", *settings)
        self._prefix, self._options = _guardian.unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("data", "socket"):
            _guardian.make_folder(self._folder / name)
        self._run(
            *("initdb", "-D", str(self._folder / "data"), "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--no-sync", "--locale", "C"),
        ).wait()

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with open(self._folder / "log", "ab") as log:
            return subprocess.Popen(
                [*self._prefix, str(find_binaries() / program), *arguments],
                stdout=log,
                stderr=log,
                **self._options,
            )

    @property
    def conninfo(self) -> str:
        """The conninfo of its database."""
        return make_conninfo(host=str(self._folder / "socket"), user="postgres", dbname="postgres")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [word for setting in self._settings for word in ("-c", setting)]
        folders = ("-D", str(self._folder / "data"), "-k", str(self._folder / "socket"))
        self._process = self._run("postgres", *folders, *settings)
        while self._process.poll() is None:
            try:
                psycopg.connect(self.conninfo).close()
            except psycopg.OperationalError:
                continue
            return
        raise RuntimeError((self._folder / "log").read_text(errors="replace"))

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it, by default as `pg_ctl stop -m immediate` does, and wait."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, and remove its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
