"""`chat`: a conversation in the terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langgraph.graph import MessagesState
from rich.console import Console

from langgraph_sessions.cli.terminal import literal, new_console, one_line, session_table, where
from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import Session
from langgraph_sessions.offline import chat_graph, chat_model
from langgraph_sessions.savers.saver import SessionSaver

PROMPT_TITLE: Final = 30  # Characters; a title may have 255.
GOODBYE: Final = "Bye. Your sessions are kept."


def run(user_id: str, database: str | None) -> None:
    """Chat as *user_id* until `/quit`, the end of input, or Ctrl-C.

    Raises:
        SessionError: The model's or the database's package is not installed.
        psycopg.Error: The database cannot be opened.
    """
    console = new_console()
    model, description = chat_model()
    console.print(f"Database: {where(database)}", soft_wrap=True)
    console.print(f"Model: {description}", soft_wrap=True)
    with SessionSaver(database, on_outage="raise", retry_for=1) as saver:
        conversation = Chat(user_id, saver, model, console)
        conversation.begin()
        # Ctrl-D, the end of a pipe, and Ctrl-C are all ways to leave.
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            while conversation.is_open:
                conversation.hear(_read(conversation.prompt, console))
    console.print(f"\n{GOODBYE}")


def _read(prompt: str, console: Console) -> str:
    """Return the next line; one that nobody typed is shown, so that a transcript can be read."""
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 (it makes a line editor of input)
    console.print()
    line = input(prompt)
    if not sys.stdin.isatty():
        console.out(literal(line), highlight=False)
    return line


@contextlib.contextmanager
def _ctrl_c_leaves() -> Iterator[None]:
    """Let Ctrl-C end the program while a model is answering.

    LangGraph would wait for the answer first, however long that takes. Ending like this
    loses nothing: what is saved is saved, and the system gives back the rest.
    """

    def leave(*_: object) -> None:
        # Not print(), which may be what was interrupted.
        os.write(sys.stdout.fileno(), f"\n\n{GOODBYE}\n".encode())
        os._exit(0)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Chat:
    """A user's conversation, in one session at a time.

    Attributes:
        session: Where the next message goes; `None`: to a new one.
        listed: The sessions that `/switch N` counts in.
        is_open: Whether the conversation goes on.
    """

    def __init__(
        self, user_id: str, saver: SessionSaver, model: BaseChatModel, console: Console
    ) -> None:
        """Prepare a conversation of *user_id* with *model*."""
        self.user_id = user_id
        self.sessions = saver.sessions
        self.graph = chat_graph(model, saver)
        self.console = console
        self.session: Session | None = None
        self.listed: tuple[Session, ...] = ()
        self.is_open = True

    @property
    def prompt(self) -> str:
        """What to ask for the next line with: the session's title and who is talking."""
        title = one_line(self.session.title) if self.session else "new session"
        short = title if len(title) <= PROMPT_TITLE else title[: PROMPT_TITLE - 3] + "..."
        return f"[{short}] {literal(self.user_id)}> "

    def begin(self) -> None:
        """Resume the user's current session, if there is one, and say so."""
        try:
            self.session = self.sessions.get_current_user_session(self.user_id)
        except SessionNotFoundError:
            self.tell(f"Hello {self.user_id}. Your first message starts a session.")
        else:
            self.tell(f'Resuming "{self.session.title}" ({self._message_count()} messages).')
        self.help("")

    def _message_count(self) -> int:
        assert self.session is not None
        state = self.graph.get_state(self.session.config)
        return len(state.values.get("messages", ()))

    def hear(self, line: str) -> None:
        """Obey a command or answer a message; an error is told and the chat goes on."""
        try:
            if line.startswith("/"):
                self._obey(*line.split(maxsplit=1))
            elif line.strip():
                self._answer(line)
        except Exception as error:  # A model's client raises what it likes.
            self.tell(f"Error: {error}" if str(error) else f"Error: {type(error).__name__}")

    def tell(self, text: str) -> None:
        """Print one line about the chat, as opposed to what is said in it."""
        self.console.print(one_line(text), style="dim", soft_wrap=True)

    def _obey(self, name: str, argument: str = "") -> None:
        command = COMMANDS.get(name)
        if command is None:
            self.tell(f"There is no command {name}; there are {USAGES}")
        elif command.accepts(argument):
            command.obey(self, argument.strip())
        else:
            self.tell(f"Use it like this: {command.usage(name)}")

    def _answer(self, text: str) -> None:
        if self.session is None:
            self.session = self.sessions.create_user_session(self.user_id)
        stream: Iterator[Any] = self.graph.stream(
            MessagesState(messages=[HumanMessage(text)]),
            self.session.config,
            stream_mode="messages",
        )
        self.console.print("assistant> ", end="")
        try:
            with _ctrl_c_leaves():
                for chunk, _ in stream:
                    # Not print(), which wraps: a chunk ends anywhere.
                    self.console.out(literal(chunk.text, keep="\n\t"), end="", highlight=False)
        finally:
            self.console.print()
        # It may have got its title from this message.
        self.session = self.sessions.get_session(self.user_id, self.session.thread_id)

    # --- The commands ------------------------------------------------------------------------

    def new(self, title: str) -> None:
        """Start a session; without a title, its first message gives it one."""
        self.session = self.sessions.create_user_session(self.user_id, title or None)
        self.tell(f'Started "{self.session.title}".')

    def show(self, _: str) -> None:
        """List the sessions used last."""
        page = self.sessions.list_sessions(self.user_id)
        self.listed = page.sessions
        if not self.listed:
            self.tell("You have no sessions yet: your first message starts one.")
            return
        here = self.session and self.session.thread_id
        numbers = [
            f"{number} *" if session.thread_id == here else str(number)
            for number, session in enumerate(self.listed, 1)
        ]
        self.console.print(session_table(self.listed, "#", numbers))
        if page.next_cursor:
            count = self.sessions.count_sessions(self.user_id)
            self.tell(f"These are the {len(page)} used last, of {count}.")

    def switch(self, number: str) -> None:
        """Go to a session by its number in the list shown last."""
        if not self.listed:
            self.listed = self.sessions.list_sessions(self.user_id).sessions
        chosen = {str(n): session for n, session in enumerate(self.listed, 1)}.get(number)
        if not self.listed:
            self.tell("You have no sessions yet: your first message starts one.")
        elif chosen is None:
            self.tell(f"Give a number from 1 to {len(self.listed)}: /sessions shows them.")
        else:
            self.session = self.sessions.switch_session(self.user_id, chosen.thread_id)
            self.tell(f'Now in "{self.session.title}" ({self._message_count()} messages).')

    def rename(self, title: str) -> None:
        """Rename this session."""
        if self.session is None:
            self.tell("There is no session to rename yet: your first message starts one.")
            return
        self.session = self.sessions.update_session(
            self.user_id, {"title": title}, thread_id=self.session.thread_id
        )
        self.tell(f'Renamed to "{self.session.title}".')

    def end(self, _: str) -> None:
        """Deactivate this session; what is said next is not said in an older one."""
        if self.session is None:
            self.tell("There is no session to end yet: your first message starts one.")
            return
        self.sessions.deactivate_session(self.user_id, thread_id=self.session.thread_id)
        self.tell(f'Ended "{self.session.title}". Your next message starts a new session.')
        self.session = None

    def help(self, _: str) -> None:
        """List the commands."""
        self.tell(f"Commands: {USAGES}")

    def quit(self, _: str) -> None:
        """Leave; the session stays as it is."""
        self.is_open = False


class Command(NamedTuple):
    """What a word that begins with a slash does.

    Attributes:
        obey: Does it, given what stands after the word.
        argument: What may stand there: nothing, `[optional]` or `REQUIRED`.
    """

    obey: Callable[[Chat, str], None]
    argument: str = ""

    def accepts(self, argument: str) -> bool:
        """Say whether *argument* may stand after the word."""
        return self.argument.startswith("[") or bool(argument) == bool(self.argument)

    def usage(self, name: str) -> str:
        """Return how it is typed."""
        return f"{name} {self.argument}".rstrip()


COMMANDS: Final = {
    "/new": Command(Chat.new, "[title]"),
    "/sessions": Command(Chat.show),
    "/switch": Command(Chat.switch, "N"),
    "/rename": Command(Chat.rename, "TITLE"),
    "/end": Command(Chat.end),
    "/help": Command(Chat.help),
    "/quit": Command(Chat.quit),
}
USAGES: Final = ", ".join(command.usage(name) for name, command in COMMANDS.items())
