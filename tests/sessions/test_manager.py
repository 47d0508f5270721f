"""The session manager, method by method, of both savers."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from langgraph_sessions import Session, SessionNotFoundError, SessionPage
from tests.support import TABLES, Chat, graph_builder

Connection = psycopg.Connection[Any]


async def test_create_makes_a_session_current(chat: Chat) -> None:
    """A created session is active, current, and has what it was given."""
    session = await chat.session("create_user_session", "alice", "Trip", metadata={"a": [1]})
    assert (session.title, session.is_active, session.metadata) == ("Trip", True, {"a": [1]})
    assert session.thread_id.startswith("alice_")
    assert await chat.current() == session
    named = await chat.session("create_user_session", "alice", thread_id="t")
    assert (named.title, named.thread_id) == ("New Chat", "t")
    assert await chat.current() == named


async def test_a_created_session_is_what_a_run_continues(chat: Chat) -> None:
    """A run goes to the session that was created, under the title it was given."""
    session = await chat.session("create_user_session", "alice", "Trip")
    await chat.say("one", user_id="alice")
    assert await chat.history(session) == ["one", "1 so far"]
    assert (await chat.current()).title == "Trip"


async def test_a_thread_id_in_use_is_not_taken_over(chat: Chat) -> None:
    """Creating a session on any thread there is, with a session or without, is refused."""
    await chat.say("plain", thread_id="plain")
    await chat.session("create_user_session", "alice", thread_id="hers")
    for thread_id in ("plain", "hers"):
        for user in ("alice", "bob"):
            with pytest.raises(ValueError, match="thread_id"):
                await chat.session("create_user_session", user, thread_id=thread_id)
    assert len(await chat.sessions(None)) == 1


async def test_get_or_create_creates_once(chat: Chat) -> None:
    """The first call creates, the second returns the same, whatever title it brings."""
    first = await chat.session("get_or_create_user_session", "alice", "My First Chat")
    second = await chat.session("get_or_create_user_session", "alice", "Another")
    assert first == second
    assert second.title == "My First Chat"
    await chat.session("deactivate_session", "alice")
    third = await chat.session("get_or_create_user_session", "alice")
    assert (third.thread_id != first.thread_id, third.title) == (True, "New Chat")


async def test_what_is_not_the_users_is_not_found(chat: Chat) -> None:
    """Each method that needs a session says so, and another user's looks like none."""
    session = await chat.session("create_user_session", "alice", thread_id="hers")
    for user, thread_id in (("bob", "hers"), ("alice", "nothing")):
        for method in ("get_session", "switch_session", "delete_session"):
            with pytest.raises(SessionNotFoundError):
                await chat.session(method, user, thread_id)
        with pytest.raises(SessionNotFoundError):
            await chat.session("update_session", user, {"title": "x"}, thread_id=thread_id)
        assert await chat.session("deactivate_session", user, thread_id=thread_id) == 0
    with pytest.raises(SessionNotFoundError):
        await chat.session("get_current_user_session", "bob")
    with pytest.raises(SessionNotFoundError):
        await chat.session("update_session", "bob", {"title": "x"})
    assert await chat.current() == session


async def test_update_changes_what_it_names_and_nothing_else(chat: Chat) -> None:
    """Title, activity and metadata change one by one; metadata is merged, `None` removes a key."""
    old = await chat.session("create_user_session", "alice", metadata={"a": 1, "b": {"c": 2}})
    await chat.session("create_user_session", "alice", "Newer")
    renamed = await chat.session(
        "update_session", "alice", {"title": "Older"}, thread_id=old.thread_id
    )
    assert dict(renamed) == {**old, "title": "Older"}
    merged = await chat.session(
        "update_session", "alice", {"metadata": {"b": 3, "a": None}}, thread_id=old.thread_id
    )
    assert merged.metadata == {"b": 3}
    updated = await chat.session("update_session", "alice", {"is_active": False})
    assert (updated.title, updated.is_active) == ("Newer", False)
    assert (await chat.current()).title == "Older"


async def test_no_session_has_a_key_of_none(chat: Chat) -> None:
    """A key whose value is `None` is left out where a session is made, too, at the top."""
    made = await chat.session(
        "create_user_session", "alice", metadata={"a": None, "b": {"c": None}, "d": [None]}
    )
    assert made.metadata == {"b": {"c": None}, "d": [None]}
    assert dict(await chat.current()) == dict(made)


async def test_renaming_an_old_session_does_not_make_it_current(chat: Chat) -> None:
    """Only use makes a session current: a rename, metadata or reactivation does not."""
    old = await chat.session("create_user_session", "alice", "Old")
    new = await chat.session("create_user_session", "alice", "New")
    for updates in ({"title": "Renamed"}, {"metadata": {"x": 1}}, {"is_active": True}):
        await chat.session("update_session", "alice", updates, thread_id=old.thread_id)
        assert (await chat.current()).thread_id == new.thread_id
        assert [s.id for s in await chat.sessions()] == [new.id, old.id]


async def test_switch_makes_current_and_active(chat: Chat) -> None:
    """Switching to an old, inactive session makes it current and first in the list."""
    old = await chat.session("create_user_session", "alice", "Old")
    await chat.session("create_user_session", "alice", "New")
    await chat.session("deactivate_session", "alice", thread_id=old.thread_id)
    switched = await chat.session("switch_session", "alice", old.thread_id)
    assert switched.is_active
    assert await chat.current() == switched
    assert (await chat.sessions())[0] == switched


async def test_deactivate_one_or_all(chat: Chat) -> None:
    """Deactivating says how many were active: of one session, or of all the user's."""
    for _ in range(3):
        session = await chat.session("create_user_session", "alice")
    await chat.session("create_user_session", "bob")
    one = session.thread_id
    assert await chat.session("deactivate_session", "alice", thread_id=one) == 1
    assert await chat.session("deactivate_session", "alice", thread_id=one) == 0
    assert await chat.session("deactivate_session", "alice") == 2
    assert not await chat.session("has_session", "alice")
    assert await chat.session("has_session", "bob")


async def test_active_sessions_are_listed_newest_first(chat: Chat) -> None:
    """The list has a user's active sessions, or everybody's, and is empty for nobody's."""
    first = await chat.session("create_user_session", "alice")
    second = await chat.session("create_user_session", "alice")
    other = await chat.session("create_user_session", "bob")
    await chat.say("hello", user_id="alice", thread_id=first.thread_id)
    listed = await chat.session("list_active_sessions", "alice")
    assert [s.id for s in listed] == [first.id, second.id]
    await chat.session("deactivate_session", "alice", thread_id=second.thread_id)
    assert {s.id for s in await chat.session("list_active_sessions")} == {first.id, other.id}
    assert await chat.session("list_active_sessions", "nobody") == []


async def test_pages_hold_every_session_once(chat: Chat, db: Connection) -> None:
    """Walking the cursors gives each session once, in order, even where times tie."""
    for number in range(25):
        await chat.session("create_user_session", "alice", f"Chat {number}")
    db.execute("UPDATE user_sessions SET updated_at = '2026-01-01 00:00+00' WHERE id % 3 <> 0")
    seen: list[Session] = []
    cursor = None
    while True:
        page = await chat.session("list_sessions", "alice", limit=4, cursor=cursor)
        seen += page.sessions
        cursor = page.next_cursor
        if cursor is None:
            break
    rows = db.execute("SELECT id FROM user_sessions ORDER BY updated_at DESC, id DESC").fetchall()
    assert [s.id for s in seen] == [row["id"] for row in rows]


async def test_pages_stay_stable_while_sessions_are_touched(chat: Chat) -> None:
    """A session used between two pages is neither repeated nor pushes another out."""
    made = [await chat.session("create_user_session", "alice") for _ in range(6)]
    first = await chat.session("list_sessions", "alice", limit=3)
    await chat.session("switch_session", "alice", made[0].thread_id)
    rest = await chat.session("list_sessions", "alice", limit=3, cursor=first.next_cursor)
    assert [s.id for s in (*first, *rest)] == [s.id for s in reversed(made)][:5]


async def test_filters_of_a_listing(chat: Chat) -> None:
    """Each filter selects what it says; the title is a substring, its wildcards literal."""
    rome = await chat.session("create_user_session", "alice", "Trip to ROME", metadata={"k": 1})
    await chat.session("deactivate_session", "alice", thread_id=rome.thread_id)
    sale = await chat.session("create_user_session", "alice", "100% off_now", metadata={"k": 2})
    await chat.session("create_user_session", "bob", "Éclair")

    async def ids(user: str | None = "alice", **filters: Any) -> set[int]:
        return {s.id for s in await chat.sessions(user, **filters)}

    assert await ids(active=True) == {sale.id}
    assert await ids(active=False) == {rome.id}
    assert await ids(title="to rome") == {rome.id}
    assert await ids(title="0% o") == await ids(title="f_N") == {sale.id}
    assert await ids(title="%_%") == await ids(title="T_ip") == set()
    assert len(await ids(None, title="éCLAIR")) == 1
    assert await ids(metadata={"k": 1}) == {rome.id}
    assert await ids(updated_after=rome.updated_at) == {sale.id}
    assert await ids(updated_before=sale.updated_at) == {rome.id}
    assert len(await ids(None)) == 3


async def test_counts(chat: Chat) -> None:
    """Sessions are counted for a user or for all, active or not."""
    for user in ("alice", "alice", "bob"):
        await chat.session("create_user_session", user)
    await chat.session("deactivate_session", "bob")
    assert await chat.session("count_sessions") == 3
    assert await chat.session("count_sessions", "alice") == 2
    assert await chat.session("count_sessions", active=False) == 1
    assert await chat.session("count_sessions", "nobody") == 0


async def test_delete_leaves_nothing_of_the_session(chat: Chat, db: Connection) -> None:
    """Deleting removes the row, checkpoints, blobs and writes, also of subgraphs."""
    builder = graph_builder()
    builder.add_node("inner", graph_builder().compile())
    builder.add_edge("node", "inner")
    graph = chat.compile(builder)
    await chat.say("one", graph, user_id="bob")
    await chat.say("one", graph, user_id="alice")
    session = await chat.current()
    await chat.session("delete_session", "alice", session.thread_id)
    for table in TABLES:
        if table != "session_users":  # Which names no thread.
            left = db.execute(f"SELECT DISTINCT thread_id FROM {table}").fetchall()
            assert all(row["thread_id"].startswith("bob_") for row in left), table
    await chat.say("two", user_id="alice")
    assert (await chat.current()).thread_id != session.thread_id


async def test_ids_may_be_ints_in_every_method(chat: Chat) -> None:
    """An int user id is its text for the manager, too, the cache included."""
    session = await chat.session("get_or_create_user_session", 123)
    assert session.user_id == "123"
    assert await chat.session("get_current_user_session", 123) == session
    assert await chat.session("get_session", 123, session.thread_id) == session
    assert await chat.session("deactivate_session", 123) == 1
    with pytest.raises(SessionNotFoundError):
        await chat.session("get_current_user_session", 123)


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ("update_session", ("a", {"thread_id": "x"}), {}, ValueError, "title, is_active, metadata"),
    ("update_session", ("a", {"user_id": "x"}), {}, ValueError, "user_id"),
    ("update_session", ("a", {"id": 1}), {}, ValueError, "id"),
    ("update_session", ("a", "title"), {}, TypeError, "updates"),
    ("update_session", ("a", {"title": None}), {}, TypeError, "title"),
    ("update_session", ("a", {"title": "  "}), {}, ValueError, "title"),
    ("update_session", ("a", {"is_active": "no"}), {}, TypeError, "is_active"),
    ("update_session", ("a", {"metadata": [1]}), {}, TypeError, "metadata"),
    ("update_session", ("a", {"metadata": {1: 2}}), {}, TypeError, "metadata"),
    ("update_session", ("a", {"metadata": {"x": {1}}}), {}, TypeError, "metadata"),
    ("update_session", ("a", {"metadata": {"x": float("nan")}}), {}, ValueError, "metadata"),
    ("update_session", ("a", {"metadata": {"x": "\0"}}), {}, ValueError, "metadata"),
    ("update_session", ("a", {"metadata": {"x": 10**4200}}), {}, ValueError, "metadata"),
    ("create_user_session", ("a", ""), {}, ValueError, "title"),
    ("create_user_session", ("a", "x" * 256), {}, ValueError, "title"),
    ("create_user_session", ("a",), {"thread_id": ""}, ValueError, "thread_id"),
    ("create_user_session", (None,), {}, TypeError, "user_id"),
    ("get_or_create_user_session", (True,), {}, TypeError, "user_id"),
    ("get_or_create_user_session", ("a", 5), {}, TypeError, "title"),
    ("get_current_user_session", ("",), {}, ValueError, "user_id"),
    ("get_session", ("a", None), {}, TypeError, "thread_id"),
    ("switch_session", ("a", True), {}, TypeError, "thread_id"),
    ("get_session", ("a", 1.5), {}, TypeError, "thread_id"),
    ("deactivate_session", (None,), {}, TypeError, "user_id"),
    ("delete_session", ("a", " "), {}, ValueError, "thread_id"),
    ("has_session", (["a"],), {}, TypeError, "user_id"),
    ("list_sessions", ("a",), {"limit": 0}, ValueError, "limit"),
    ("list_sessions", ("a",), {"limit": -1}, ValueError, "limit"),
    ("list_sessions", ("a",), {"limit": 10**6}, ValueError, "limit"),
    ("list_sessions", ("a",), {"limit": True}, TypeError, "limit"),
    ("list_sessions", ("a",), {"cursor": "nonsense"}, ValueError, "cursor"),
    ("list_sessions", ("a",), {"cursor": 5}, TypeError, "cursor"),
    ("list_sessions", ("a",), {"active": 1}, TypeError, "active"),
    ("list_sessions", ("a",), {"title": 1}, TypeError, "title"),
    ("list_sessions", ("a",), {"updated_after": "now"}, TypeError, "updated_after"),
    ("list_sessions", ("a",), {"updated_before": datetime(2026, 1, 1)}, ValueError, "aware"),
    ("count_sessions", (5.0,), {}, TypeError, "user_id"),
    ("count_sessions", (None,), {}, TypeError, "user_id"),
    ("list_sessions", (None,), {}, TypeError, "user_id"),
    ("list_active_sessions", (None,), {}, TypeError, "user_id"),
]


@pytest.mark.parametrize(("method", "args", "kwargs", "error", "named"), WRONG, ids=repr)
async def test_a_wrong_argument_is_named(
    chat: Chat,
    db: Connection,
    method: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: type[Exception],
    named: str,
) -> None:
    """Bad input gets an error that names the argument, and changes nothing."""
    await chat.session("create_user_session", "a", "A")
    before = db.execute("SELECT * FROM user_sessions").fetchall()
    with pytest.raises(error, match=named):
        await chat.session(method, *args, **kwargs)
    assert db.execute("SELECT * FROM user_sessions").fetchall() == before


async def test_metadata_may_nest_32_deep_and_no_deeper(chat: Chat) -> None:
    """Deeper metadata is refused by name, and keys that look like SQL are just keys."""

    def nested(depth: int) -> dict[str, Any]:
        return {"k": nested(depth - 1)} if depth else {}

    await chat.session("create_user_session", "a", metadata=nested(31))
    with pytest.raises(ValueError, match="metadata"):
        await chat.session("create_user_session", "a", metadata=nested(40))
    odd = {"'; DROP TABLE user_sessions; --": "%s %(x)s", "a->>'b'": "$1"}
    made = await chat.session("create_user_session", "a", metadata=odd)
    assert made.metadata == odd


async def test_a_cursor_belongs_to_its_listing(chat: Chat) -> None:
    """A cursor of other filters, of another user, or tampered with is refused."""
    for user in ("alice", "bob"):
        for _ in range(3):
            await chat.session("create_user_session", user)
    cursor = (await chat.session("list_sessions", "alice", limit=1)).next_cursor
    for users, filters in ((["bob"], {}), ([], {}), (["alice"], {"active": True})):
        with pytest.raises(ValueError, match="cursor"):
            await chat.session("list_sessions", *users, cursor=cursor, **filters)
    forged = [b"0" * 16 + rest for rest in (b'["2020-01-01T00:00:00+00:00", 1e999]', b"[" * 9999)]
    for text in forged:
        with pytest.raises(ValueError, match="cursor"):
            await chat.session(
                "list_sessions", "alice", cursor=base64.urlsafe_b64encode(text).decode()
            )
    for tampered in (cursor[:-4], "A" + cursor[1:], cursor + "AAAA", cursor.lower()):
        with pytest.raises(ValueError, match="cursor"):
            await chat.session("list_sessions", "alice", cursor=tampered)


async def test_the_cache_is_counted_and_written_through(chat: Chat) -> None:
    """The cache holds what was read or written, and a write is read at once."""
    assert await chat.session("get_session_count") == 0
    session = await chat.session("create_user_session", "alice", "One")
    assert await chat.session("get_session_count") == 1
    await chat.session("update_session", "alice", {"title": "Two"})
    assert (await chat.session("get_session", "alice", session.thread_id)).title == "Two"
    await chat.say("hello", user_id="alice", title="Three")
    assert (await chat.session("get_current_user_session", "alice")).title == "Three"
    await chat.session("delete_session", "alice", session.thread_id)
    assert await chat.session("get_session_count") == 0
    with pytest.raises(SessionNotFoundError):
        await chat.session("get_session", "alice", session.thread_id)


@pytest.mark.one_server("there the whole row is answered, and kept")
async def test_runs_fill_the_cache_with_no_sessions_at_which_nobody_looks(chat: Chat) -> None:
    """A run that goes on tells a session that is in it when it was used, and adds none."""
    await chat.say("Hello", user_id="alice", thread_id="t")
    await chat.session("clear_memory_cache")
    await chat.say("Again", user_id="alice", thread_id="t")
    assert await chat.session("get_session_count") == 0
    before = await chat.session("get_session", "alice", "t")
    await chat.say("And again", user_id="alice", thread_id="t")
    assert await chat.session("get_session_count") == 1
    kept = await chat.session("get_session", "alice", "t")
    await chat.session("clear_memory_cache")
    assert kept == await chat.session("get_session", "alice", "t")
    assert kept.updated_at > before.updated_at


async def test_a_session_is_immutable_and_json_ready(chat: Chat) -> None:
    """What is handed out cannot change what is cached, and is ready for JSON."""
    session = await chat.session("create_user_session", "alice", metadata={"list": [1]})
    session.metadata["list"].append(2)
    session["metadata"]["list"].append(2)
    session.config["configurable"]["user_id"] = "bob"
    with pytest.raises(AttributeError):
        session.title = "x"
    again = await chat.session("get_session", "alice", session.thread_id)
    assert again.metadata == {"list": [1]}
    record = json.loads(json.dumps(dict(again)))
    assert datetime.fromisoformat(record["created_at"]) == again.created_at
    assert again.created_at.utcoffset() is not None
    assert abs(datetime.now(UTC) - again.created_at) < timedelta(minutes=5)
    assert again.config == {"configurable": {"user_id": "alice", "thread_id": again.thread_id}}


async def test_tables_in_jupyter_escape_what_users_wrote(chat: Chat) -> None:
    """A session and a page show as HTML tables in which a title is text, never markup."""
    session = await chat.session("create_user_session", "alice", "<script>alert(1)</script>")
    page = await chat.session("list_sessions", "alice")
    assert isinstance(page, SessionPage)
    for html in (session._repr_html_(), page._repr_html_()):
        assert "<table>" in html
        assert "&lt;script&gt;" in html
        assert "<script>" not in html
