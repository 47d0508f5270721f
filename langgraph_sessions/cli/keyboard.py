"""Lines that somebody types, with an editor and completion where there is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.console import Console

from langgraph_sessions.cli.terminal import literal
from langgraph_sessions.cli.wrapping import to_console


class Choice(NamedTuple):
    """What may stand at the end of a line.

    Attributes:
        replaced: How many of the line's last characters it stands for.
        text: What is put there.
        shown: How it stands in the list of choices.
        note: What is said of it there.
    """

    replaced: int
    text: str
    shown: str
    note: str = ""


# Called with what was typed up to the cursor.
Complete = Callable[[str], Iterable[Choice]]


class Keyboard:
    """Where lines come from: a terminal, or a pipe or file."""

    def __init__(self, console: Console, complete: Complete) -> None:
        """Read standard input; Tab completes a line by *complete*."""
        self._console = console
        self._editor = _editor(complete) if console.is_terminal and sys.stdin.isatty() else None

    def read(self, prompt: str) -> str:
        """Return the next line.

        Ctrl-C clears what is typed.

        Raises:
            EOFError: The input is at its end, or was left: by Ctrl-D, or Ctrl-C at an empty line.
        """
        self._console.print()
        try:
            return self._typed(prompt, self._editor) if self._editor else self._piped(prompt)
        except KeyboardInterrupt as error:
            raise EOFError from error

    def _typed(self, prompt: str, editor: PromptSession[str]) -> str:
        """Return a line of the editor's; what stays of it on the screen has its words whole."""
        line = editor.prompt(prompt)
        wrapping = to_console(self._console)
        wrapping.write(prompt + literal(line, keep="\n\t"))
        wrapping.close()
        return line

    def _piped(self, prompt: str) -> str:
        """Return a line that nobody typed; it is shown, so that a transcript can be read."""
        line = input(prompt)
        if not sys.stdin.isatty():
            self._console.out(literal(line), highlight=False)
        return line


def _editor(complete: Complete) -> PromptSession[str]:
    keys = KeyBindings()

    @keys.add("c-c")
    def clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return PromptSession(
        completer=_Completer(complete),
        complete_while_typing=False,
        key_bindings=keys,
        erase_when_done=True,
    )


class _Completer(Completer):
    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        for choice in self._complete(document.text_before_cursor):
            yield Completion(
                choice.text,
                start_position=-choice.replaced,
                display=choice.shown,
                display_meta=choice.note,
            )
