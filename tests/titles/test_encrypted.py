"""Where a serializer encrypts, nothing of what somebody wrote is stored in clear."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from langgraph_sessions import AgentSessionManager, AsyncSessionSaver, SessionSaver
from tests.operating import Operate, talk
from tests.support import Chat, config, graph_builder

Connection = psycopg.Connection[Any]

WORDS = "rosebud"


class Cipher:
    """No secret, but nothing that can be read either."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """Return the cipher's name, and each byte's complement."""
        return "complement", bytes(255 - byte for byte in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """Return each byte's complement."""
        return bytes(255 - byte for byte in ciphertext)


@pytest.fixture(params=[SessionSaver, AsyncSessionSaver])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


async def talked(kind: Any, url: str, **options: Any) -> list[str]:
    """Say something with an encrypting saver; return what a titler was asked."""
    asked: list[str] = []
    saver = kind(
        url,
        serde=EncryptedSerializer(Cipher()),
        titler=lambda messages: asked.append("asked") or f"The model's {WORDS}",  # type: ignore[func-returns-value]
        **options,
    )
    chat = Chat(saver)
    graph = chat.compile(graph_builder(lambda state: {"messages": [("ai", "yes")]}))
    said = {"messages": [HumanMessage(WORDS)]}
    for durability in ("sync", "async", "exit"):
        given = config(user_id="alice", new_session=True)
        await chat.call(graph, "invoke", said, given, durability=durability)
        await chat.call(graph, "invoke", said, config(user_id="alice"), durability=durability)
    await chat.call(saver, "close") if kind is SessionSaver else await saver.close()
    return asked


def everything(db: Connection) -> str:
    """Return all rows of all tables, as text; blobs as their bytes would be read."""
    found = []
    for table in ("user_sessions", "session_threads", "session_users", "session_reservations"):
        found += db.execute(f"SELECT t::text AS row FROM {table} AS t".encode()).fetchall()
    for table in ("checkpoint_blobs", "checkpoint_writes"):
        found += db.execute(
            f"SELECT encode(blob, 'escape') AS row FROM {table}".encode()
        ).fetchall()
    found += db.execute("SELECT checkpoint::text || metadata::text AS row FROM checkpoints")
    return "\n".join(str(row["row"]) for row in found)


async def test_no_word_is_stored_in_clear(url: str, db: Connection, kind: Any) -> None:
    """No title is made of what was said, and no titler is asked for one."""
    assert await talked(kind, url) == []
    assert WORDS not in everything(db)
    titles = db.execute("SELECT DISTINCT title, title_source FROM user_sessions").fetchall()
    assert titles == [{"title": "New Chat", "title_source": "default"}]


async def test_who_wants_titles_all_the_same_says_so(url: str, db: Connection, kind: Any) -> None:
    """With `auto_title=True` a session is titled by its message, and by the titler."""
    assert await talked(kind, url, auto_title=True) == ["asked"] * 3
    titles = db.execute("SELECT DISTINCT title FROM user_sessions").fetchall()
    assert titles == [{"title": f"The model's {WORDS}"}]


async def test_without_auto_title_nothing_is_titled(chat: Chat, db: Connection, url: str) -> None:
    """Nor is what is adopted, though nothing is encrypted; who gives a title has it."""
    kind: Any = type(chat.saver)
    saver = kind(url, auto_title=False)
    silent = Chat(saver)
    await silent.say(WORDS, user_id="alice")
    await silent.say(WORDS, user_id="bob", title="Bob's")
    titles = [session.title for session in await silent.sessions(None)]
    assert titles == ["Bob's", "New Chat"]
    db.execute("DELETE FROM user_sessions")
    db.execute("DELETE FROM session_threads")
    await silent.session("backfill")
    assert {session.title for session in await silent.sessions(None)} == {"New Chat"}
    await silent.call(saver, "close") if kind is SessionSaver else await saver.close()


def test_what_is_adopted_stays_untitled_where_it_is_encrypted(url: str, db: Connection) -> None:
    """By a manager of its own, too, which is given the serializer to read with."""
    serde = EncryptedSerializer(Cipher())
    with SessionSaver(url, serde=serde) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke({"messages": [WORDS]}, config(user_id="alice"))
    db.execute("DELETE FROM user_sessions")
    db.execute("DELETE FROM session_threads")
    manager = AgentSessionManager(url, serde=serde)
    manager.backfill()
    assert [session.title for session in manager.list_sessions()] == ["New Chat"]
    manager.close()


def test_a_wrong_one_is_named(url: str) -> None:
    """It is a `bool`, or not given."""
    with pytest.raises(TypeError, match="auto_title"):
        SessionSaver(url, auto_title="no")  # type: ignore[arg-type]


def test_a_command_says_what_is_encrypted(operate: Operate, url: str) -> None:
    """It has no key: it names the thread that it cannot read, and the cipher."""
    with SessionSaver(url, serde=EncryptedSerializer(Cipher())) as saver:
        thread_id = talk(saver, "alice", WORDS).thread_id
    why = "it is encrypted ('complement'): only its own serializer can read it"
    shown, exported = operate("show", thread_id), operate("export", "alice")
    assert (shown.status, exported.status) == (2, 1)
    assert shown.err == f"Error: thread '{thread_id}' cannot be read: {why}\n"
    assert exported.err.startswith(f"Could not export thread {thread_id}: ")
    assert why in exported.err
