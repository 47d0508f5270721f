"""`chat`: a conversation in the terminal."""

from __future__ import annotations

import asyncio
import functools
from typing import Final

from langgraph_sessions.cli import chat_commands
from langgraph_sessions.cli.conversation import Conversation
from langgraph_sessions.cli.keyboard import Keyboard
from langgraph_sessions.cli.terminal import new_console, where
from langgraph_sessions.offline import chat_graph, chat_model
from langgraph_sessions.savers.saver import SessionSaver

LEAVING: Final = ("exit", "quit")  # As in other programs, without the slash.
ADVICE: Final = "/help lists the commands, Ctrl-C stops an answer, /quit leaves."


def run(user_id: str, database: str | None) -> None:
    """Chat as *user_id* until `/quit`, the end of input, or Ctrl-C at an empty line.

    Raises:
        SessionError: The model's or the database's package is not installed.
        psycopg.Error: The database cannot be opened.
    """
    console = new_console()
    model, description = chat_model()
    console.print(f"Database: {where(database)}", soft_wrap=not console.is_terminal)
    console.print(f"Model: {description}", soft_wrap=not console.is_terminal)
    with SessionSaver(database, on_outage="raise", retry_for=1) as saver, asyncio.Runner() as loop:
        chat = Conversation(user_id, saver.sessions, chat_graph(model, saver), console, loop)
        chat.begin()
        chat.tell(ADVICE)
        _talk(chat, Keyboard(console, functools.partial(chat_commands.complete, chat)))
    console.print("\nBye. Your sessions are kept.")


def _talk(chat: Conversation, keyboard: Keyboard) -> None:
    while chat.is_open:
        try:
            line = keyboard.read(chat.prompt)
        except EOFError:
            return
        try:
            hear(chat, line)
        except KeyboardInterrupt:
            chat.tell("Stopped.")


def hear(chat: Conversation, line: str) -> None:
    """Obey a command or answer a message; an error is told and the chat goes on.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped it.
    """
    try:
        if line.startswith("/"):
            chat_commands.obey(chat, line)
        elif line.strip().casefold() in LEAVING:
            chat.is_open = False
        elif line.strip():
            chat.answer(line)
    except Exception as error:  # A model's client raises what it likes.
        chat.tell(f"Error: {error}" if str(error) else f"Error: {type(error).__name__}")
