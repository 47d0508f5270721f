"""A transaction on two nodes that one of them has shown already: who changes things waits for it.

The node that has yet to show its half is played by a connection to that node's shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from langgraph_sessions import SessionNotFoundError, SessionSaver
from tests import citus
from tests.nodes.cluster import needs_citus
from tests.support import until

pytestmark = needs_citus

Db = psycopg.Connection[Any]
SESSION = (
    "INSERT INTO {user_sessions} (id, user_id, thread_id, title) VALUES (1001, 'alice', 't', 'A')"
)
THREAD = "INSERT INTO {session_threads} (thread_id, user_id) VALUES ('t', 'alice')"
CHECKPOINT = """
INSERT INTO {checkpoints} (thread_id, checkpoint_id, checkpoint, metadata)
VALUES ('t', '1',
    '{{"v": 4, "id": "1", "ts": "2026-01-01T00:00:00Z", "channel_versions": {{"messages": "1"}},
    "channel_values": {{"messages": "Hello"}}}}', '{{"user_id": "alice"}}')"""
KEYS = {"user_sessions": "alice", "session_threads": "t", "checkpoints": "t"}
_PLACE = """
SELECT nodename AS host, nodeport AS port, shard_name AS name FROM citus_shards
WHERE table_name = %(table)s::regclass
AND shardid = get_shard_id_for_distribution_column(%(table)s, %(key)s::text)"""


@contextmanager
def unseen(url: str, db: Db, *statements: str) -> Iterator[Db]:
    """Do *statements* on the shards of one node, and do not commit them yet."""
    names = {}
    for table, key in KEYS.items():
        (place,) = db.execute(_PLACE, {"table": table, "key": key}).fetchall()
        names[table] = place["name"]
        if f"{{{table}}}" in statements[0]:
            node = make_conninfo(url, host=place["host"], port=place["port"])
    with psycopg.connect(node) as shard:
        shard.execute("SET citus.enable_manual_changes_to_shards = on")
        for statement in statements:
            shard.execute(statement.format(**names).encode())
        yield shard


def seen(db: Db, *statements: str) -> None:
    """Do *statements*, and commit them."""
    for statement in statements:
        db.execute(statement.format(**{table: table for table in KEYS}).encode())


def meanwhile(work: Callable[[], Any], db: Db, shard: psycopg.Connection[Any]) -> Any:
    """Do *work*, which must wait until the other half is committed."""
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        until(lambda: citus.waits(db) or working.done())
        shard.commit()
        return working.result()


def threads(db: Db) -> list[list[str]]:
    """Return the threads that have a session, whose row is there, and of which are checkpoints."""
    return [
        [row["thread_id"] for row in db.execute(f"SELECT thread_id FROM {table}".encode())]
        for table in KEYS
    ]


@pytest.fixture
def saver(url: str) -> Iterator[SessionSaver]:
    """A saver that is ready."""
    with SessionSaver(url) as saver:
        saver.sessions.count_sessions("alice")
        yield saver


def test_a_deletion_waits_for_the_threads_half(saver: SessionSaver, url: str, db: Db) -> None:
    """A session is deleted that has just been shown: nothing is left on its thread's shard."""
    seen(db, SESSION)
    with unseen(url, db, THREAD, CHECKPOINT) as shard:
        meanwhile(lambda: saver.sessions.delete_session("alice", "t"), db, shard)
    assert threads(db) == [[], [], []]


def test_an_erasure_waits_for_the_users_half(saver: SessionSaver, url: str, db: Db) -> None:
    """What is made beside an erasure is there as a whole, not a session without its thread."""
    seen(db, THREAD, CHECKPOINT)
    with unseen(url, db, SESSION) as shard:
        meanwhile(lambda: saver.sessions.delete_user("alice"), db, shard)
    assert threads(db) == [["t"], ["t"], ["t"]]
    assert saver.sessions.delete_user("alice")["sessions"] == 1


def test_a_run_waits_for_the_threads_half(saver: SessionSaver, url: str, db: Db) -> None:
    """A run in a session that has just been shown finds what was saved with it."""
    seen(db, SESSION)
    config = {"configurable": {"user_id": "alice"}}
    with unseen(url, db, THREAD, CHECKPOINT) as shard:
        found = meanwhile(lambda: saver.get_tuple(config), db, shard)
    assert found.config["configurable"]["thread_id"] == "t"


def test_a_purge_leaves_what_becomes_active_meanwhile(
    saver: SessionSaver, url: str, db: Db
) -> None:
    """A session is switched to while it is purged as not active: it stays."""
    seen(db, SESSION, THREAD, CHECKPOINT)
    saver.sessions.deactivate_session("alice")
    with psycopg.connect(url) as other:
        other.execute("UPDATE user_sessions SET is_active = TRUE WHERE user_id = 'alice'")
        purged = meanwhile(lambda: saver.sessions.purge_sessions(active=False), db, other)
    assert purged == {"purged": 0, "kept": 1}
    assert saver.sessions.count_sessions("alice") == 1


def fork(saver: SessionSaver) -> Any:
    saver.sessions.fork_session("alice", "t")


def copy(saver: SessionSaver) -> Any:
    saver.copy_thread("t", "copy")


@pytest.mark.parametrize("copies", [fork, copy])
@pytest.mark.parametrize("first", ["user's", "thread's"])
def test_a_copy_waits_for_the_other_half(
    saver: SessionSaver, url: str, db: Db, copies: Any, first: str
) -> None:
    """A session of which one half has just been shown is copied with both."""
    ofs = [(SESSION,), (THREAD, CHECKPOINT)]
    shown, other = ofs if first == "user's" else reversed(ofs)
    seen(db, *shown)
    with unseen(url, db, *other) as shard:
        meanwhile(lambda: copies(saver), db, shard)
    assert [len(each) for each in threads(db)] == [2, 2, 2]


def test_a_fork_of_what_is_being_deleted_is_refused(saver: SessionSaver, url: str, db: Db) -> None:
    """Its thread is gone already: a fork would have nothing of it."""
    seen(db, SESSION)
    going = unseen(url, db, "DELETE FROM {user_sessions} WHERE user_id = 'alice'")
    with going as shard, pytest.raises(SessionNotFoundError):
        meanwhile(lambda: fork(saver), db, shard)
    assert threads(db) == [[], [], []]


def test_a_deletion_of_a_thread_waits_for_the_users_half(
    saver: SessionSaver, url: str, db: Db
) -> None:
    """An operator deletes a thread that has just been shown: its session is gone, too."""
    seen(db, THREAD, CHECKPOINT)
    with unseen(url, db, SESSION) as shard:
        meanwhile(lambda: saver.delete_thread("t"), db, shard)
    assert threads(db) == [[], [], []]


def test_a_purge_waits_for_the_threads_half(saver: SessionSaver, url: str, db: Db) -> None:
    """What is purged as soon as it is made is so as a whole, or not at all."""
    seen(db, SESSION)
    db.execute("UPDATE user_sessions SET is_active = FALSE WHERE user_id = 'alice'")
    with unseen(url, db, THREAD, CHECKPOINT) as shard:
        meanwhile(lambda: saver.sessions.purge_sessions(active=False), db, shard)
    assert threads(db) in ([[], [], []], [["t"], ["t"], ["t"]])


def test_a_transfer_waits_for_the_threads_half(saver: SessionSaver, url: str, db: Db) -> None:
    """A session that has just been shown is another user's with its thread."""
    seen(db, SESSION)
    with unseen(url, db, THREAD, CHECKPOINT) as shard:
        meanwhile(lambda: saver.sessions.transfer_sessions("alice", "bob"), db, shard)
    for table in ("user_sessions", "session_threads"):
        assert [row["user_id"] for row in db.execute(f"SELECT user_id FROM {table}")] == ["bob"]


def test_an_adoption_waits_for_the_users_half(saver: SessionSaver, url: str, db: Db) -> None:
    """A session whose thread has just been shown is not made again."""
    seen(db, THREAD, CHECKPOINT)
    with unseen(url, db, SESSION) as shard:
        found = meanwhile(lambda: saver.sessions.adopt_session("alice", "t"), db, shard)
    assert found.id == 1001


READS: dict[str, Callable[[Any], Any]] = {
    "messages": lambda sessions: sessions.get_messages("alice", "t"),
    "checkpoints": lambda sessions: sessions.list_checkpoints("alice", "t"),
    "export": lambda sessions: [
        each for each in sessions.export_user("alice") if each["record"] == "message"
    ],
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_who_reads_a_conversation_waits_for_the_threads_half(
    saver: SessionSaver, url: str, db: Db, read: Callable[[Any], Any]
) -> None:
    """A session that has just been shown has what was saved with it."""
    seen(db, SESSION)
    with unseen(url, db, THREAD, CHECKPOINT) as shard:
        assert len(meanwhile(lambda: read(saver.sessions), db, shard)) == 1
