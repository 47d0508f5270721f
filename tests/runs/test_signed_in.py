"""Who is signed in, as the LangGraph Agent Server says it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from langgraph_sessions import SessionNotFoundError
from langgraph_sessions.runs.request import Request
from tests.support import config


def user_of(**configurable: Any) -> str | None:
    """Return whose run it is."""
    return Request.of(config(**configurable)).user_id


@pytest.mark.parametrize("nobody", [None, "", {}, {"identity": ""}, SimpleNamespace(identity="")])
def test_a_server_without_authentication_names_nobody(nobody: Any) -> None:
    """An empty id, and a user without an identity, are as if they were not there."""
    server = {"langgraph_auth_user_id": "", "langgraph_auth_user": nobody, "user_id": ""}
    assert user_of(**server, thread_id="t") is None
    assert user_of(**{**server, "user_id": "alice"}) == "alice"


@pytest.mark.parametrize("user", [{"identity": "alice"}, SimpleNamespace(identity="alice")])
def test_the_signed_in_users_identity_is_whose_run_it_is(user: Any) -> None:
    """It stands for user_id, as an object or a dict, alone and beside one that agrees."""
    assert user_of(langgraph_auth_user=user) == "alice"
    assert user_of(langgraph_auth_user=user, langgraph_auth_user_id="alice") == "alice"
    assert user_of(langgraph_auth_user=user, langgraph_auth_user_id="") == "alice"
    assert user_of(langgraph_auth_user=user, user_id="alice") == "alice"


@pytest.mark.parametrize("key", ["user_id", "langgraph_auth_user_id"])
def test_a_client_that_names_another_is_refused(key: str) -> None:
    """Where two of them are there and differ, the run is refused."""
    given = {"langgraph_auth_user": {"identity": "alice"}, key: "bob"}
    with pytest.raises(SessionNotFoundError):
        user_of(**given)


def test_a_misspelt_key_is_told() -> None:
    """A configurable with neither user nor thread gives the parent's error, with what it has."""
    with pytest.raises(KeyError, match="thread_id") as caught:
        user_of(userid="alice", __pregel_x=1)
    assert "['userid']" in caught.value.__notes__[0]
