"""What words that begin with a slash do in `chat`, and how Tab completes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from rich.table import Table

from langgraph_sessions.cli.conversation import Conversation
from langgraph_sessions.cli.exchanges import checkpoint_after
from langgraph_sessions.cli.keyboard import Choice
from langgraph_sessions.cli.terminal import one_line
from langgraph_sessions.models import Session

NO_SESSIONS: Final = "You have no sessions yet: your first message starts one."


class Command(NamedTuple):
    """What a word that begins with a slash does.

    Attributes:
        obey: What is done, with what stands after the word.
        does: What that is, in a line.
        argument: What stands after the word: `""` for nothing, in brackets if it may be left out.
    """

    obey: Callable[[Conversation, str], None]
    does: str
    argument: str = ""

    def accepts(self, argument: str) -> bool:
        """Say whether *argument* may stand after the word."""
        return self.argument.startswith("[") or bool(argument) == bool(self.argument)

    def usage(self, name: str) -> str:
        """Return how it is typed."""
        return f"{name} {self.argument}".rstrip()


def obey(chat: Conversation, line: str) -> None:
    """Do what *line* says, which begins with a slash."""
    name, argument = (*line.split(maxsplit=1), "")[:2]
    command = COMMANDS.get(name)
    if command is None:
        chat.tell(f"There is no command {name}; there are {USAGES}")
    elif command.accepts(argument):
        command.obey(chat, argument.strip())
    else:
        chat.tell(f"Use it like this: {command.usage(name)}")


# --- The commands --------------------------------------------------------------------------------


def _new(chat: Conversation, title: str) -> None:
    chat.session = chat.sessions.create_user_session(chat.user_id, title or None)
    chat.tell(f'Started "{chat.session.title}".')


def _sessions(chat: Conversation, _: str) -> None:
    page = chat.sessions.list_sessions(chat.user_id)
    if not page:
        chat.tell(NO_SESSIONS)
        return
    chat.list(page)
    if page.next_cursor:
        count = chat.sessions.count_sessions(chat.user_id)
        chat.tell(f"These are the {len(page)} used last, of {count}.")


def _search(chat: Conversation, text: str) -> None:
    page = chat.sessions.list_sessions(chat.user_id, title=text)
    if not page:
        chat.tell(f'No session of yours has "{text}" in its title.')
        return
    chat.list(page)
    if page.next_cursor:
        chat.tell(f"These are the {len(page)} used last; there are more.")


def _switch(chat: Conversation, which: str) -> None:
    numbered = chat.numbered()
    if not numbered:
        chat.tell(NO_SESSIONS)
        return
    chosen = numbered.get(which) or _titled(chat, which)
    if chosen is not None:
        chat.enter(chat.sessions.switch_session(chat.user_id, chosen.thread_id), "Now in")


def _titled(chat: Conversation, title: str) -> Session | None:
    """Return the one session with that title, or that has it in its title; else say what to do."""
    page = chat.sessions.list_sessions(chat.user_id, title=title)
    same = [session for session in page if _name(session) == title.casefold()]
    found = same or page.sessions
    if len(found) == 1:
        return found[0]
    if found:
        chat.list(page)
        chat.tell(f'Several sessions have "{title}" in their titles: give the number of one.')
    else:
        numbers = f"a number from 1 to {len(chat.listed)}"
        chat.tell(f"Give {numbers}, or words of a title: /sessions shows them.")
    return None


def _name(session: Session) -> str:
    return one_line(session.title).casefold()


def _history(chat: Conversation, _: str) -> None:
    told = chat.exchanges()
    if not told:
        chat.tell("Nothing was said here yet.")
    for number, exchange in enumerate(told, 1):
        chat.show(number, exchange)


def _fork(chat: Conversation, where: str) -> None:
    if chat.session is None:
        chat.tell("There is no session to fork yet: your first message starts one.")
        return
    checkpoint_id = _checkpoint(chat, chat.session, int(where)) if where.isdecimal() else where
    if where and checkpoint_id is None:
        return
    fork = chat.sessions.fork_session(
        chat.user_id, chat.session.thread_id, checkpoint_id=checkpoint_id or None
    )
    chat.enter(fork, "Forked: now in")


def _checkpoint(chat: Conversation, session: Session, number: int) -> str | None:
    """Return the checkpoint after the first *number* exchanges; say so if there is none."""
    count = len(chat.exchanges())
    if not 1 <= number <= count:
        chat.tell(f"Give an exchange from 1 to {count}: /history shows them.")
        return None
    checkpoint_id = checkpoint_after(chat.sessions, session, number)
    if checkpoint_id is None:
        chat.tell(f"How it stood after exchange {number} is not kept any more.")
    return checkpoint_id


def _rename(chat: Conversation, title: str) -> None:
    if chat.session is None:
        chat.tell("There is no session to rename yet: your first message starts one.")
        return
    chat.session = chat.sessions.update_session(
        chat.user_id, {"title": title}, thread_id=chat.session.thread_id
    )
    chat.tell(f'Renamed to "{chat.session.title}".')


def _end(chat: Conversation, _: str) -> None:
    if chat.session is None:
        chat.tell("There is no session to end yet: your first message starts one.")
        return
    chat.sessions.deactivate_session(chat.user_id, thread_id=chat.session.thread_id)
    chat.tell(f'Ended "{chat.session.title}". Your next message starts a new session.')
    chat.session = None


def _help(chat: Conversation, _: str) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for name, command in COMMANDS.items():
        table.add_row(command.usage(name), command.does, style="dim")
    chat.console.print(table)


def _quit(chat: Conversation, _: str) -> None:
    chat.is_open = False


COMMANDS: Final = {
    "/new": Command(_new, "start a session", "[title]"),
    "/sessions": Command(_sessions, "list the sessions used last"),
    "/search": Command(_search, "list the sessions with this in their title", "TEXT"),
    "/switch": Command(_switch, "go to a session, by its number or its title", "N|TITLE"),
    "/history": Command(_history, "show all that was said in this session"),
    "/fork": Command(
        _fork, "go on in a copy of it, up to an exchange of /history", "[N|CHECKPOINT]"
    ),
    "/rename": Command(_rename, "rename this session", "TITLE"),
    "/end": Command(_end, "deactivate it; your next message starts a new one"),
    "/help": Command(_help, "list the commands"),
    "/quit": Command(_quit, "leave; all is kept"),
}
USAGES: Final = ", ".join(command.usage(name) for name, command in COMMANDS.items())


# --- Completion ----------------------------------------------------------------------------------


def complete(chat: Conversation, line: str) -> Iterator[Choice]:
    """Yield what may stand at the end of *line*: a command, or a session to switch to."""
    name, blank, argument = line.partition(" ")
    if name == "/switch" and blank:
        yield from _switches(chat, argument.lstrip())
    elif line.startswith("/") and not blank:
        for known, command in COMMANDS.items():
            if known.startswith(line):
                text = f"{known} " if command.argument else known
                yield Choice(len(line), text, command.usage(known), command.does)


def _switches(chat: Conversation, begun: str) -> Iterator[Choice]:
    """Yield the sessions whose number begins with *begun*, or whose title has it."""
    numbered = chat.numbered()
    same = Counter(map(_name, numbered.values()))
    for number, session in numbered.items():
        if number.startswith(begun) or begun.casefold() in _name(session):
            title = one_line(session.title)
            # A title that several have, or that is a number, says nothing.
            says = same[_name(session)] == 1 and title not in numbered
            yield Choice(len(begun), title if says else number, f"{number} {title}")
