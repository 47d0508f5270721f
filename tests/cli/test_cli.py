"""The commands, run as a user runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from langgraph_sessions import SessionSaver, __version__
from langgraph_sessions.embedded.server import DEFAULT_PATH
from tests.terminal import COMMAND, Program, environment, run

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory, whose embedded PostgreSQL this module shares."""
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def saver(folder: Path) -> Iterator[SessionSaver]:
    """A saver on that PostgreSQL, to look at what the commands did; it keeps it running."""
    with SessionSaver(path=folder / DEFAULT_PATH) as saver:
        saver.setup()
        yield saver


def chat(folder: Path, user: str, *lines: str, **variables: str) -> list[str]:
    """Chat to the end of *lines*, and return what was shown, line by line."""
    done = run("chat", "--user", user, cwd=folder, typed="\n".join([*lines, ""]), **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


# --- What is wrong is told in one line ------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["no\x1b[31m\nsense"], r"No such command 'no\x1b[31m\nsense'"),
        (["--nonsense"], "No such option"),
        (["chat"], "Missing option '--user'"),
        (["chat", "--user"], "'--user' requires an argument"),
        (["chat", "--user", " "], "--user must not be empty or blank"),
        (["chat", "--user", "a" * 256], "--user must have at most 255 characters"),
        (["chat", "--user", os.fsdecode(b"a\xff")], "--user must be valid Unicode"),
        (["chat", "--user", "a", "b"], "unexpected extra argument (b)"),
        (["chat", "--user", "a", "--database", "nonsense"], "give a PostgreSQL URL"),
        (["demo", "--database", ""], "give a PostgreSQL URL"),
        (["demo", "--database", "postgresql://a:secret@127.0.0.1:1/b"], "Connection refused"),
    ],
)
def test_wrong_input(arguments: list[str], told: str, tmp_path: Path) -> None:
    """Wrong input gets one line on standard error and status 2, and starts no database."""
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["mysql://a:secret@localhost/b", "postgresql://a:b@secret@c/d"])
def test_a_wrong_database_url_variable(url: str, tmp_path: Path) -> None:
    """A DATABASE_URL that is no PostgreSQL URL, or says a part of a password, is not quoted."""
    done = run("demo", cwd=tmp_path, DATABASE_URL=url)
    assert done.returncode == 2
    assert "DATABASE_URL" in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["click", "rich", "prompt_toolkit"])
def test_without_the_extra(package: str, tmp_path: Path) -> None:
    """Without what the commands need, one line says what to install, with status 2."""
    program = (
        f"import sys; sys.modules[{package!r}] = None; sys.argv = ['', 'chat', '--user', 'alice'];"
        "from langgraph_sessions.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install "langgraph-sessions[cli]"' in done.stderr
    assert done.stderr.count("\n") == 1


# --- Help ------------------------------------------------------------------------------------


def test_ctrl_c_while_the_program_starts(tmp_path: Path) -> None:
    """It ends as a shell has it, without a traceback."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")  # Where it would have come.
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run("sessions", "list", cwd=tmp_path, PYTHONPATH=paths)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["demo", "--help"], ["chat", "--help"]])
def test_help(arguments: list[str], tmp_path: Path) -> None:
    """No arguments and --help print help, with status 0; the demo's inner command is not in it."""
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: python -m langgraph_sessions")
    assert "second-half" not in done.stdout


def test_version(tmp_path: Path) -> None:
    """--version prints the package's version."""
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout


def test_the_installed_script(tmp_path: Path) -> None:
    """`langgraph-sessions` is the same program."""
    script = Path(sys.executable).with_name("langgraph-sessions")
    done = subprocess.run([script, "nonsense"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr == b"Error: No such command 'nonsense'.\n"


# --- The demo --------------------------------------------------------------------------------


def test_demo(tmp_path: Path) -> None:
    """It ends well, twice in one folder, and what the first one left is not touched."""
    first = run("demo", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert 'You have told me 3 things so far: 1. "Hello, I am Alice.' in first.stdout
    assert len(set(re.findall(r"rocess (\d+)", first.stdout))) == 2
    assert "python -m langgraph_sessions chat --user alice\n" in first.stdout
    with SessionSaver(path=tmp_path / DEFAULT_PATH) as saver:
        before = {
            dict(session)["id"]: session["title"] for session in saver.sessions.list_sessions()
        }
    second = run("demo", cwd=tmp_path)
    assert (second.returncode, second.stderr) == (0, "")
    assert "3 of their 6 sessions are of this demo" in second.stdout
    with SessionSaver(path=tmp_path / DEFAULT_PATH) as saver:
        after = saver.sessions.list_sessions().sessions
    assert before.items() <= {session.id: session.title for session in after}.items()
    assert sorted(
        (session.user_id, session.title, session.is_active) for session in after
    ) == sorted(
        2
        * [
            ("alice", "Trip to Rome", True),
            ("bob", "Please help me with my CV.", False),
            ("bob", "What is the capital of Peru?", True),
        ]
    )


def test_demo_on_another_database(tmp_path: Path, empty_url: str) -> None:
    """With --database both of its processes use that one, and it says what to type for it."""
    done = run("demo", "--database", empty_url, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "chat --database URL --user alice\n" in done.stdout
    assert not list(tmp_path.iterdir())
    with SessionSaver(empty_url) as saver:
        assert saver.sessions.count_sessions() == 3


def test_demo_whose_reader_leaves(folder: Path, saver: SessionSaver) -> None:
    """In a pipe whose reader leaves, the demo ends without a traceback."""
    with Program("demo", cwd=folder) as demo:
        demo.wait_for("Database")
        assert demo.process.stdout is not None
        demo.process.stdout.close()
        assert demo.process.stderr is not None
        assert demo.process.stderr.read() == b""


# --- The chat --------------------------------------------------------------------------------


def test_chat_begins_a_session(folder: Path, saver: SessionSaver) -> None:
    """The first message starts a session and titles it; the model is said to be offline."""
    shown = chat(folder, "beginner", "I like museums")
    assert shown[1].startswith("Model: the offline model, because GOOGLE_API_KEY is not set")
    assert "[new session] beginner> I like museums" in shown
    assert "assistant> You have told me 1 thing so far" in shown[-4]
    assert "[I like museums] beginner> " in shown
    assert shown[-1] == "Bye. Your sessions are kept."
    (session,) = saver.sessions.list_sessions("beginner")
    assert (session.title, session.is_active) == ("I like museums", True)


def test_chat_resumes_the_current_session(folder: Path, saver: SessionSaver) -> None:
    """A second chat goes on with the first one's session, and says so."""
    chat(folder, "returner", "One")
    shown = chat(folder, "returner", "Two", "/quit", "Three")
    assert 'Resuming "One" (2 messages).' in shown
    assert 'assistant> You have told me 2 things so far: 1. "One"; 2. "Two".' in shown
    assert "Three" not in "".join(shown)
    assert saver.sessions.count_sessions("returner") == 1


def test_chat_commands(folder: Path, saver: SessionSaver) -> None:
    """/new, /sessions, /switch, /rename and /end do what they say."""
    shown = chat(
        folder,
        "commander",
        "First things",
        "/new Second chat",
        "/sessions",
        "/switch 2",
        "Back again",
        "/rename  A better name ",
        "/end",
        "Fresh",
    )
    assert 'Started "Second chat".' in shown
    rows = [line.split("│")[1:3] for line in shown if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["1 *", "Second chat"],
        ["2", "First things"],
    ]
    assert 'Now in "First things" (2 messages).' in shown
    assert any('2 things so far: 1. "First things"; 2. "Back again"' in line for line in shown)
    assert "[A better name] commander> /end" in shown
    assert any('1 thing so far: 1. "Fresh"' in line for line in shown)
    sessions = {
        session.title: session.is_active for session in saver.sessions.list_sessions("commander")
    }
    assert sessions == {"Fresh": True, "Second chat": True, "A better name": False}


def test_switch_reactivates(folder: Path, saver: SessionSaver) -> None:
    """An ended session can be gone back to, without listing the sessions first."""
    shown = chat(folder, "reviver", "One", "/end", "/switch 1", "Two")
    assert 'assistant> You have told me 2 things so far: 1. "One"; 2. "Two".' in shown
    assert [session.is_active for session in saver.sessions.list_sessions("reviver")] == [True]


def test_new_without_a_title(folder: Path, saver: SessionSaver) -> None:
    """/new without a title makes a session that its first message titles."""
    chat(folder, "newcomer", "/new", "Hello there")
    assert [s.title for s in saver.sessions.list_sessions("newcomer")] == ["Hello there"]


WRONG_IN_A_CHAT = [
    ("/nonsense", "There is no command /nonsense; there are /new [title], /sessions"),
    ("/", "There is no command /; there are"),
    ("/switch", "Use it like this: /switch N|TITLE"),
    ("/switch 2", "Give a number from 1 to 1, or words of a title: /sessions shows them."),
    ("/switch 0", "Give a number from 1 to 1, or words of a title: /sessions shows them."),
    ("/switch one", "Give a number from 1 to 1, or words of a title: /sessions shows them."),
    ("/rename", "Use it like this: /rename TITLE"),
    ("/rename   ", "Use it like this: /rename TITLE"),
    (f"/rename {'a' * 256}", "Error: title must have at most 255 characters, not 256"),
    (f"/new {'a' * 256}", "Error: title must have at most 255 characters, not 256"),
    ("/end of story", "Use it like this: /end"),
]


def test_what_is_wrong_in_a_chat(folder: Path, saver: SessionSaver) -> None:
    """A wrong command gets one line, changes nothing, and the chat goes on."""
    saver.sessions.create_user_session("clumsy", "Here")
    before = saver.sessions.list_sessions("clumsy")
    with Program("chat", "--user", "clumsy", cwd=folder) as program:
        program.wait_for("clumsy> ")
        for line, told in WRONG_IN_A_CHAT:
            program.type(line)
            echo, told_line, blank, prompt = program.wait_for("clumsy> ").split("\n")
            assert told_line.startswith(told)
            assert (echo, blank, prompt) == (line, "", "[Here] clumsy> ")
        status, _, errors = program.end()
    assert (status, errors) == (0, "")
    assert saver.sessions.list_sessions("clumsy") == before


@pytest.mark.parametrize("line", ["/rename x", "/end", "/switch 1", "/sessions"])
def test_commands_before_the_first_session(line: str, folder: Path, saver: SessionSaver) -> None:
    """Without any session, a command that needs one says how to get one."""
    shown = chat(folder, "nobody", line)
    assert any(text.endswith("your first message starts one.") for text in shown)
    assert saver.sessions.count_sessions("nobody") == 0


def test_what_a_user_wrote_is_shown_literally(folder: Path, saver: SessionSaver) -> None:
    """Markup, emoji codes and control characters in titles and messages are shown, not obeyed."""
    saver.sessions.create_user_session("artist", "[bold]x[/bold] :smile: \x1b[31m\x07\u202e")
    shown = "\n".join(
        chat(folder, "artist", "/sessions", "/rename [red]\x1b]0;y\x07 \x9b1m", "[i]z[/i]")
    )
    assert shown.count(r"[bold]x[/bold] :smile: \x1b[31m\x07\u202e") == 2
    assert r'Renamed to "[red]\x1b]0;y\x07 \x9b1m".' in shown
    assert '1. "[i]z[/i]"' in shown
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e"}


def test_long_titles_and_lists(folder: Path, saver: SessionSaver) -> None:
    """The prompt shows the beginning of a long title; a long list says how long it is."""
    for number in range(25):
        saver.sessions.create_user_session("hoarder", f"{number} {'long ' * 20}")
    shown = chat(folder, "hoarder", "/sessions")
    assert "[24 long long long long long...] hoarder> /sessions" in shown
    assert "These are the 20 used last, of 25." in shown


def test_blank_lines_are_nothing(folder: Path, saver: SessionSaver) -> None:
    """A blank line says nothing to the model."""
    chat(folder, "silent", "", "  ")
    assert saver.sessions.count_sessions("silent") == 0


def test_users_do_not_meet(folder: Path, saver: SessionSaver) -> None:
    """A chat shows nothing of another user's sessions."""
    chat(folder, "first", "My secret")
    assert "secret" not in "".join(chat(folder, "second", "/sessions", "Hello", "/switch 2"))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_characters(encoding: str, folder: Path, saver: SessionSaver) -> None:
    """Characters that the terminal lacks do not end the chat."""
    saver.sessions.create_user_session("traveller", "東京 ✈")
    chat(folder, "traveller", "/sessions", PYTHONIOENCODING=f"{encoding}:strict", PYTHONUTF8="0")


def test_bytes_that_are_no_text(folder: Path, saver: SessionSaver) -> None:
    """Input that is not valid UTF-8 is answered, not crashed on."""
    done = subprocess.run(
        [*COMMAND, "chat", "--user", "binary"],
        cwd=folder,
        env=environment(),
        input=b"a\xff\x00b\n",
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 thing so far" in done.stdout


def test_a_database_that_dies(tmp_path: Path) -> None:
    """When the database dies the chat goes on, and all it tells of that is in the chat."""
    with Program("chat", "--user", "survivor", cwd=tmp_path) as program:
        program.wait_for("survivor> ")
        program.type("One")
        program.wait_for("survivor> ")
        pid = (tmp_path / DEFAULT_PATH / "data" / "postmaster.pid").read_text().split()[0]
        os.kill(int(pid), signal.SIGKILL)
        program.type("Two")
        program.wait_for("survivor> ")
        status, _, errors = program.end()
    assert (status, errors) == (0, "")
    assert "[One] survivor> " in "\n".join(chat(tmp_path, "survivor"))


def test_ctrl_c_at_the_prompt(folder: Path, saver: SessionSaver) -> None:
    """Ctrl-C at the prompt ends the chat with status 0 and no traceback."""
    with Program("chat", "--user", "leaver", cwd=folder) as program:
        program.wait_for("leaver> ")
        program.process.send_signal(signal.SIGINT)
        status, out, errors = program.end()
    assert (status, errors) == (0, "")
    assert out == "\nBye. Your sessions are kept.\n"
