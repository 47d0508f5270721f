"""Bad input to what changes whole threads, users and databases: named, and nothing changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from langgraph_sessions import SessionSaver
from tests.sessions.contents import everything, exported
from tests.support import Chat

Connection = psycopg.Connection[Any]

DAY = timedelta(days=1)


def deep(depth: int) -> dict[str, Any]:
    """Return a dict that nests *depth* deep."""
    return {"k": deep(depth - 1)} if depth else {}


Wrong = tuple[str, tuple[Any, ...], dict[str, Any], Any, str]

WRONG: list[Wrong] = [
    # Forks.
    ("fork_session", (None, "t"), {}, TypeError, "user_id"),
    ("fork_session", ("a", 1.5), {}, TypeError, "thread_id"),
    ("fork_session", ("a", ""), {}, ValueError, "thread_id"),
    ("fork_session", ("a", "t"), {"checkpoint_id": "1f0"}, ValueError, "checkpoint_id"),
    ("fork_session", ("a", "t"), {"checkpoint_id": "x' OR 1=1"}, ValueError, "checkpoint_id"),
    ("fork_session", ("a", "t"), {"checkpoint_id": ""}, ValueError, "checkpoint_id"),
    ("fork_session", ("a", "t"), {"checkpoint_id": "\0"}, ValueError, "checkpoint_id"),
    ("fork_session", ("a", "t"), {"checkpoint_id": 5}, TypeError, "checkpoint_id"),
    ("fork_session", ("a", "t"), {"title": " "}, ValueError, "title"),
    ("fork_session", ("a", "t"), {"title": "x" * 256}, ValueError, "title"),
    ("fork_session", ("a", "t"), {"title": 5}, TypeError, "title"),
    # Erasure.
    ("delete_user", (None,), {}, TypeError, "user_id"),
    ("delete_user", ("",), {}, ValueError, "user_id"),
    ("delete_user", ("x" * 256,), {}, ValueError, "user_id"),
    # Retention.
    ("purge_sessions", (), {}, ValueError, "idle_for, older_than, active or unused"),
    ("purge_sessions", (), {"interrupted": True}, ValueError, "active or unused"),
    ("purge_sessions", (), {"unused": False}, ValueError, "or unused=True"),
    ("purge_sessions", (), {"unused": 1}, TypeError, "unused"),
    ("purge_sessions", (), {"idle_for": -DAY}, ValueError, "idle_for"),
    ("purge_sessions", (), {"older_than": -DAY / 10**9}, ValueError, "older_than"),
    ("purge_sessions", (), {"idle_for": 30}, TypeError, "idle_for"),
    ("purge_sessions", (), {"older_than": "30 days"}, TypeError, "older_than"),
    ("purge_sessions", (), {"active": 0}, TypeError, "active"),
    ("purge_sessions", (), {"active": "no"}, TypeError, "active"),
    ("purge_sessions", (), {"idle_for": 0 * DAY, "interrupted": 1}, TypeError, "interrupted"),
    ("purge_sessions", (), {"idle_for": 0 * DAY, "dry_run": None}, TypeError, "dry_run"),
    ("purge_sessions", (), {"idle_for": 0 * DAY, "batch_size": 0}, ValueError, "batch_size"),
    ("purge_sessions", (), {"idle_for": 0 * DAY, "batch_size": -5}, ValueError, "batch_size"),
    ("purge_sessions", (), {"idle_for": 0 * DAY, "batch_size": 10**6}, ValueError, "batch_size"),
    ("purge_sessions", (), {"idle_for": 0 * DAY, "batch_size": "2"}, TypeError, "batch_size"),
    ("purge_sessions", (), {"idle_for": 0 * DAY, "on_progress": 5}, TypeError, "on_progress"),
    ("purge_sessions", (), {"idle_for": 0 * DAY, "on_progress": ""}, TypeError, "on_progress"),
    # Adoption.
    ("adopt_session", (None, "plain"), {}, TypeError, "user_id"),
    ("adopt_session", ("a", None), {}, TypeError, "thread_id"),
    ("adopt_session", ("a", "plain"), {"title": ""}, ValueError, "title"),
    ("adopt_session", ("a", "plain"), {"title": 5}, TypeError, "title"),
    ("backfill", (), {"batch_size": 0}, ValueError, "batch_size"),
    ("backfill", (), {"batch_size": 10**6}, ValueError, "batch_size"),
    ("backfill", (), {"batch_size": 1.5}, TypeError, "batch_size"),
    ("backfill", (), {"on_progress": "yes"}, TypeError, "on_progress"),
    ("backfill", (), {"on_progress": False}, TypeError, "on_progress"),
    # Preferences.
    ("get_preferences", (None,), {}, TypeError, "user_id"),
    ("update_preferences", ("", {}), {}, ValueError, "user_id"),
    ("update_preferences", ("a", None), {}, TypeError, "changes"),
    ("update_preferences", ("a", [1]), {}, TypeError, "changes"),
    ("update_preferences", ("a", {1: 2}), {}, TypeError, "changes"),
    ("update_preferences", ("a", {"x": {1}}), {}, TypeError, "changes"),
    ("update_preferences", ("a", {"x": {1, 2}}), {}, TypeError, "changes"),
    ("update_preferences", ("a", {"x": float("inf")}), {}, ValueError, "changes"),
    ("update_preferences", ("a", {"x": "\0"}), {}, ValueError, "changes"),
    ("update_preferences", ("a", {"\0": None}), {}, ValueError, "changes"),
    ("update_preferences", ("a", {"\ud800": None}), {}, ValueError, "changes"),
    ("update_preferences", ("a", deep(40)), {}, ValueError, "changes"),
    # Listings, and metadata.
    ("list_sessions", ("a",), {"status": "busy"}, ValueError, "idle.*interrupted.*error"),
    ("list_sessions", ("a",), {"status": ""}, ValueError, "status"),
    ("list_sessions", ("a",), {"status": ["idle"]}, (TypeError, ValueError), "status"),
    ("list_sessions", ("a",), {"metadata": deep(40)}, ValueError, "metadata"),
    ("list_sessions", ("a",), {"metadata": "{}"}, TypeError, "metadata"),
    ("list_sessions", ("a",), {"metadata": {"x": b"y"}}, TypeError, "metadata"),
    ("update_session", ("a", {"metadata": deep(40)}), {}, ValueError, "metadata"),
    ("update_session", ("a", {"title": "x", "thread_id": "y"}), {}, ValueError, "thread_id"),
    ("update_session", ("a", {"title": "x", "user_id": "b"}), {}, ValueError, "user_id"),
    ("update_session", ("a", {"title": "x", "id": 7}), {}, ValueError, "'id'"),
    ("update_session", ("a", {"preferences": {}}), {}, ValueError, "preferences"),
]


@pytest.mark.parametrize(("method", "args", "kwargs", "error", "named"), WRONG, ids=repr)
async def test_a_wrong_argument_is_named(
    chat: Chat,
    db: Connection,
    method: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: Any,
    named: str,
) -> None:
    """Bad input gets an error that names the argument, and changes nothing in any table."""
    await chat.say("one", user_id="a", thread_id="t")
    await chat.say("one", thread_id="plain")
    await chat.session("update_preferences", "a", {"x": 1})
    before = everything(db)
    with pytest.raises(error, match=named):
        await chat.session(method, *args, **kwargs)
    assert everything(db) == before


@pytest.mark.parametrize("user_id", [None, "", 5.0, "x" * 256], ids=repr)
async def test_an_export_names_a_wrong_user(chat: Chat, user_id: Any) -> None:
    """An export of what is no user id says so."""
    with pytest.raises((TypeError, ValueError), match="user_id"):
        await exported(chat, user_id)


SAVERS: list[Wrong] = [
    ("copy_thread", (None, "x"), {}, TypeError, "source_thread_id"),
    ("copy_thread", ("t", 1.5), {}, TypeError, "target_thread_id"),
    ("copy_thread", ("t", ""), {}, ValueError, "target_thread_id"),
    ("copy_thread", ("t", "x" * 256), {}, ValueError, "target_thread_id"),
    ("copy_thread", ("t", "t"), {}, ValueError, "'t'"),
    ("delete_for_runs", ("run",), {}, TypeError, "run_ids"),
    ("delete_for_runs", (None,), {}, TypeError, "run_ids"),
    ("prune", ("t",), {"strategy": "delete"}, TypeError, "thread_ids"),
    ("prune", (["t"],), {"strategy": "DELETE"}, ValueError, "strategy"),
    ("prune", (["t"],), {"strategy": None}, TypeError, "strategy"),
]


@pytest.mark.parametrize(("method", "args", "kwargs", "error", "named"), SAVERS, ids=repr)
async def test_a_savers_wrong_argument_is_named(
    chat: Chat,
    db: Connection,
    method: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: Any,
    named: str,
) -> None:
    """So do the savers' operators' methods."""
    await chat.say("one", user_id="a", thread_id="t")
    before = everything(db)
    with pytest.raises(error, match=named):
        await chat.call(chat.saver, method, *args, **kwargs)
    assert everything(db) == before


async def test_the_longest_duration_is_refused_by_name(chat: Chat, db: Connection) -> None:
    """A duration that reaches back before PostgreSQL's calendar is named, and purges nothing."""
    await chat.say("one", user_id="a")
    before = everything(db)
    for name in ("idle_for", "older_than"):
        with pytest.raises(ValueError, match=name):
            await chat.session("purge_sessions", **{name: timedelta.max})
    assert everything(db) == before


async def test_progress_is_told_in_snapshots(chat: Chat) -> None:
    """What `on_progress` gets is what was so then, and changing it changes no count."""
    for thread_id in "abc":
        await chat.say("one", user_id="alice", thread_id=thread_id)
    seen: list[Any] = []

    def spoil(counts: Any) -> None:
        seen.append(counts)

    given: dict[str, Any] = {"idle_for": 0 * DAY, "batch_size": 1, "on_progress": spoil}
    await chat.session("purge_sessions", **given)
    assert [counts["purged"] for counts in seen] == [1, 2, 3]


def test_a_fork_is_on_a_thread_of_its_own_where_a_factory_repeats_itself(url: str) -> None:
    """A fork whose new thread id is in use gets the default one."""
    with SessionSaver(url, thread_id_factory=lambda user_id: "same") as saver:
        made = saver.sessions.create_user_session("alice")
        fork = saver.sessions.fork_session("alice", made.thread_id)
        assert (made.thread_id, fork.thread_id.startswith("alice_")) == ("same", True)
