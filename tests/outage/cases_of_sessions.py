"""Where runs go, and what the manager does: cases for both backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langgraph_sessions.sql.opening import (
    ContinueThread,
    FindCurrent,
    FindNext,
    OpenCurrent,
    OpenNew,
    OpenReserved,
    OpenThread,
    OpenTrusted,
)
from langgraph_sessions.sql.saving import PutSession
from langgraph_sessions.sql.sessions import (
    CreateGivenSession,
    CreateSession,
    DeactivateSessions,
    GetConversation,
    GetCurrent,
    GetSession,
    HasSession,
    SwitchSession,
    UpdateSession,
)
from tests.outage.backends import Case, Step

NONE: list[Any] = []
NEW = [{"asked_thread_id": "t", "session_id": None, "newest_thread_id": None}]
HERS = [{"session_user_id": "alice", "session_thread_id": "t", "session_is_active": True}]


def create(user_id: str = "alice", thread_id: str = "t", **given: Any) -> CreateSession:
    """Return what makes a session."""
    titled = {"title": "T", "title_source": "user"}
    return CreateSession(user_id=user_id, thread_id=thread_id, **{**titled, **given})


def made(user_id: str = "alice", thread_id: str = "t", **given: Any) -> Step:
    """Return the step that makes a session."""
    return Step(create(user_id, thread_id, **given), [{"thread_id": thread_id}])


def put(**given: Any) -> PutSession:
    """Return what puts alice's session as a save does, if not another's."""
    return PutSession(**{"user_id": "alice", "thread_id": "t", **given})


# --- Made, and found ----------------------------------------------------------------------------


def a_session_is_made_once() -> Sequence[Step]:
    titled = {"title": "T", "is_active": True, "metadata": {"a": [1]}}
    return [
        Step(create(metadata={"a": [1]}), [{"user_id": "alice", "thread_id": "t", **titled}]),
        Step(create(), NONE),
        Step(create("bob"), NONE),
        Step(GetSession("alice", "t"), [titled]),
        Step(GetConversation("alice", "t"), [titled]),
    ]


def a_session_is_found_by_its_user_alone() -> Sequence[Step]:
    return [
        made(),
        Step(GetSession("alice", "t"), [{"thread_id": "t"}]),
        Step(GetCurrent("alice"), [{"thread_id": "t"}]),
        Step(HasSession("alice"), [{"count": 1}]),
        Step(GetSession("bob", "t"), NONE, unknown=True),
        Step(SwitchSession("bob", "t"), NONE, unknown=True),
        Step(UpdateSession(user_id="bob", thread_id="t", title="His"), NONE, unknown=True),
        Step(DeactivateSessions("bob", "t"), [{"count": 0}], unknown=True),
        Step(GetSession("alice", "t"), [{"title": "T", "is_active": True}]),
    ]


def of_what_is_not_there_memory_does_not_know() -> Sequence[Step]:
    return [
        Step(GetCurrent("alice"), NONE, unknown=True),
        Step(FindCurrent(user_id="alice"), NONE, unknown=True),
        Step(HasSession("alice"), [{"count": 0}], unknown=True),
        Step(GetSession("alice", "x"), NONE, unknown=True),
        Step(SwitchSession("alice", "x"), NONE, unknown=True),
        Step(UpdateSession(user_id="alice", title="T"), NONE, unknown=True),
        Step(UpdateSession(user_id="alice", thread_id="x", title="T"), NONE, unknown=True),
        Step(DeactivateSessions("alice", "x"), [{"count": 0}], unknown=True),
        Step(DeactivateSessions("alice", None), [{"count": 0}], unknown=True),
        Step(OpenThread(user_id="alice", thread_id="t"), NEW, unknown=True),
        Step(OpenTrusted(user_id=None, thread_id="t"), NEW, unknown=True),
        Step(FindNext(user_id="alice", thread_id="t"), NEW, unknown=True),
        Step(
            CreateGivenSession(user_id="alice", thread_id="t", title="T", title_source="user"),
            [{"thread_id": "t"}],
            unknown=True,
        ),
    ]


# --- Changed ------------------------------------------------------------------------------------


def an_update_changes_what_it_names() -> Sequence[Step]:
    of_t: dict[str, Any] = {"user_id": "alice", "thread_id": "t"}
    return [
        made(metadata={"a": 1, "b": {"c": 2}}),
        Step(UpdateSession(**of_t), [{"title": "T"}]),
        Step(UpdateSession(**of_t, title="New"), [{"title": "New", "is_active": True}]),
        Step(UpdateSession(**of_t, metadata={}), [{"metadata": {"a": 1, "b": {"c": 2}}}]),
        Step(UpdateSession(**of_t, metadata={"b": 3}), [{"metadata": {"a": 1, "b": 3}}]),
        Step(
            UpdateSession(**of_t, metadata={"c": 4}, removed=["a"]),
            [{"metadata": {"b": 3, "c": 4}}],
        ),
        Step(UpdateSession(**of_t, is_active=False), [{"title": "New", "is_active": False}]),
        Step(OpenThread(**of_t), [{"session_title": "New", "session_title_source": "user"}]),
    ]


def an_update_without_a_thread_is_of_the_current_session() -> Sequence[Step]:
    return [
        made(),
        made(thread_id="u"),
        Step(UpdateSession(user_id="alice", title="New"), [{"thread_id": "u", "title": "New"}]),
        Step(GetSession("alice", "t"), [{"title": "T"}]),
    ]


def the_current_session_is_the_active_one_used_last() -> Sequence[Step]:
    return [
        made(),
        made(thread_id="u"),
        made("bob", "b"),
        Step(GetCurrent("alice"), [{"thread_id": "u"}]),
        Step(SwitchSession("alice", "t"), [{"thread_id": "t", "is_active": True}]),
        Step(GetCurrent("alice"), [{"thread_id": "t"}]),
        Step(UpdateSession(user_id="alice", thread_id="u", title="New"), [{"title": "New"}]),
        Step(GetCurrent("alice"), [{"thread_id": "t"}]),
        Step(DeactivateSessions("alice", "t"), [{"count": 1}]),
        Step(DeactivateSessions("alice", "t"), [{"count": 0}]),
        Step(GetCurrent("alice"), [{"thread_id": "u"}]),
        Step(FindCurrent(user_id="alice"), [{"session_thread_id": "u"}]),
        Step(OpenCurrent(user_id="alice"), [{"session_thread_id": "u"}]),
        Step(SwitchSession("alice", "t"), [{"is_active": True}]),
        Step(OpenCurrent(user_id="alice"), [{"session_thread_id": "t"}]),
        Step(GetCurrent("bob"), [{"thread_id": "b"}]),
    ]


# --- Opened -------------------------------------------------------------------------------------


def a_run_opens_the_current_session_or_none() -> Sequence[Step]:
    return [
        Step(OpenCurrent(user_id="alice"), NONE),
        made(),
        Step(OpenCurrent(user_id="alice"), HERS),
        Step(OpenCurrent(user_id="bob"), NONE),
        Step(DeactivateSessions("alice", "t"), [{"count": 1}]),
        Step(OpenCurrent(user_id="alice"), NONE),
    ]


def a_thread_is_opened_whoever_owns_it() -> Sequence[Step]:
    return [
        made(metadata={"a": 1}),
        Step(
            OpenThread(user_id="alice", thread_id="t"),
            [{**HERS[0], "session_title": "T", "session_metadata": {"a": 1}}],
        ),
        Step(OpenThread(user_id="bob", thread_id="t"), HERS, unknown=True),
        Step(OpenTrusted(user_id=None, thread_id="t"), HERS),
    ]


def the_next_run_is_found_in_the_current_session() -> Sequence[Step]:
    return [
        made(),
        Step(FindNext(user_id="alice", thread_id="n"), HERS),
    ]


def a_thread_that_nothing_has_is_new() -> Sequence[Step]:
    return [
        Step(OpenNew(user_id="alice", thread_id="t"), NEW),
        Step(ContinueThread(user_id="alice", thread_id="t"), NEW),
        Step(OpenNew(user_id="alice", thread_id="t"), NEW),
    ]


def two_first_runs_get_one_thread() -> Sequence[Step]:
    def reserve(thread_id: str, taken: str | None = None) -> OpenReserved:
        return OpenReserved(user_id="alice", thread_id=thread_id, taken=taken)

    return [
        Step(reserve("t"), NEW),
        Step(reserve("u"), NEW),
        Step(OpenReserved(user_id="bob", thread_id="b"), [{"asked_thread_id": "b"}]),
        Step(put(), [{"thread_id": "t"}]),
        Step(reserve("v"), HERS),
        Step(DeactivateSessions("alice", "t"), [{"count": 1}]),
        Step(reserve("w"), [{"asked_thread_id": "w", "session_id": None}]),
        Step(reserve("x", taken="w"), [{"asked_thread_id": "x", "session_id": None}]),
        Step(reserve("y", taken="w"), [{"asked_thread_id": "x", "session_id": None}]),
    ]


# --- Put ----------------------------------------------------------------------------------------


def a_session_is_put_with_its_title() -> Sequence[Step]:
    untitled = {"title": "New Chat", "title_source": "default"}
    said = {"title": "Said", "title_source": "message"}
    given = {"title": "Given", "title_source": "user"}
    return [
        Step(put(), [{**untitled, "is_active": True, "metadata": {}, "titler_tries": 0}]),
        Step(put(title="Too late"), [untitled]),
        Step(put(message_title="Said"), [said]),
        Step(put(message_title="Said later"), [said]),
        Step(put(title="Given", message_title="Said", first=True), [given]),
        Step(put(thread_id="u", title="Given", message_title="Said"), [given]),
        Step(put(thread_id="v", message_title="Said"), [said]),
        Step(GetSession("alice", "v"), [{"title": "Said"}]),
    ]


def only_a_first_save_activates() -> Sequence[Step]:
    return [
        Step(put(is_active=False), [{"is_active": False}]),
        Step(put(is_active=True), [{"is_active": False}]),
        Step(put(is_active=True, first=True), [{"is_active": True}]),
        Step(put(first=True), [{"is_active": True}]),
        Step(put(is_active=False, first=True), [{"is_active": False}]),
        Step(put(first=True), [{"is_active": False}]),
    ]


def a_first_save_makes_current() -> Sequence[Step]:
    return [
        made(),
        made(thread_id="u"),
        Step(put(), [{"thread_id": "t"}]),
        Step(GetCurrent("alice"), [{"thread_id": "u"}]),
        Step(put(first=True), [{"thread_id": "t"}]),
        Step(GetCurrent("alice"), [{"thread_id": "t"}]),
    ]


def a_job_makes_nothing_current() -> Sequence[Step]:
    """Neither a session that there is, nor a new one; nor is one active by it that was not."""
    job: dict[str, Any] = {"first": True, "make_current": False}
    return [
        made(),
        made(thread_id="u"),
        Step(put(**job), [{"thread_id": "t"}]),
        Step(GetCurrent("alice"), [{"thread_id": "u"}]),
        Step(put(thread_id="v", **job), [{"thread_id": "v", "is_active": True}]),
        Step(GetCurrent("alice"), [{"thread_id": "u"}]),
        Step(DeactivateSessions("alice", "v"), [{"count": 1}]),
        Step(put(thread_id="v", **job), [{"is_active": False}]),
        Step(put(user_id="bob", thread_id="b", **job), [{"is_active": True}]),
        Step(GetCurrent("bob"), [], unknown=True),
    ]


def a_new_session_is_not_on_another_users_thread() -> Sequence[Step]:
    """A thread id that the factory gives two users stays the first one's."""
    return [
        made(),
        Step(OpenNew(user_id="bob", thread_id="t"), [{"session_user_id": "alice"}]),
    ]


def a_first_session_is_not_on_another_users_thread() -> Sequence[Step]:
    """So it is where the second one has no session yet."""
    return [
        made(),
        Step(OpenReserved(user_id="bob", thread_id="t"), [{"session_user_id": "alice"}]),
    ]


def a_new_session_is_not_on_a_thread_that_the_user_has() -> Sequence[Step]:
    """A thread id that the factory gives twice is in use: no new session goes on in the old one."""
    return [
        made(),
        Step(OpenNew(user_id="alice", thread_id="t"), [{"session_user_id": "alice"}]),
    ]


# --- Agents -------------------------------------------------------------------------------------


def an_agent_finds_its_own_sessions_alone() -> Sequence[Step]:
    """Who has no agent finds all; an agent, neither another's nor nobody's."""
    soup, rome = {"thread_id": "t", "agent": "cook"}, {"thread_id": "u", "agent": "guide"}
    of_t: dict[str, Any] = {"user_id": "alice", "thread_id": "t"}
    return [
        made(agent="cook"),
        made(thread_id="u", agent="guide"),
        made(thread_id="v"),
        Step(GetCurrent("alice"), [{"thread_id": "v", "agent": None}]),
        Step(GetCurrent("alice", "cook"), [soup]),
        Step(GetCurrent("alice", "guide"), [rome]),
        Step(FindCurrent(user_id="alice", agent="cook"), [{"session_thread_id": "t"}]),
        Step(OpenCurrent(user_id="alice", agent="guide"), [{"session_thread_id": "u"}]),
        Step(OpenCurrent(user_id="alice", agent="waiter"), NONE),
        Step(FindNext(user_id="alice", agent="cook", thread_id="n"), HERS),
        Step(HasSession("alice", "cook"), [{"count": 1}]),
        Step(GetSession("alice", "t", "cook"), [soup]),
        Step(GetSession("alice", "t", "guide"), NONE),
        Step(GetSession("alice", "v", "guide"), NONE),
        Step(SwitchSession("alice", "t", "guide"), NONE),
        Step(UpdateSession(**of_t, agent="guide", title="Rome"), NONE),
        Step(UpdateSession(user_id="alice", agent="cook", title="Soup"), [soup]),
        Step(DeactivateSessions("alice", "t", "guide"), [{"count": 0}]),
        Step(DeactivateSessions("alice", "t", "cook"), [{"count": 1}]),
        Step(OpenCurrent(user_id="alice", agent="cook"), NONE),
        Step(GetSession("alice", "t"), [{"title": "Soup", "is_active": False}]),
    ]


def two_agents_first_runs_get_a_thread_each() -> Sequence[Step]:
    """Two of one agent's get one; a thread that another agent took is used up."""

    def reserve(thread_id: str, agent: str | None = None) -> OpenReserved:
        return OpenReserved(user_id="alice", thread_id=thread_id, agent=agent)

    return [
        Step(reserve("t", "cook"), NEW),
        Step(reserve("u", "guide"), [{"asked_thread_id": "u"}]),
        Step(reserve("v"), [{"asked_thread_id": "v"}]),
        Step(reserve("w", "cook"), NEW),
        Step(put(agent="cook"), [{"thread_id": "t", "agent": "cook"}]),
        Step(reserve("w", "cook"), HERS),
        Step(put(thread_id="u", agent="cook"), [{"agent": "cook"}]),
        Step(reserve("x", "guide"), [{"asked_thread_id": "x", "session_id": None}]),
        Step(reserve("y", "guide"), [{"asked_thread_id": "x", "session_id": None}]),
    ]


def a_session_keeps_its_agent() -> Sequence[Step]:
    """Who has no agent saves to it, and it stays the agent's."""
    return [
        Step(put(agent="cook"), [{"agent": "cook"}]),
        Step(put(), [{"agent": "cook"}]),
        Step(put(agent="cook", first=True), [{"agent": "cook"}]),
        Step(GetSession("alice", "t", "cook"), [{"agent": "cook"}]),
    ]


CASES: list[Case] = [
    a_session_is_made_once,
    a_session_is_found_by_its_user_alone,
    of_what_is_not_there_memory_does_not_know,
    an_update_changes_what_it_names,
    an_update_without_a_thread_is_of_the_current_session,
    the_current_session_is_the_active_one_used_last,
    a_run_opens_the_current_session_or_none,
    a_thread_is_opened_whoever_owns_it,
    the_next_run_is_found_in_the_current_session,
    a_thread_that_nothing_has_is_new,
    two_first_runs_get_one_thread,
    a_session_is_put_with_its_title,
    only_a_first_save_activates,
    a_first_save_makes_current,
    a_job_makes_nothing_current,
    a_new_session_is_not_on_another_users_thread,
    a_first_session_is_not_on_another_users_thread,
    a_new_session_is_not_on_a_thread_that_the_user_has,
    an_agent_finds_its_own_sessions_alone,
    two_agents_first_runs_get_a_thread_each,
    a_session_keeps_its_agent,
]
