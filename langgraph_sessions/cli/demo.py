"""`demo`: two users, a restart, and what became of their sessions, told step by step."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from langgraph_sessions.cli.terminal import literal, new_console, one_line, session_table, where
from langgraph_sessions.database import URL_VARIABLE
from langgraph_sessions.offline import KEY_VARIABLE, OfflineChatModel, chat_graph
from langgraph_sessions.savers.saver import SessionSaver

ALICE: Final = "alice"
BOB: Final = "bob"
SESSIONS_PER_RUN: Final = 3


def run(database: str | None, program: str, second_half: str) -> int:
    """Run the demo and return its exit status.

    Args:
        database: A PostgreSQL URL; `None` for the embedded one.
        program: How these commands are called.
        second_half: The command that calls `second_half`.
    """
    console = new_console()
    console.print(f"Database: {where(database)}")
    console.print("Model: the offline model, which answers from the conversation alone")
    with SessionSaver(database, on_outage="raise", retry_for=1) as saver:
        _first_half(Demo(saver, console))
    status = _restart(database, second_half)
    if status == 0:
        _what_next(console, program, database)
    return status


def _restart(database: str | None, second_half: str) -> int:
    """Run the second half in a new process, which knows nothing of this one."""
    # In the environment, not among the arguments: everybody can read those.
    environment = os.environ if database is None else {**os.environ, URL_VARIABLE: database}
    command = [sys.executable, "-m", "langgraph_sessions", second_half]
    return subprocess.run(command, env=environment, check=False).returncode


class Demo:
    """The users' side of the demo, and its narrator."""

    def __init__(self, saver: SessionSaver, console: Console) -> None:
        """Prepare to run on *saver* and tell it on *console*."""
        self.sessions = saver.sessions
        self.graph = chat_graph(OfflineChatModel(), saver)
        self.console = console

    def step(self, title: str) -> None:
        """Begin a step."""
        self.console.print(f"\n{title}", style="bold")

    def tell(self, text: str) -> None:
        """Say what is going on."""
        self.console.print(Padding(text, (0, 0, 0, 2), expand=False))

    def code(self, text: str) -> None:
        """Show the line of Python that does it."""
        self.console.print(Padding(text, (0, 0, 0, 4), expand=False), style="cyan")

    def say(self, user_id: str, text: str, *, new_session: bool = False) -> None:
        """Run the graph on what a user says, and show both sides."""
        configurable = {"user_id": user_id, **({"new_session": True} if new_session else {})}
        answer = self.graph.invoke(
            {"messages": [HumanMessage(text)]}, RunnableConfig(configurable=configurable)
        )
        dialogue = Table.grid(padding=(0, 1))
        dialogue.add_row(f"    {literal(user_id)}>", one_line(text))
        dialogue.add_row("    assistant>", one_line(answer["messages"][-1].text))
        self.console.print(dialogue)


def _first_half(demo: Demo) -> None:
    earlier = _session_count(demo) > 0
    demo.step("1. Two users talk")
    demo.tell("Nobody makes a session or a thread id. A run says who the user is:")
    demo.code('graph.invoke({"messages": [...]}, {"configurable": {"user_id": "alice"}})')
    if earlier:
        demo.tell(
            "alice and bob have sessions here from before, which stay as they are: the first "
            'messages below ask for sessions of their own, with "new_session": True.'
        )
    demo.say(ALICE, "Hello, I am Alice. I am planning a trip to Rome.", new_session=earlier)
    demo.say(BOB, "Please help me with my CV.", new_session=earlier)
    demo.say(ALICE, "I would like to go in May.")
    demo.tell("Each user's second message went to the session of the first, and no other.")
    demo.step("2. The program ends")
    demo.tell(f"Process {os.getpid()} closes the saver, and a new process starts.")


def second_half(database: str | None) -> None:
    """Go on where the first process ended."""
    with SessionSaver(database, on_outage="raise", retry_for=1) as saver:
        demo = Demo(saver, new_console())
        _resume(demo)
        _rename(demo)
        _deactivate(demo)
        _table(demo)


def _resume(demo: Demo) -> None:
    demo.step("3. Both users come back")
    demo.tell(f"This is process {os.getpid()}. It is given the same user ids and nothing else:")
    demo.say(ALICE, "What have I told you?")
    demo.say(BOB, "I am a carpenter.")
    demo.tell("Their conversations went on: all of it was in PostgreSQL.")


def _rename(demo: Demo) -> None:
    title = demo.sessions.get_current_user_session(ALICE).title
    demo.step("4. Alice renames her session")
    demo.tell(f'Its first message had given it the title "{one_line(title)}".')
    demo.code('saver.sessions.update_session("alice", {"title": "Trip to Rome"})')
    demo.sessions.update_session(ALICE, {"title": "Trip to Rome"})


def _deactivate(demo: Demo) -> None:
    demo.step("5. Bob's session is deactivated")
    demo.tell("It stays in the database, but his next message does not go there:")
    demo.code('saver.sessions.deactivate_session("bob", thread_id=session.thread_id)')
    session = demo.sessions.get_current_user_session(BOB)
    demo.sessions.deactivate_session(BOB, thread_id=session.thread_id)
    # Otherwise an active one from before would become current.
    demo.say(BOB, "What is the capital of Peru?", new_session=demo.sessions.has_session(BOB))


def _table(demo: Demo) -> None:
    demo.step("6. Their sessions now")
    demo.code('saver.sessions.list_sessions("alice")    # and "bob"')
    sessions = [*demo.sessions.list_sessions(ALICE), *demo.sessions.list_sessions(BOB)]
    users = [session.user_id for session in sessions]
    table = session_table(sessions, "User", users, demo.console.width - 2)
    demo.console.print(Padding(table, (0, 0, 0, 2), expand=False))
    if (count := _session_count(demo)) > SESSIONS_PER_RUN:
        demo.tell(
            f"{SESSIONS_PER_RUN} of their {count} sessions are of this demo, those used last. "
            "The others are from before and were not touched."
        )


def _session_count(demo: Demo) -> int:
    return demo.sessions.count_sessions(ALICE) + demo.sessions.count_sessions(BOB)


def _what_next(console: Console, program: str, database: str | None) -> None:
    given = database is not None and os.environ.get(URL_VARIABLE) != database
    chat = f"{program} chat{' --database URL' if given else ''} --user"
    console.print("\nWhat to type next", style="bold")
    for command, why in (
        (f"{chat} {ALICE}", "go on with Alice's conversation"),
        (f"{chat} me", f"begin your own; set {KEY_VARIABLE} first to talk to Gemini"),
    ):
        # Not wrapped: it is there to be copied.
        console.print(f"  {command}", style="cyan", soft_wrap=True)
        console.print(f"    {why}", soft_wrap=True)
