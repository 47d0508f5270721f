"""The commands as a user runs them: in a process of their own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

COMMAND = [sys.executable, "-m", "langgraph_sessions"]
PATIENCE = 120.0  # Seconds until a program that hangs is killed, so that its test fails.
IMPATIENCE = 5.0  # Seconds until a key is pressed once more.


def environment(**variables: str) -> dict[str, str]:
    """Return this environment without what chooses a database or a model, plus *variables*."""
    chosen = ("DATABASE_URL", "GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL")
    kept = {name: value for name, value in os.environ.items() if name not in chosen}
    # Wide, so that no table folds what a test looks for.
    return {**kept, "COLUMNS": "200", "PYTHONUTF8": "1", "NO_PROXY": "127.0.0.1", **variables}


def run(
    *arguments: str, cwd: Path, typed: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with *typed* on its standard input."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**variables),
        input=typed,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=PATIENCE,
        check=False,
    )


@contextlib.contextmanager
def minding_ctrl_c() -> Iterator[None]:
    """Start programs that mind Ctrl-C, which those of a shell's background do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def watched(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill *process* if it hangs, so that who reads from it is told of its end."""
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


class Program:
    """A command under way, of which one reads and to which one types."""

    def __init__(self, *arguments: str, cwd: Path, **variables: str) -> None:
        """Start it."""
        with minding_ctrl_c():
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=cwd,
                env=environment(**variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        self.shown = ""
        self._watched = contextlib.ExitStack()
        self._watched.enter_context(watched(self.process))

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, if it did not end by itself."""
        with self._watched, self.process:
            if self.process.poll() is None:
                self.process.kill()

    def type(self, line: str) -> None:
        """Type a line."""
        stdin = _stream(self.process.stdin)
        stdin.write(f"{line}\n".encode())
        stdin.flush()

    def wait_for(self, text: str) -> str:
        """Read until *text* is shown; return what was shown since the last time, up to its end."""
        pending = ""
        stdout = _stream(self.process.stdout)
        while text not in pending:
            byte = stdout.read(1)
            assert byte, f"{text!r} was not shown, but: {self.shown}"
            pending += byte.decode("latin-1")
            self.shown += byte.decode("latin-1")
        return pending

    def end(self) -> tuple[int, str, str]:
        """Close its input, and return its status, the rest of its output, and its errors."""
        out, errors = self.process.communicate()
        return self.process.returncode, out.decode(), errors.decode()


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


# What a login shell does: without it, Ctrl-C is a character like any other.
IN_A_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("langgraph_sessions", run_name="__main__", alter_sys=True)
"""


def in_a_terminal(
    *arguments: str, cwd: Path, prompt: str = "\0", keys: Sequence[bytes] = (), **variables: str
) -> str:
    """Run a command in a terminal, press the next of *keys* at each *prompt*; return the screen."""
    ours, its = pty.openpty()
    with minding_ctrl_c():
        process = subprocess.Popen(
            [sys.executable, "-c", IN_A_TERMINAL, *arguments],
            cwd=cwd,
            env=environment(**{"TERM": "dumb", **variables}),
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
    os.close(its)
    with process, watched(process), open(ours, "r+b", buffering=0) as terminal:
        return _use(terminal, prompt.encode(), iter(keys)).decode()


def _use(terminal: IO[bytes], prompt: bytes, keys: Iterator[bytes]) -> bytes:
    screen = pressed = b""
    with contextlib.suppress(OSError):  # Which is how Linux says that the other end is closed.
        while more := terminal.read(1):
            screen += more
            if not screen.endswith(prompt):
                continue
            pressed = next(keys, pressed)
            terminal.write(pressed)
            # As a user would, press again what had no effect: between its prompt and its
            # first wait for a key, Python's line editor misses a Ctrl-C.
            while not select.select([terminal], [], [], IMPATIENCE)[0]:
                terminal.write(pressed)
    return screen
