"""PostgreSQL and memory answer alike, as far as memory can: one table of cases for the two."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import langgraph_sessions
from langgraph_sessions import SessionSaver, SessionsUnavailableError
from langgraph_sessions.outage.memory import Memory
from langgraph_sessions.outage.state import OUTAGE_LIMIT
from langgraph_sessions.plans import Asked, Question
from tests.outage import cases_of_saves, cases_of_sessions
from tests.outage.backends import Case, alike, asked, has_row, is_told, of_database, shown
from tests.outage.disagreements import DISAGREEMENTS

CASES = [*cases_of_sessions.CASES, *cases_of_saves.CASES]


def named(case: Case) -> str:
    """Return a case's name."""
    return case.__name__


def memory() -> Callable[[Question], Any]:
    """Return what asks a new memory."""
    return Memory(OUTAGE_LIMIT).answer


@pytest.fixture
def database(place: str) -> Iterator[Callable[[Question], Any]]:
    """What asks a clean database."""
    with SessionSaver(place) as saver:
        yield of_database(saver._database)


# --- The two ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=named)
def test_memory_answers_what_is_said(case: Case) -> None:
    """Each statement's answer is the one that the case says, or that memory cannot know."""
    for step, answer in zip(case(), asked(memory(), case), strict=True):
        said = SessionsUnavailableError if step.unknown else step.answers
        assert is_told(answer, said) or has_row(answer, said), (step.asks, answer)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_database_answers_the_same(case: Case, database: Callable[[Question], Any]) -> None:
    """PostgreSQL answers what the case says, and what memory does, but for ids and times."""
    found, held = asked(database, case), asked(memory(), case)
    for step, answer, in_memory in zip(case(), found, held, strict=True):
        assert is_told(answer, step.answers), (step.asks, answer)
        if not step.unknown:
            assert alike(in_memory, answer), (step.asks, shown(in_memory), shown(answer))


@pytest.mark.parametrize("case", DISAGREEMENTS, ids=named)
def test_the_database_answers_what_is_said(case: Case, database: Callable[[Question], Any]) -> None:
    """Where the two are known to disagree, PostgreSQL's answer is the one that is meant."""
    for step, answer in zip(case(), asked(database, case), strict=True):
        assert is_told(answer, step.answers), (step.asks, answer)


@pytest.mark.xfail(raises=AssertionError, strict=True)
@pytest.mark.parametrize("case", DISAGREEMENTS, ids=named)
def test_memory_should_answer_the_same(case: Case) -> None:
    """It does not yet."""
    for step, answer in zip(case(), asked(memory(), case), strict=True):
        assert is_told(answer, step.answers), (step.asks, answer)


# --- What has a case ----------------------------------------------------------------------------


def kinds(kind: type[Any] = Asked) -> Iterator[type[Any]]:
    """Yield all that this package may ask of a database; what Citus is asked in place of it not."""
    for each in kind.__subclasses__():
        yield from kinds(each)
        ours = each.__module__.startswith(langgraph_sessions.__name__)
        if ours and not inspect.isabstract(each) and ".citus." not in each.__module__:
            yield each


for module in pkgutil.walk_packages(langgraph_sessions.__path__, f"{langgraph_sessions.__name__}."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

STEPS = [step for case in CASES for step in case()]
ANSWERED = {type(step.asks) for step in STEPS if not step.unknown}
KINDS = sorted(set(kinds()), key=lambda kind: f"{kind.__module__}.{kind.__name__}")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ANSWERED])
def test_what_has_no_case_is_not_answered(kind: Any) -> None:
    """Whatever a case does not ask of memory is `SessionsUnavailableError` there.

    It is asked without any of its fields: what memory answers, it looks into.
    """
    with pytest.raises(SessionsUnavailableError):
        memory()(object.__new__(kind))
