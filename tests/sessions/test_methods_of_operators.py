"""The manager's methods about whole users, threads and databases, as plans."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint

from langgraph_sessions import AgentSessionManager, SessionNotFoundError
from langgraph_sessions.plans import Call, Give
from langgraph_sessions.runs.loading import LoadCheckpoint, LoadHistory
from langgraph_sessions.sessions import reading
from langgraph_sessions.sessions.deletion import DeleteUser
from langgraph_sessions.sessions.manager_upkeep import ManagerUpkeep
from langgraph_sessions.sessions.retention import PurgeBatch
from langgraph_sessions.sessions.transfer import TransferSessions
from langgraph_sessions.sessions.upkeep import AdoptSession
from langgraph_sessions.sql.listing import ListConversations
from langgraph_sessions.sql.sessions import ClaimTitle, GetSession, ReleaseTitle, SetModelTitle
from langgraph_sessions.sql.upkeep import (
    FirstInputs,
    GetPreferences,
    NextThreads,
    PlainThreads,
    ThreadOwner,
    UpdatePreferences,
)
from tests.plans import Answering
from tests.sessions.methods import HERS, ROW, SESSION, Method, call, case, uncovered
from tests.support import config

WEEK = timedelta(weeks=1)
GET = GetSession("alice", "t")
PREFERENCES = {"record": "preferences", "user_id": "alice", "preferences": {"a": 1}}
HER_SESSION = {"record": "session", **SESSION, "status": "idle"}
HER_THREAD = {"record": "thread", "thread_id": "p"}
SAID = CheckpointTuple(
    config(thread_id="t", checkpoint_ns="", checkpoint_id="c"),
    {**empty_checkpoint(), "channel_values": {"messages": [HumanMessage("Plan a trip", id="1")]}},
    {},
    None,
    [],
)
GIVEN = SAID._replace(
    checkpoint={**empty_checkpoint(), "channel_values": {"__start__": {"messages": ["In May"]}}}
)


class Whatever:
    """Equal to each serializer."""

    def __eq__(self, other: object) -> bool:
        """Say so."""
        return True

    __hash__ = None  # type: ignore[assignment]


def read(thread_id: str, checkpoint_id: str | None = None) -> LoadCheckpoint:
    """Return what reads a thread's messages, or a certain checkpoint of it."""
    where = reading.thread(thread_id, checkpoint_id)
    return LoadCheckpoint(None, where, Whatever(), by_manager=True)  # type: ignore[arg-type]


def history() -> LoadHistory:
    """Return what reads what is not in the checkpoint."""
    serde: Any = Whatever()
    return LoadHistory(None, SAID.config, serde, channels=[], by_manager=True)


def batch(after: int) -> PurgeBatch:
    """Return the batch of a purge that begins after that session."""
    options: Any = {"older_than": None, "active": None, "interrupted": False, "dry_run": False}
    return PurgeBatch(idle_for=WEEK, limit=100, after=after, **options)


# --- What each method does ----------------------------------------------------------------------

DOES = [
    case(
        "delete_user: everything of the user, and returns the counts",
        lambda sessions: sessions.delete_user("alice"),
        [{"sessions": 1}],
        [DeleteUser("alice")],
        {"sessions": 1},
    ),
    case(
        "export_user: preferences, sessions with what was said, threads without a session",
        lambda sessions: sessions.export_user("alice"),
        [
            *([{"preferences": {"a": 1}}], None),
            *([ROW], None, None, None),
            *([{"thread_id": "p"}], None, None, None),
        ],
        [
            *(GetPreferences("alice"), Give(PREFERENCES)),
            *(ListConversations(*HERS), Give(HER_SESSION), read("t"), read("t")),
            *(PlainThreads("alice"), Give(HER_THREAD), read("p"), read("p")),
        ],
        [PREFERENCES, HER_SESSION, HER_THREAD],
    ),
    case(
        "export_user: nothing",
        lambda sessions: sessions.export_user("alice"),
        [[], [], []],
        [GetPreferences("alice"), ListConversations(*HERS), PlainThreads("alice")],
        [],
    ),
    case(
        "purge_sessions: batch by batch, each from where the last one ended",
        lambda sessions: sessions.purge_sessions(idle_for=WEEK),
        [(7, 2, 1), (9, 1, 0), None],
        [batch(0), batch(7), batch(9)],
        {"purged": 3, "kept": 1},
    ),
    case(
        "purge_sessions: zeros",
        lambda sessions: sessions.purge_sessions(idle_for=WEEK),
        [None],
        [batch(0)],
        {"purged": 0, "kept": 0},
    ),
    case(
        "adopt_session: the user's own as it is",
        lambda sessions: sessions.adopt_session("alice", "t"),
        [[ROW]],
        [GET],
    ),
    case(
        "adopt_session: a thread of the user's, with a title",
        lambda sessions: sessions.adopt_session("alice", "t", title="Trip"),
        [[], [{"owner": "alice"}], [ROW]],
        [GET, ThreadOwner("t"), AdoptSession("alice", "t", "Trip", "user")],
    ),
    case(
        "adopt_session: a thread of nobody's, titled by what was said",
        lambda sessions: sessions.adopt_session("alice", "t"),
        [[], [{"owner": None}], [], SAID, {}, [ROW]],
        [
            *(GET, ThreadOwner("t"), FirstInputs("t"), read("t"), history()),
            AdoptSession("alice", "t", "Plan a trip", "message"),
        ],
    ),
    case(
        "adopt_session: titled by the first input with words, and no node's, if one was saved",
        lambda sessions: sessions.adopt_session("alice", "t"),
        [
            [],
            [{"owner": None}],
            [{"checkpoint_id": "1"}, {"checkpoint_id": "2"}],
            SAID,
            GIVEN,
            [ROW],
        ],
        [
            *(GET, ThreadOwner("t"), FirstInputs("t"), read("t", "1"), read("t", "2")),
            AdoptSession("alice", "t", "In May", "message"),
        ],
    ),
    case(
        "adopt_session: what cannot be read is adopted without a title",
        lambda sessions: sessions.adopt_session("alice", "t"),
        [[], [{"owner": None}], [], ValueError("encrypted"), [ROW]],
        [
            *(GET, ThreadOwner("t"), FirstInputs("t"), read("t")),
            AdoptSession("alice", "t", "New Chat", "default"),
        ],
    ),
    case(
        "backfill: threads whose checkpoints name somebody, and have no session",
        lambda sessions: sessions.backfill(batch_size=4),
        [
            [
                {"thread_id": "a", "has_session": True, "owner": None},
                {"thread_id": "b", "has_session": False, "owner": "alice"},
                {"thread_id": "c", "has_session": False, "owner": None},
                {"thread_id": "d", "has_session": False, "owner": " "},
            ],
            *([], None, [ROW]),
            [],
        ],
        [
            NextThreads("", 4),
            *(FirstInputs("b"), read("b"), AdoptSession("alice", "b", "New Chat", "default")),
            NextThreads("d", 4),
        ],
        {"seen": 4, "adopted": 1, "unowned": 2, "skipped": 0},
    ),
    case(
        "backfill: what was deleted meanwhile, or has too long an id, is skipped",
        lambda sessions: sessions.backfill(),
        [
            [{"thread_id": name, "has_session": False, "owner": "alice"} for name in "ab"],
            *([], None, []),
            *([], None, psycopg.DataError("too long")),
            [],
        ],
        [
            NextThreads("", 100),
            *(FirstInputs("a"), read("a"), AdoptSession("alice", "a", "New Chat", "default")),
            *(FirstInputs("b"), read("b"), AdoptSession("alice", "b", "New Chat", "default")),
            NextThreads("b", 100),
        ],
        {"seen": 2, "adopted": 0, "unowned": 0, "skipped": 2},
    ),
    case(
        "call_titler: nobody is asked where somebody was before, or a title was given",
        lambda sessions: sessions.call_titler(str, "t"),
        [[]],
        [ClaimTitle("t")],
        None,
    ),
    case(
        "get_preferences: the user's",
        lambda sessions: sessions.get_preferences("alice"),
        [[{"preferences": {"a": 1}}]],
        [GetPreferences("alice")],
        {"a": 1},
    ),
    case(
        "get_preferences: {}",
        lambda sessions: sessions.get_preferences("alice"),
        [[]],
        [GetPreferences("alice")],
        {},
    ),
    case(
        "update_preferences: a merge; `None` removes a key",
        lambda sessions: sessions.update_preferences("alice", {"a": 1, "b": None}),
        [[{"preferences": {"a": 1}}]],
        [UpdatePreferences("alice", {"a": 1}, ["b"])],
        {"a": 1},
    ),
    case(
        "transfer_sessions: all of a user's",
        lambda sessions: sessions.transfer_sessions("guest", "alice"),
        [2],
        [TransferSessions("guest", "alice")],
        2,
    ),
    case(
        "transfer_sessions: one",
        lambda sessions: sessions.transfer_sessions("guest", "alice", thread_id="t"),
        [1],
        [TransferSessions("guest", "alice", "t")],
        1,
    ),
]


@pytest.mark.parametrize(("method", "answers", "asked", "result"), DOES)
def test_what_a_method_does(
    method: Method, answers: list[Any], asked: list[Any], result: Any
) -> None:
    """It asks this, in this order, and returns what the answers say."""
    assert call(method, *answers) == (result, asked)


def test_every_method_of_operators_has_its_case() -> None:
    """A new one is to be said here, too."""
    assert uncovered(DOES, ManagerUpkeep) == set()


# --- Refused ------------------------------------------------------------------------------------

NOT_ADOPTED = [
    pytest.param([[], []], id="there is no such thread"),
    pytest.param([[], [{"owner": "bob"}]], id="its checkpoints name another user"),
    pytest.param([[], [{"owner": None}], None, []], id="it became another's meanwhile"),
]


@pytest.mark.parametrize("answers", NOT_ADOPTED)
def test_what_is_not_the_users_is_not_adopted(answers: list[Any]) -> None:
    """A thread is adopted by its owner, or by anybody if it is nobody's."""
    with pytest.raises(SessionNotFoundError) as caught:
        call(lambda sessions: sessions.adopt_session("alice", "t"), *answers)
    assert (caught.value.user_id, caught.value.thread_id) == ("alice", "t")


# --- On the way -----------------------------------------------------------------------------------


def progress(counts: object) -> None:
    """Stand for a caller's `on_progress`."""


def test_who_asks_is_told_after_each_batch() -> None:
    """`on_progress` is called with the counts so far, which are a copy, between the batches."""
    _, asked = call(
        lambda sessions: sessions.purge_sessions(idle_for=WEEK, on_progress=progress),
        *((7, 2, 1), None),
        *((9, 1, 0), None),
        None,
    )
    told = [step for step in asked if isinstance(step, Call)]
    assert told == [
        Call(progress, ({"purged": 2, "kept": 1},)),
        Call(progress, ({"purged": 3, "kept": 1},)),
    ]


def test_a_titler_is_asked_with_what_was_said_and_its_answer_is_set() -> None:
    """Claimed, read, called while no connection is held, and set unless somebody gave a title."""
    database = Answering([{"id": 1}], SAID, {}, '"A trip"', [ROW])
    sessions = AgentSessionManager(database)
    sessions.call_titler(str, "t")
    claim, *_, ask, titled = database.asked
    assert (claim, titled) == (ClaimTitle("t"), SetModelTitle("t", "A trip"))
    assert ask.arguments == (str, [HumanMessage("Plan a trip", id="1")])


@pytest.mark.parametrize("answer", ["", ' "" ', "\u200b"], ids=repr)
def test_an_empty_answer_of_a_titlers_is_a_failure(answer: str) -> None:
    """Nothing is set, and the session is left to another try."""
    database = Answering([{"id": 1}], None, answer, [])
    with pytest.raises(ValueError, match="no title"):
        AgentSessionManager(database).call_titler(str, "t")
    assert database.asked[-1] == ReleaseTitle("t")
    assert not any(isinstance(step, SetModelTitle) for step in database.asked)


def test_whatever_fails_leaves_the_session_to_another_try() -> None:
    """The titler, what reads the conversation, and what sets the title: the error is raised."""
    no = ZeroDivisionError("no")
    for answers in ([None, no], [no], [None, "A trip", no]):
        database = Answering([{"id": 1}], *answers, [])
        with pytest.raises(ZeroDivisionError):
            AgentSessionManager(database).call_titler(str, "t")
        assert database.asked[-1] == ReleaseTitle("t")
