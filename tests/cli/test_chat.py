"""`chat` in a terminal: what is shown, what keys do, and what its commands do with a session."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from langgraph_sessions import SessionSaver
from langgraph_sessions.cli.chat import hear
from langgraph_sessions.cli.conversation import Conversation
from langgraph_sessions.embedded.server import DEFAULT_PATH
from langgraph_sessions.offline import OfflineChatModel, chat_graph
from tests.screen import CTRL_C, CTRL_D, TAB, Screen

pytestmark = pytest.mark.server

BYE = "Bye. Your sessions are kept."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory, whose embedded PostgreSQL this module shares."""
    return tmp_path_factory.mktemp("chat")


@pytest.fixture(scope="module")
def saver(folder: Path) -> Iterator[SessionSaver]:
    """A saver on that PostgreSQL, which it keeps running."""
    with SessionSaver(path=folder / DEFAULT_PATH) as saver:
        saver.setup()
        yield saver


def talk(saver: SessionSaver, user: str, title: str, *said: str) -> None:
    """Have a session with *title*, in which something was said and answered."""
    session = saver.sessions.create_user_session(user, title)
    graph = chat_graph(OfflineChatModel(), saver)
    for text in said:
        graph.invoke({"messages": [("human", text)]}, session.config)


def chat(saver: SessionSaver, user: str, *lines: str) -> str:
    """Have a user type *lines*, as if into a pipe, and return what is shown."""
    shown = io.StringIO()
    console = Console(file=shown, width=200, markup=False, emoji=False, highlight=False)
    with asyncio.Runner() as loop:
        graph = chat_graph(OfflineChatModel(), saver)
        conversation = Conversation(user, saver.sessions, graph, console, loop)
        conversation.begin()
        for line in lines:
            assert conversation.is_open
            hear(conversation, line)
    return shown.getvalue()


def test_the_last_exchanges_are_shown_as_one_comes_back(saver: SessionSaver) -> None:
    """A chat that is resumed shows its last two exchanges, and how to see all."""
    talk(saver, "resumer", "Trip", "One", "Two", "Three")
    shown = chat(saver, "resumer")
    assert 'Resuming "Trip" (6 messages).' in shown
    assert "The last 2 of 3 exchanges; /history shows all." in shown
    assert re.findall(r"^ ?(\d\. .*|   \w+>)", shown, re.M) == [
        "2. resumer> Two",
        "   assistant>",
        "3. resumer> Three",
        "   assistant>",
    ]


def test_switching_shows_the_last_exchanges(saver: SessionSaver) -> None:
    """Who goes to another session sees what was said in it; long messages only in part."""
    talk(saver, "switcher", "Old", "word " * 200)
    saver.sessions.create_user_session("switcher", "New")
    shown = chat(saver, "switcher", "/switch old")
    assert 'Now in "Old" (2 messages).' in shown
    assert " 1. switcher> word word" in shown
    (line,) = re.findall(r"^ 1\. .*", shown, re.M)
    assert line.endswith("word [...]")
    assert len(line) < 530


def test_history_shows_all(saver: SessionSaver) -> None:
    """/history shows every exchange with its number, and whole messages; lines are indented."""
    talk(saver, "reader", "Long", "a\nb", *(f"{'word ' * 200}end{n}" for n in range(3)))
    shown = chat(saver, "reader", "/history").partition("\n 1. ")[2]
    assert "reader> a\n    b\n    assistant> You have told me 1 thing" in shown
    assert [f"end{n}\n" in shown for n in range(3)] == [True] * 3
    assert "Nothing was said here yet." in chat(saver, "nobody", "/history")


def test_a_fork_goes_on_from_an_exchange(saver: SessionSaver) -> None:
    """/fork N goes on in a copy of the first N exchanges, answers included; the rest stays."""
    talk(saver, "forker", "Tree", "One", "Two", "Three")
    shown = chat(saver, "forker", "/fork 2", "Four")
    assert 'Forked: now in "Tree" (4 messages).' in shown
    assert '3 things so far: 1. "One"; 2. "Two"; 3. "Four".' in shown
    fork, trunk = saver.sessions.list_sessions("forker")
    assert len(saver.sessions.get_messages("forker", fork.thread_id)) == 6
    assert len(saver.sessions.get_messages("forker", trunk.thread_id)) == 6


def test_a_fork_of_a_fork_and_of_all(saver: SessionSaver) -> None:
    """/fork alone copies all; exchanges of a copy, and of a branch, count as they are shown."""
    talk(saver, "twice", "Tree", "One", "Two")
    shown = chat(saver, "twice", "/fork", "Three", "/fork 1", "Other")
    assert 'Forked: now in "Tree" (4 messages).' in shown
    assert 'Forked: now in "Tree" (2 messages).' in shown
    assert '2 things so far: 1. "One"; 2. "Other".' in shown


def test_a_fork_at_a_checkpoint(saver: SessionSaver) -> None:
    """/fork takes a checkpoint's id, too."""
    talk(saver, "pointer", "Tree", "One", "Two")
    (session,) = saver.sessions.list_sessions("pointer")
    first = saver.sessions.list_checkpoints("pointer", session.thread_id)[-2]
    shown = chat(saver, "pointer", f"/fork {first.checkpoint_id}")
    assert 'Forked: now in "Tree" (1 messages).' in shown


WRONG = [
    ("/fork 0", "Give an exchange from 1 to 1: /history shows them."),
    ("/fork 2", "Give an exchange from 1 to 1: /history shows them."),
    ("/fork nonsense", "Error: checkpoint_id 'nonsense' is not in the session"),
    ("/search zzz", 'No session of yours has "zzz" in its title.'),
    ("/search", "Use it like this: /search TEXT"),
    ("/history 1", "Use it like this: /history"),
]


@pytest.mark.parametrize(("line", "told"), WRONG)
def test_what_is_wrong_makes_nothing(line: str, told: str, saver: SessionSaver) -> None:
    """What cannot be forked or found is said in a line, and the chat goes on where it is."""
    if not saver.sessions.has_session("wrong"):
        talk(saver, "wrong", "Here", "One")
    shown = chat(saver, "wrong", line, "/rename Here")
    assert f"\n{told}\n" in shown
    assert 'Renamed to "Here".' in shown
    assert saver.sessions.count_sessions("wrong") == 1


def test_a_search_numbers_what_it_finds(saver: SessionSaver) -> None:
    """/search lists one's own sessions by words of their titles, and /switch counts in them."""
    for title in ("Rome in May", "Berlin", "rome, later"):
        saver.sessions.create_user_session("seeker", title)
    saver.sessions.create_user_session("other", "Rome of another")
    shown = chat(saver, "seeker", "/search ROME", "/switch 2")
    assert re.findall(r"│ (\d)[ *]+│ (.*?) +│", shown) == [
        ("1", "rome, later"),
        ("2", "Rome in May"),
    ]
    assert 'Now in "Rome in May"' in shown


def test_a_title_that_several_have(saver: SessionSaver) -> None:
    """A word of several titles lists them and goes nowhere; a whole title is its session's."""
    for title in ("Rome in May", "Rome"):
        saver.sessions.create_user_session("chooser", title)
    shown = chat(saver, "chooser", "/switch ome", "/switch rome in may", "/switch ROME")
    assert 'Several sessions have "ome" in their titles: give the number of one.' in shown
    assert shown.index('Now in "Rome in May"') < shown.index('Now in "Rome" (')


@pytest.mark.parametrize("word", ["exit", "quit", " Exit ", "/quit"])
def test_words_that_leave(word: str, saver: SessionSaver) -> None:
    """`exit` and `quit` leave as `/quit` does, and are not said to the model."""
    with pytest.raises(AssertionError):
        chat(saver, "goer", word, "Hello")
    assert saver.sessions.count_sessions("goer") == 0


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_keys_that_leave(key: str, folder: Path, saver: SessionSaver) -> None:
    """In a terminal a line is shown once; Ctrl-D, and Ctrl-C at an empty line, leave."""
    user = f"typist{ord(key)}"
    with Screen("chat", "--user", user, cwd=folder) as screen:
        screen.wait_for(f"[new session] {user}>")
        screen.press("Hello\n")
        shown = screen.wait_for(f"\n\n[Hello] {user}>")
        screen.press(key)
        status, left = screen.end()
    assert f"\n\n[new session] {user}> Hello\nassistant> You have told me 1 thing" in shown
    assert shown.count("> Hello\n") == 1
    assert (status, left.endswith(f"\n\n{BYE}")) == (0, True)
    assert "Traceback" not in left


def test_ctrl_c_clears_the_line(folder: Path, saver: SessionSaver) -> None:
    """Ctrl-C takes away what is typed, and nothing of it is said."""
    with Screen("chat", "--user", "eraser", cwd=folder) as screen:
        screen.wait_for("[new session] eraser>")
        screen.press("not this")
        screen.wait_for("eraser> not this")
        screen.press(CTRL_C)
        screen.wait_for("[new session] eraser>")
        screen.press("but this\n")
        screen.wait_for("\n\n[but this] eraser>")
        screen.press(CTRL_C)
        assert screen.end()[0] == 0
    (session,) = saver.sessions.list_sessions("eraser")
    said = saver.sessions.get_messages("eraser", session.thread_id)
    assert [message.text for message in said if message.type == "human"] == ["but this"]


def test_tab_completes_commands(folder: Path, saver: SessionSaver) -> None:
    """Tab completes a command; where several fit, it shows them and what they do."""
    with Screen("chat", "--user", "tabber", cwd=folder) as screen:
        screen.wait_for("tabber>")
        screen.press("/s" + TAB)
        screen.wait_for("/switch N|TITLE  go to a session, by its number or its title")
        screen.press("e" + TAB)
        screen.wait_for("/search TEXT  list the sessions with this in their title")
        screen.press(CTRL_C)
        screen.wait_for("tabber>")
        screen.press("/hi" + TAB)
        screen.wait_for("tabber> /history")
        screen.press("\n" + CTRL_D)
        assert "Nothing was said here yet." in screen.end()[1]


def test_tab_completes_titles(folder: Path, saver: SessionSaver) -> None:
    """After /switch, Tab completes words of a title, and a number where titles are alike."""
    for title in ("A trip to Rome", "Twins", "Twins", "Now"):
        saver.sessions.create_user_session("tabber", title)
    with Screen("chat", "--user", "tabber", cwd=folder) as screen:
        screen.wait_for("[Now] tabber>")
        screen.press("/switch rom" + TAB)
        screen.see("[Now] tabber> /switch A trip to Rome\n")
        screen.press("\n")
        screen.wait_for("[A trip to Rome] tabber>")
        screen.press("/switch twi" + TAB)
        screen.wait_for("3 Twins")
        screen.press(TAB)
        screen.see("tabber> /switch 2\n")
        screen.press("\n")
        screen.wait_for("\n\n[Twins] tabber>")


@pytest.mark.parametrize("columns", [40, 60])
def test_words_stay_whole(columns: int, folder: Path, saver: SessionSaver) -> None:
    """Lines end at blanks: of answers, of what is typed, of what was said, of notes."""
    text = "Museums and restaurants, gardens, catacombs, markets; 東京の美術館を見たい。"
    user = f"wide{columns}"
    with Screen("chat", "--user", user, cwd=folder, columns=columns, lines=60) as screen:
        screen.wait_for(f"[new session] {user}>")
        screen.press(f"{text}\n")
        screen.wait_for(f"...] {user}>")
        screen.press("/history\n")
        screen.press("exit\n")
        _, shown = screen.end()
    for word in ("Museums", "restaurants,", "catacombs,", "conversation", "leaves."):
        assert shown.count(word) >= 1
    assert set(re.findall(r"\S*tacom\S*", shown)) == {"catacombs,"}
    assert max(len(line) for line in shown.split("\n")) <= columns
