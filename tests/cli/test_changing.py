"""What operators change: rename, deactivate, fork, adopt and backfill, delete and purge."""

from __future__ import annotations

from pathlib import Path

import pytest

from langgraph_sessions import SessionSaver
from tests.operating import EVIL, Db, Operate, age, ask, contents, leave_behind, talk
from tests.support import config, graph_builder
from tests.terminal import in_a_terminal

# --- Changing --------------------------------------------------------------------------------


def test_rename(operate: Operate, saver: SessionSaver) -> None:
    """A session gets the title, which no message replaces."""
    thread = talk(saver, "alice", "Rome").thread_id
    assert operate("rename", thread, "Oslo").out == (f'Renamed session {thread} of alice: "Oslo"\n')
    assert operate("rename", thread, "Bergen", "--json").json["title"] == "Bergen"
    assert talk(saver, "alice", "More").title == "Bergen"


def test_deactivate(operate: Operate, saver: SessionSaver) -> None:
    """One session is ended, or with --all each of the user's and of nobody else."""
    for title in ("One", "Two", "Three"):
        saver.sessions.create_user_session("alice", title, thread_id=title)
    saver.sessions.create_user_session("bob")
    assert operate("deactivate", "One").out == "Deactivated 1 session.\n"
    assert operate("deactivate", "One", "--json").json == {"deactivated": 0}
    assert operate("deactivate", "--all", "--user", "alice", "--json").json == {"deactivated": 2}
    assert [session.user_id for session in saver.sessions.list_active_sessions()] == ["bob"]


def test_fork(operate: Operate, saver: SessionSaver) -> None:
    """A fork is a new session with the conversation so far, or up to a checkpoint."""
    thread = talk(saver, "alice", "One").thread_id
    graph = graph_builder().compile(checkpointer=saver)
    early = graph.get_state(config(user_id="alice", thread_id=thread)).config
    talk(saver, "alice", "Two")
    whole = operate("fork", thread, "--json").json
    assert len(operate("show", whole["thread_id"], "--json").json["messages"]) == 4
    checkpoint = early["configurable"]["checkpoint_id"]
    done = operate("fork", thread, "--checkpoint", checkpoint, "--title", "Half")
    saver.sessions.clear_memory_cache()
    half = saver.sessions.get_current_user_session("alice")
    assert done.out == f'Made session {half.thread_id} of alice: "Half"\n'
    assert len(operate("show", half.thread_id, "--json").json["messages"]) == 2


def test_transfer(operate: Operate, saver: SessionSaver) -> None:
    """One session, or all of a user's with the preferences, becomes another's."""
    for thread_id in ("a", "b", "c"):
        saver.sessions.create_user_session("guest", thread_id=thread_id)
    saver.sessions.update_preferences("guest", {"tone": "short"})
    done = operate("transfer", "guest", "alice", "--thread", "b")
    assert done.out == "Moved 1 session of guest to alice.\n"
    assert saver.sessions.get_preferences("alice") == {}
    assert operate("transfer", "guest", "alice", "--json").json == {"transferred": 2}
    assert saver.sessions.count_sessions("alice") == 3
    assert saver.sessions.get_preferences("alice") == {"tone": "short"}
    assert operate("transfer", "guest", "alice").out == "Moved 0 sessions of guest to alice.\n"


def test_why_a_thread_cannot_be_adopted(operate: Operate, url: str, saver: SessionSaver) -> None:
    """Because it names somebody else; the other reasons are those of wrong input."""
    leave_behind(url, "hers", user_id="alice")
    done = operate("adopt", "hers", "--user", "bob")
    told = 'thread "hers" is of alice, whom its checkpoints name, and not of bob'
    assert (done.status, done.err) == (2, f"Error: {told}\n")


def test_adopt(operate: Operate, url: str, saver: SessionSaver) -> None:
    """A thread of a plain saver becomes a session, titled by its first message or as given."""
    leave_behind(url, "old")
    leave_behind(url, "older")
    done = operate("adopt", "old", "--user", "carol")
    assert done.out == 'Adopted session old of carol: "Long ago"\n'
    adopted = operate("adopt", "older", "--user", "carol", "--title", "Given", "--json").json
    assert adopted == dict(saver.sessions.get_session("carol", "older"))
    assert operate("adopt", "old", "--user", "bob").err == (
        'Error: thread "old" is a session of carol already\n'
    )


def test_backfill(operate: Operate, empty_url: str) -> None:
    """On a database of a plain saver's alone, all threads with a user become sessions."""
    leave_behind(empty_url, "c1", user_id="carol")
    leave_behind(empty_url, "c2", user_id="carol")
    leave_behind(empty_url, "nobodys")
    done = operate("backfill", database=empty_url)
    assert (done.status, done.err) == (0, "")
    assert done.out == "Adopted 2 of 3 threads; 1 name no user.\n"
    listed = operate("list", "--user", "carol", "--json", database=empty_url).json["sessions"]
    assert sorted((s["thread_id"], s["title"]) for s in listed) == [
        ("c1", "Long ago"),
        ("c2", "Long ago"),
    ]
    again = operate("backfill", "--json", database=empty_url).json
    assert again == {"seen": 3, "adopted": 0, "unowned": 1, "skipped": 0}


def test_backfill_tells_what_it_skipped(operate: Operate, empty_url: str) -> None:
    """A thread whose id is too long for a session is told of, not passed over."""
    leave_behind(empty_url, "c1", user_id="carol")
    leave_behind(empty_url, "c" * 256, user_id="carol")
    done = operate("backfill", database=empty_url)
    assert done.status == 0
    assert done.out == "Adopted 1 of 2 threads; 0 name no user; skipped 1, each with a warning.\n"


# --- Deleting --------------------------------------------------------------------------------


def test_delete(operate: Operate, saver: SessionSaver, db: Db) -> None:
    """A session goes with its thread, and nothing else does."""
    kept = talk(saver, "alice", "Stay")
    before = contents(db)
    gone = talk(saver, "alice", "Go", new_session=True, thread_id=None)
    done = operate("delete", gone.thread_id, "--yes", "--json")
    assert done.json == {**dict(gone), "status": "idle"}
    after = contents(db)
    assert after == before
    assert saver.sessions.get_session("alice", kept.thread_id) == kept


def test_delete_everything_of_a_user(operate: Operate, saver: SessionSaver, db: Db) -> None:
    """With --all, not a row of the user is left, and the counts are told."""
    talk(saver, "alice", "One")
    talk(saver, "bob", "Mine")
    saver.sessions.update_preferences("alice", {"tone": "short"})
    counts = operate("delete", "--all", "--user", "alice", "--yes", "--json").json
    assert (counts["sessions"], counts["users"]) == (1, 1)
    assert counts["checkpoints"] > 0
    assert "alice" not in str(contents(db))
    assert operate("delete", "--all", "--user", "bob", "--yes").out.startswith(
        "Deleted everything of bob: 1 sessions, "
    )
    assert not any(contents(db).values())


@pytest.mark.parametrize(
    ("choice", "condition"),
    [
        (["--idle-for", "90d"], ["aged", "ended"]),
        (["--older-than", "2400h"], ["aged", "ended"]),
        (["--idle-for", "90d", "--active"], ["aged"]),
        (["--inactive"], ["ended"]),
        (["--idle-for", "144000m", "--interrupted"], ["aged", "ended", "waiting"]),
        (["--idle-for", "101d"], []),
        (["--idle-for", "2 weeks", "--older-than", "90 days"], ["aged", "ended"]),
        (["--unused"], ["unused"]),
        (["--unused", "--older-than", "1h"], []),
    ],
)
def test_purge(
    choice: list[str], condition: list[str], operate: Operate, saver: SessionSaver, db: Db
) -> None:
    """Those that all conditions select are deleted; a dry run only counts them."""
    for thread_id in ("fresh", "aged", "ended"):
        talk(saver, "alice", thread_id, thread_id=thread_id)
    graph = graph_builder(ask).compile(checkpointer=saver)
    graph.invoke({"messages": ["Hm"]}, config(user_id="alice", thread_id="waiting"))
    saver.sessions.deactivate_session("alice", thread_id="ended")
    saver.sessions.create_user_session("alice", thread_id="unused")
    age(db, "aged", "ended", "waiting")
    before = contents(db)
    dry = operate("purge", *choice, "--dry-run", "--batch-size", "1", "--json").json
    assert (dry["purged"], dry["dry_run"]) == (len(condition), True)
    assert contents(db) == before
    done = operate("purge", *choice, "--batch-size", "1", "--yes", "--json").json
    assert done == {**dry, "dry_run": False}
    left = {session.thread_id for session in saver.sessions.list_sessions()}
    assert left == {"fresh", "aged", "ended", "waiting", "unused"} - set(condition)


def test_purge_tells_what_it_did(operate: Operate, saver: SessionSaver, db: Db) -> None:
    """It says how many it would delete, and then how many it did."""
    talk(saver, "alice", "Hi", thread_id="aged")
    age(db, "aged")
    choice = ("purge", "--idle-for", "90d")
    assert operate(*choice, "--dry-run").out == "Would delete 1 session.\n"
    assert operate(*choice, "--yes").out == "Deleted 1 session.\n"
    assert operate(*choice, "--yes").out == "Deleted 0 sessions.\n"


DELETING = [["delete", "t"], ["delete", "--all", "--user", "alice"], ["purge", "--active"]]


@pytest.mark.parametrize("command", DELETING)
def test_nothing_is_deleted_unasked(
    command: list[str], operate: Operate, saver: SessionSaver, db: Db
) -> None:
    """Without a terminal and --yes, one line says so, with status 2, and nothing changes."""
    talk(saver, "alice", "Hi", thread_id="t")
    before = contents(db)
    done = operate(*command)
    assert (done.status, done.out) == (2, "")
    assert done.err == ("Error: this deletes, and there is no terminal to ask in: give --yes\n")
    assert contents(db) == before


@pytest.mark.parametrize("command", DELETING)
def test_a_terminal_is_asked(
    command: list[str], url: str, saver: SessionSaver, db: Db, tmp_path: Path
) -> None:
    """In a terminal one is asked: anything but yes deletes nothing, yes does it."""
    talk(saver, "alice", EVIL, thread_id="t")
    before = contents(db)

    def answer(key: bytes) -> str:
        words = ("sessions", *command, "--database", url)
        return in_a_terminal(*words, cwd=tmp_path, prompt="[y/N]: ", keys=[key])

    screen = answer(b"\n")
    assert "Nothing was deleted." in screen
    assert "\x1b[31m" not in screen
    assert contents(db) == before
    assert "Deleted" in answer(b"y\n")
    assert saver.sessions.count_sessions() == 0
