"""What a run saves while a save of its is under way goes in one round trip, or one by one."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
from langgraph.checkpoint.serde.types import INTERRUPT

from langgraph_sessions.errors import ConcurrentRunError
from langgraph_sessions.plans import Done, Plan, fail, proceed
from langgraph_sessions.runs.together import MOST_ROWS, SaveTogether
from langgraph_sessions.runs.turns import MOST, Turns
from tests.runs.saves import checkpoint, made, new, save, wrote
from tests.support import PATIENCE

OUTPUT = ("messages", "hello")


# --- What goes together -------------------------------------------------------------------------


def test_plain_saves_of_a_run_go_together() -> None:
    """In their order, and guarded by the last that others are to notice."""
    run = made()
    saves = [wrote(run, OUTPUT), save(run, checkpoint("c1")), wrote(run, OUTPUT)]
    joined = SaveTogether.of(saves)
    assert joined is not None
    assert joined.guard == saves[1].guard_thread()
    apart = [each.sql for one in saves for each in one.saved()]
    assert [each.sql for each in joined.saved] == apart


def test_writes_alone_leave_no_name() -> None:
    """As each of them would not."""
    run = made()
    joined = SaveTogether.of([wrote(run, OUTPUT), wrote(run, OUTPUT)])
    assert joined is not None
    assert not joined.guard.named


def test_what_touches_the_session_goes_by_itself() -> None:
    """A run's first save, a question, what is saved with a title, and a stop."""
    run, untitled = made(), made(title_source="default")
    untitled.words.title = "Hello"
    plain = wrote(run, OUTPUT)
    for other in (
        save(new(), checkpoint("c1")),
        wrote(run, (INTERRUPT, ["?"])),
        save(untitled, checkpoint("c1")),
        wrote(run, ("__error__", asyncio.CancelledError())),
    ):
        assert SaveTogether.of([plain, other]) is None


def test_many_rows_go_by_themselves() -> None:
    """Statements of many rows are dear to plan."""
    run = made()
    few = [wrote(run, *[OUTPUT] * (MOST_ROWS // 2)) for _ in range(2)]
    assert SaveTogether.of(few) is not None
    assert SaveTogether.of([*few, wrote(run, OUTPUT)]) is None


# --- Turns --------------------------------------------------------------------------------------

NAME: ContextVar[str] = ContextVar("name")


class Asker:
    """Answers what plans ask, one thing at a time, and notes it."""

    def __init__(self) -> None:
        """Refuse nothing."""
        self.asked: list[Any] = []
        self.refuses: tuple[Any, ...] = ()

    async def run(self, plan: Plan[Any]) -> Any:
        """Run *plan*."""
        step = proceed(plan)
        while not isinstance(step, Done):
            self.asked.append(step)
            await asyncio.sleep(0)
            refused = ConcurrentRunError("t") if step in self.refuses else None
            step = fail(plan, refused) if refused else proceed(plan)
        return step.value


def saving(name: str) -> Plan[Any]:
    """Save *name*, and return who did."""
    began = NAME.get()
    yield name
    return began, NAME.get()


async def at_once(asker: Asker, *names: str, join: Any = None) -> list[Any]:
    """Have *names* saved at once, each by a task of that name."""
    turns = Turns()

    async def one(name: str) -> Any:
        NAME.set(name)
        return await turns.aturn(saving(name), asker.run, join or (lambda asked: "".join(asked)))

    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*map(one, names), return_exceptions=True)


async def test_what_waits_goes_together() -> None:
    """All that came while the first was under way, some at a time; each ends as its own."""
    asker = Asker()
    names = "abcdefg"[: MOST + 2]
    assert await at_once(asker, *names) == [(name, name) for name in names]
    assert asker.asked == ["a", names[1 : MOST + 1], names[MOST + 1]]


async def test_what_waited_goes_with_what_begins_when_another_is_saved() -> None:
    """LangGraph begins to save a checkpoint a little after the one before is saved."""
    asker, turns = Asker(), Turns()

    async def one(name: str) -> Any:
        NAME.set(name)
        return await turns.aturn(saving(name), asker.run, lambda asked: "".join(asked))

    async def first_and_next() -> None:
        await one("a")
        await asyncio.sleep(0)
        await one("c")

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(first_and_next(), one("b"))
    assert asker.asked == ["a", "bc"]


async def test_what_does_not_go_together_goes_one_by_one() -> None:
    """In the order in which it came."""
    asker = Asker()
    assert await at_once(asker, *"abc", join=lambda asked: None) == [(n, n) for n in "abc"]
    assert asker.asked == ["a", "b", "c"]


async def test_what_is_refused_together_is_told_each_its_own() -> None:
    """What can be saved is."""
    asker = Asker()
    asker.refuses = ("bcd", "c")
    first, second, third, fourth = await at_once(asker, *"abcd")
    assert [first, second, fourth] == [(name, name) for name in "abd"]
    assert isinstance(third, ConcurrentRunError)
    assert asker.asked == ["a", "bcd", "b", "c", "d"]


async def test_one_that_fails_before_it_asks_leaves_the_others() -> None:
    """They go one by one."""

    def failing() -> Plan[Any]:
        raise ZeroDivisionError
        yield

    asker, turns = Asker(), Turns()
    NAME.set("t")
    plans = [saving("a"), failing(), saving("b")]
    async with asyncio.timeout(PATIENCE):
        found = await asyncio.gather(
            *(turns.aturn(plan, asker.run, "".join) for plan in plans), return_exceptions=True
        )
    assert [type(each) for each in found] == [tuple, ZeroDivisionError, tuple]
    assert asker.asked == ["a", "b"]


@pytest.mark.parametrize("moment", range(6))
async def test_who_is_cancelled_in_anothers_turn_takes_nobody_along(moment: int) -> None:
    """The others are saved all the same."""
    asker, turns = Asker(), Turns()
    NAME.set("t")
    tasks = [
        asyncio.create_task(turns.aturn(saving(name), asker.run, lambda asked: "".join(asked)))
        for name in "abc"
    ]
    for _ in range(moment):
        await asyncio.sleep(0)
    tasks[1].cancel()
    async with asyncio.timeout(PATIENCE):
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [found[0], found[2]] == [("t", "t")] * 2
    assert "c" in "".join(asker.asked)
