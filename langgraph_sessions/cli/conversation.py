"""A user's conversation in the terminal: what is said, and shown, in one session at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from langchain_core.messages import HumanMessage
from langgraph.graph import MessagesState
from rich.console import Console

from langgraph_sessions.cli.exchanges import Exchange, exchanges, spoken
from langgraph_sessions.cli.terminal import literal, one_line, session_table
from langgraph_sessions.cli.wrapping import to_console
from langgraph_sessions.errors import SessionNotFoundError
from langgraph_sessions.models import Session, SessionPage
from langgraph_sessions.offline import ChatGraph
from langgraph_sessions.sessions.manager import AgentSessionManager

PROMPT_TITLE: Final = 30  # Characters; a title may have 255.
LAST: Final = 2  # Exchanges that are shown as one comes back to a session.
GLANCE: Final = 500  # Characters of each of their messages.


class Conversation:
    """A user's conversation with a model.

    Attributes:
        session: Where the next message goes; `None`: to a new one.
        listed: The sessions that were listed last, by which they are numbered.
        is_open: Whether the conversation goes on.
    """

    def __init__(
        self,
        user_id: str,
        sessions: AgentSessionManager,
        graph: ChatGraph,
        console: Console,
        loop: asyncio.Runner,
    ) -> None:
        """Prepare a conversation of *user_id* with *graph*, which answers in *loop*."""
        self.user_id = user_id
        self.sessions = sessions
        self.console = console
        self.session: Session | None = None
        self.listed: tuple[Session, ...] = ()
        self.is_open = True
        self._graph = graph
        self._loop = loop

    @property
    def prompt(self) -> str:
        """What to ask for the next line with: the session's title and who is talking."""
        title = one_line(self.session.title) if self.session else "new session"
        short = title if len(title) <= PROMPT_TITLE else title[: PROMPT_TITLE - 3] + "..."
        return f"[{short}] {literal(self.user_id)}> "

    def begin(self) -> None:
        """Resume the user's current session, if there is one, and show how it stands."""
        try:
            session = self.sessions.get_current_user_session(self.user_id)
        except SessionNotFoundError:
            self.tell(f"Hello {self.user_id}. Your first message starts a session.")
        else:
            self.enter(session, "Resuming")

    def enter(self, session: Session, how: str) -> None:
        """Go on in *session*; say so, and show what was said in it last."""
        self.session = session
        told = self.exchanges()
        self.tell(f'{how} "{session.title}" ({sum(map(len, told))} messages).')
        if len(told) > LAST:
            self.tell(f"The last {LAST} of {len(told)} exchanges; /history shows all.")
        for number, exchange in list(enumerate(told, 1))[-LAST:]:
            self.show(number, exchange, GLANCE)

    def answer(self, text: str) -> None:
        """Have the model answer *text*, and print what it says as it comes.

        Raises:
            KeyboardInterrupt: Ctrl-C stopped the answer.
        """
        if self.session is None:
            self.session = self.sessions.create_user_session(self.user_id)
        try:
            # On Ctrl-C it cancels the run, whatever the model is waiting for.
            self._loop.run(self._stream(text, self.session))
        finally:
            # It may have got its title from this message.
            self.session = self.sessions.get_session(self.user_id, self.session.thread_id)

    async def _stream(self, text: str, session: Session) -> None:
        stream: AsyncIterator[Any] = self._graph.astream(
            MessagesState(messages=[HumanMessage(text)]), session.config, stream_mode="messages"
        )
        wrapping = to_console(self.console)
        wrapping.write("assistant> ")
        try:
            async for chunk, _ in stream:
                wrapping.write(literal(chunk.text, keep="\n\t"))
        finally:
            wrapping.close()

    def tell(self, text: str) -> None:
        """Print a line about the chat, as opposed to what is said in it."""
        wraps = self.console.is_terminal  # Whoever reads a pipe looks for a line.
        self.console.print(one_line(text), style="dim", soft_wrap=not wraps)

    def exchanges(self) -> list[Exchange]:
        """Return what was said in this session."""
        if self.session is None:
            return []
        return exchanges(self.sessions.get_messages(self.user_id, self.session.thread_id))

    def show(self, number: int, exchange: Exchange, limit: int | None = None) -> None:
        """Print an exchange; of each message, *limit* characters."""
        names = {"human": self.user_id, "ai": "assistant"}
        for place, message in enumerate(exchange):
            # Indented, so that no message can pass for another's.
            wrapping = to_console(self.console, indent="    ")
            wrapping.write(f"{number:>2}. " if place == 0 else "    ")
            speaker = literal(names.get(message.type, message.type))
            text = literal(_beginning(spoken(message), limit), keep="\n\t")
            wrapping.write(f"{speaker}> {text}")
            wrapping.close()

    def list(self, page: SessionPage) -> None:
        """Print sessions, and number them for `/switch`."""
        self.listed = page.sessions
        here = self.session and self.session.thread_id
        numbers = [
            f"{number} *" if session.thread_id == here else str(number)
            for number, session in enumerate(self.listed, 1)
        ]
        self.console.print(session_table(self.listed, "#", numbers, self.console.width))

    def numbered(self) -> dict[str, Session]:
        """Return the sessions listed last, by their numbers; without any, those used last."""
        if not self.listed:
            self.listed = self.sessions.list_sessions(self.user_id).sessions
        return {str(number): session for number, session in enumerate(self.listed, 1)}


def _beginning(text: str, limit: int | None) -> str:
    """Return *text*, or as many of its first words as *limit* characters have, and a mark."""
    if limit is None or len(text) <= limit:
        return text
    head = text[:limit]
    return f"{head.rpartition(' ')[0] or head} [...]"
