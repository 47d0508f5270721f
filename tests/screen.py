"""A command in a terminal, as a person has it: keys are pressed, and a screen is looked at."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte

from tests.terminal import IN_A_TERMINAL, environment, minding_ctrl_c, watched

TAB, CTRL_C, CTRL_D = "\t", "\x03", "\x04"


class Screen:
    """What a command shows in a terminal of some lines and columns."""

    def __init__(
        self, *arguments: str, cwd: Path, columns: int = 80, lines: int = 24, **variables: str
    ) -> None:
        """Start the command."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        known = environment(TERM="xterm-256color", **variables)
        with minding_ctrl_c():
            self.process = subprocess.Popen(
                [sys.executable, "-c", IN_A_TERMINAL, *arguments],
                cwd=cwd,
                # The terminal itself says how wide it is.
                env={name: value for name, value in known.items() if name != "COLUMNS"},
                stdin=its,
                stdout=its,
                stderr=its,
                start_new_session=True,
            )
        os.close(its)
        self._terminal = open(ours, "r+b", buffering=0)  # noqa: SIM115 (closed as one leaves)
        self._emulator = pyte.HistoryScreen(columns, lines, history=1000)
        self._emulator.write_process_input = self.press
        self._stream = pyte.ByteStream(self._emulator)
        self._ends = contextlib.ExitStack()
        self._ends.enter_context(watched(self.process))

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the command, if it did not end by itself."""
        with self._ends, self.process, self._terminal:
            if self.process.poll() is None:
                self.process.kill()

    def press(self, keys: str) -> None:
        """Press keys."""
        self._terminal.write(keys.encode())

    @property
    def text(self) -> str:
        """What was shown and is shown, line by line, without the blanks at the lines' ends."""
        above = (_shown(line, self._emulator.columns) for line in self._emulator.history.top)
        return "\n".join(line.rstrip() for line in (*above, *self._emulator.display)).rstrip()

    def wait_for(self, text: str) -> str:
        """Return the screen once it ends with *text*."""
        return self._wait(lambda shown: shown.endswith(text), text)

    def see(self, text: str) -> str:
        """Return the screen once *text* is somewhere on it."""
        return self._wait(lambda shown: text in shown, text)

    def _wait(self, is_there: Callable[[str], bool], text: str) -> str:
        while not is_there(shown := self.text):
            assert self._read(), f"{text!r} is not on the screen:\n{shown}"
        return shown

    def end(self) -> tuple[int, str]:
        """Return the command's status and the last screen, once it has ended."""
        while self._read():
            pass
        return self.process.wait(), self.text

    def _read(self) -> bool:
        with contextlib.suppress(OSError):  # As Linux says that the other end is closed.
            if shown := self._terminal.read(65536):
                self._stream.feed(shown)
                return True
        return False


def _shown(line: Any, columns: int) -> str:
    """Return a line that scrolled away."""
    return "".join(line[column].data for column in range(columns))
