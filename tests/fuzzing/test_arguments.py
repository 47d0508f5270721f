"""Arguments of any kind to the session manager's methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_sessions import AgentSessionManager
from tests.doors.house import House
from tests.fuzzing.drawing import (
    ANYTHING,
    OBJECTS,
    TEXT,
    is_whole,
    profile,
    rounds,
    works_or_is_named,
)

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def manager(house: House) -> Iterator[AgentSessionManager]:
    """A manager on the house's database."""
    with_nothing_cached: dict[str, Any] = {"cache_ttl": 0}
    manager = AgentSessionManager(house.url, **with_nothing_cached)
    yield manager
    manager.close()


# Each method with the names of its arguments, all of which are drawn. Of alice's nobody says her
# name, so that nothing of hers may change.
METHODS: dict[str, tuple[str, ...]] = {
    "create_user_session": ("user_id", "title", "thread_id", "metadata"),
    "get_or_create_user_session": ("user_id", "title"),
    "get_current_user_session": ("user_id",),
    "get_session": ("user_id", "thread_id"),
    "run_config": ("user_id", "thread_id", "new_session", "title", "make_current"),
    "update_session": ("user_id", "updates", "thread_id"),
    "switch_session": ("user_id", "thread_id"),
    "deactivate_session": ("user_id", "thread_id"),
    "has_session": ("user_id",),
    "list_active_sessions": ("user_id",),
    "list_sessions": (
        *("user_id", "active", "title", "metadata", "status", "agent"),
        *("updated_after", "updated_before", "limit", "cursor"),
    ),
    "count_sessions": ("user_id", "active", "agent"),
    "get_messages": ("user_id", "thread_id", "checkpoint_id"),
    "list_checkpoints": ("user_id", "thread_id", "limit", "before"),
    "transfer_sessions": ("from_user", "to_user", "thread_id"),
    "fork_session": ("user_id", "thread_id", "checkpoint_id", "title"),
    "delete_session": ("user_id", "thread_id"),
    "adopt_session": ("user_id", "thread_id", "title"),
    "get_preferences": ("user_id",),
    "update_preferences": ("user_id", "changes"),
    "export_user": ("user_id",),
    "delete_user": ("user_id",),
}


@rounds(2000)
@pytest.mark.parametrize("method", METHODS)
def test_an_argument_works_or_is_named(
    method: str, examples: int, manager: AgentSessionManager, house: House
) -> None:
    """Whatever is given, the method works, or names what is wrong; nothing of hers changes."""
    names, before = METHODS[method], house.of_alice()
    # Some are right, so that what is wrong is not always the first.
    right = {
        "user_id": TEXT,
        "from_user": TEXT,
        "title": TEXT,
        "thread_id": TEXT,
        "metadata": OBJECTS,
    }
    drawn = {name: st.one_of(right.get(name, ANYTHING), ANYTHING) for name in names}
    optional = {name: drawn.pop(name) for name in names[2:]}

    @profile(examples)
    @given(st.fixed_dictionaries(drawn, optional=optional))
    def holds(arguments: dict[str, Any]) -> None:
        def call() -> Any:
            found = getattr(manager, method)(**arguments)
            return list(found) if method == "export_user" else found

        works_or_is_named(call, *names, "title", "is_active", "metadata")

    holds()
    assert house.of_alice() == before


@rounds(6000)
def test_what_is_put_in_comes_out(
    examples: int, manager: AgentSessionManager, house: House
) -> None:
    """Ids, titles and metadata, but for keys with `None`, come back by every way to read them."""
    before = house.of_alice()

    @profile(examples)
    @given(TEXT, TEXT, TEXT, OBJECTS)
    def holds(user: str, thread: str, title: str, metadata: dict[str, Any]) -> None:
        manager.delete_user(user)
        given_ = {"thread_id": f"{thread[:250]}!", "metadata": metadata}
        made = works_or_is_named(
            lambda: manager.create_user_session(user, title, **given_), "thread_id", "metadata"
        )
        if made is None:
            return
        is_whole(made)
        kept = {key: value for key, value in metadata.items() if value is not None}
        assert (made.user_id, made.title, made.metadata) == (user, title, kept)
        assert manager.get_session(user, made.thread_id) == made
        assert manager.list_sessions(user, title=title, metadata=kept).sessions == (made,)
        assert manager.update_session(user, {"title": user}).title == user
        manager.delete_session(user, made.thread_id)

    holds()
    assert house.of_alice() == before


@rounds(2000)
def test_preferences_come_back(examples: int, manager: AgentSessionManager) -> None:
    """But for those whose value is `None`, which go."""

    @profile(examples)
    @given(TEXT, OBJECTS)
    def holds(user: str, preferences: dict[str, Any]) -> None:
        manager.delete_user(user)
        kept = {key: value for key, value in preferences.items() if value is not None}
        assert manager.update_preferences(user, preferences) == kept
        assert manager.get_preferences(user) == kept

    holds()
