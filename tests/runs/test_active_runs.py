"""A run on its session: what its saves say of it, and what its configs show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint

from langgraph_sessions import SessionNotFoundError, get_session
from langgraph_sessions.models import DEFAULT_TITLE
from langgraph_sessions.runs.active import ActiveRun, active_run, for_storage, owned, pin
from langgraph_sessions.runs.opening import open_run
from langgraph_sessions.runs.request import Request
from langgraph_sessions.runs.surroundings import RUN_KEY, RUNTIME_KEY
from langgraph_sessions.runs.thread_ids import default_thread_id
from tests.plans import opened, play, session_row
from tests.runs.saves import running
from tests.support import config

GIVEN = {"title": "Given", "new_session": True, "is_active": False}


def begin(row: dict[str, Any], **given: Any) -> ActiveRun:
    """Return the run of alice's that is opened on the thread of *row*."""
    request = Request.of(config(**{"user_id": "alice", "thread_id": "t", **given}))
    run = play(open_run(request, default_thread_id, None), [row]).result.run
    assert isinstance(run, ActiveRun)
    return run


def new(**given: Any) -> ActiveRun:
    """Return a run on a thread that nothing has."""
    return begin(opened(asked_thread_id="t", preferences={"tone": "formal"}), **given)


def on(columns: dict[str, Any], **given: Any) -> ActiveRun:
    """Return a run on a session with these *columns*."""
    return begin(opened(session_row(**columns)), **given)


# --- The session --------------------------------------------------------------------------------

# Whether the session is active, what `is_active` says, and what the run's first save sets.
ACTIVATES = [
    pytest.param(True, None, None, id="active: left alone, so that a deactivation stands"),
    pytest.param(True, True, None, id="active, True: left alone, too"),
    pytest.param(True, False, False, id="active, False: deactivated"),
    pytest.param(False, None, True, id="inactive: active again"),
    pytest.param(False, True, True, id="inactive, True: active again"),
    pytest.param(False, False, False, id="inactive, False: stays so"),
]


@pytest.mark.parametrize(("is_active", "given", "sets"), ACTIVATES)
def test_a_run_makes_its_session_active_again(
    is_active: bool, given: bool | None, sets: bool | None
) -> None:
    """What a run does to `is_active` is settled when it starts."""
    assert on({"is_active": is_active}, is_active=given).put(None, first=True).is_active is sets


@pytest.mark.parametrize("is_active", [None, True, False])
def test_a_new_session_is_active_unless_it_is_said(is_active: bool | None) -> None:
    """Nodes see a new session as its first save will make it."""
    run = new(is_active=is_active)
    assert run.session.is_active is (is_active is not False)
    assert run.put(None, first=True).is_active is (False if is_active is False else None)


def test_a_draft_is_what_the_first_save_makes() -> None:
    """A new session has the id 0, its title or the default one, and the user's preferences."""
    draft = new().session
    assert (draft.id, draft.user_id, draft.thread_id) == (0, "alice", "t")
    assert (draft.title, draft.preferences) == (DEFAULT_TITLE, {"tone": "formal"})
    assert new(title="Given").session.title == "Given"


def test_a_save_says_what_the_run_asks_for() -> None:
    """The run's instructions, and whether this is the save that carries them out."""
    run = on({}, title="Renamed")
    first = run.put("mine.0", first=True, own="c1")
    assert (first.first, first.title, first.known, first.own) == (True, "Renamed", True, "c1")
    assert not run.put("mine.1", first=False, own="c2").first


def test_a_session_that_was_made_is_known() -> None:
    """After its first save, a session that is gone was deleted, and is not brought back."""
    run = new()
    assert not run.put(None, first=True).known
    run.note_saved(session_row())
    assert run.put(None, first=False).known


def test_what_the_row_says_of_titles_is_what_the_run_knows() -> None:
    """Of a title that somebody or a model gave, and of titlers that failed, its words know."""
    default = {"title_source": "default"}
    assert on(default).words.untitled
    assert not on({"title_source": "message"}).words.untitled
    assert new().words.untitled
    for tries in range(4):
        assert on({**default, "titler_tries": tries}).words.may_ask == (tries < 3)
    for source in ("default", "message", "model", "user"):
        assert on({"title_source": source}).words.may_ask == (source in ("default", "message"))
    run = on(default)
    run.note_saved(session_row(title_source="user"))
    assert (run.words.untitled, run.words.may_ask) == (False, False)


def test_the_status_is_that_of_the_row_touched_last() -> None:
    """As it was when the run was opened, then as its saves leave it; a new session is idle."""
    run = on({"status": "interrupted"})
    assert (run.status, new().status) == ("interrupted", "idle")
    run.note_saved(session_row(status="error"))
    assert run.status == "error"
    run.note_saved({"status": "idle", "updated_at": datetime.now(UTC)})
    assert run.status == "idle"


def test_a_session_is_untitled_until_somebody_has_said_what_after() -> None:
    """Only where no title was given, and there are words that give one, is there one to set."""
    run = on({"title_source": "default"})
    assert not run.is_untitled
    run.words.title = "Said"
    assert run.is_untitled
    run.note_saved(session_row(title_source="message"))
    assert not run.is_untitled


def test_the_last_save_is_what_the_run_has_seen() -> None:
    """The session's last save, as it stood when the run was opened, is where the run begins."""
    assert on({"last_save": "other.3"}).claim.seen == "other.3"
    assert new().claim.seen is None


# --- Its configs --------------------------------------------------------------------------------


def test_nodes_read_the_thread_and_not_the_instructions() -> None:
    """The run's own configurable names the thread, and is the run's from then on."""
    run = new()
    configurable = {"user_id": "alice", RUNTIME_KEY: object(), **GIVEN}
    pinned = pin({"configurable": configurable}, run)
    assert pinned["configurable"] is configurable
    assert configurable["thread_id"] == "t"
    assert not set(GIVEN) & set(configurable)
    assert active_run(pinned) is run
    assert get_session(pinned) is run.session


def test_the_callers_own_config_is_never_changed() -> None:
    """A configurable that is not a run's is copied."""
    given = config(user_id="alice", **GIVEN)
    pinned = pin(given, new())
    assert given == config(user_id="alice", **GIVEN)
    assert pinned["configurable"]["thread_id"] == "t"


@pytest.mark.parametrize("other", [{"user_id": "bob"}, {"thread_id": "other"}], ids=repr)
def test_a_config_of_another_thread_is_no_part_of_the_run(other: dict[str, Any]) -> None:
    """A run is found by what it is on: a graph with another thread, or user, is its own."""
    run = new()
    place = {"user_id": "alice", "thread_id": "t", RUN_KEY: run}
    assert active_run(config(**place)) is run
    assert active_run(config(**{**place, **other})) is None
    with pytest.raises(SessionNotFoundError):
        get_session(config(**{**place, **other}))


def test_instructions_are_kept_in_no_metadata() -> None:
    """What LangGraph copied from the configurable is left out, other keys of that name are not."""
    given = config(user_id="alice", **GIVEN)
    given["metadata"] = {"user_id": "alice", **GIVEN, "topic": "x"}
    assert for_storage(given, new())["metadata"] == {"topic": "x"}
    given["metadata"] = {"title": "The application's own"}
    assert for_storage(given, new())["metadata"] == {"title": "The application's own"}
    assert given["configurable"]["title"] == "Given"


def test_what_was_loaded_can_be_used_to_run_again() -> None:
    """A checkpoint's configs name the user, so that going on from them is the user's run."""
    place = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c"}
    found = CheckpointTuple(config(**place), empty_checkpoint(), {}, config(**place), [])
    for goes_on in (False, True):
        hers = owned(found, running(), goes_on=goes_on)
        assert hers.config == hers.parent_config == config(user_id="alice", **place)
    assert found.config == config(**place)
    first = CheckpointTuple(config(**place), empty_checkpoint(), {}, None, [])
    assert owned(first, running()).parent_config is None


def test_the_thread_that_a_reader_loaded_says_whose_it_is() -> None:
    """To this process; a run's own configs name the user beside it, and hold a plain `str`."""
    place = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c"}
    found = CheckpointTuple(config(**place), empty_checkpoint(), {}, None, [])
    read, run = (owned(found, running(), goes_on=goes_on).config for goes_on in (False, True))
    assert read["configurable"]["thread_id"].user_id == "alice"
    assert type(run["configurable"]["thread_id"]) is str
