"""Random histories: whatever users do, the product shows what the contract says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.drawing import SAVERS
from tests.model.machine import Machine
from tests.model.product import Product
from tests.model.records import DEFAULT

STEPS = 30


@pytest.fixture
def product(url: str) -> Iterator[Product]:
    """Both savers, on one database."""
    product = Product(url, SAVERS)
    yield product
    product.close()


def histories(product: Product, number: int, first: int) -> None:
    """Live through histories; print how to live through one again that shows a difference."""

    @seed(first)
    class Lived(Machine):
        pass

    Lived.product = product
    run_state_machine_as_test(
        Lived,
        settings=settings(
            max_examples=number,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


# Where histories once differed: how a thread is made anew.
ANEW: dict[str, Callable[[Machine], None]] = {
    "a run": lambda lived: lived.say_in_thread(1, "sync", 1, "hello", "async"),
    "a run of an agent": lambda lived: lived.say_in_thread(1, "sync a", 1, "hello", "async"),
    "the manager": lambda lived: lived.create(1, "async", "Plans", 1),
    "another user": lambda lived: lived.create(2, "async", "Plans", 1),
}


@pytest.mark.parametrize("anew", ANEW.values(), ids=ANEW)
@pytest.mark.parametrize("how", ["sync", "exit"])
@pytest.mark.parametrize("said", ["hello", "ask"])
@pytest.mark.parametrize(
    ("maker", "kind"), [("sync", "sync"), ("async b", "async b"), ("async b", "sync")]
)
def test_a_run_whose_thread_is_made_anew_is_overtaken_or_goes_on(
    product: Product, maker: str, kind: str, said: str, how: str, anew: Callable[[Machine], None]
) -> None:
    """It goes on where neither it nor anybody else has saved there; another's is no session.

    Nor is another agent's, where that is looked at.
    """
    Machine.product = product
    lived = Machine()
    lived.create(1, maker, "Plans", 1)
    lived.begin(1, kind, 0, said, how, title=None)
    lived.delete_user(1, "sync")
    anew(lived)
    lived.end(0)
    lived.teardown()


@pytest.mark.parametrize("title", ["Plans", DEFAULT])
@pytest.mark.parametrize("said", ["ask", "hello", "fail"])
def test_what_a_late_run_saves_goes_by_when_it_was_made(
    product: Product, said: str, title: str
) -> None:
    """An update made since then hides a question, as in LangGraph, and comes before an answer.

    The session is titled after what was said all the same.
    """
    Machine.product = product
    lived = Machine()
    lived.create(1, "sync", title, None)
    lived.begin(1, "sync", 0, said, "exit", title=None)
    lived.update_state("async", 0, None)
    lived.end(0)
    lived.teardown()


def test_a_session_that_was_another_users_at_its_end_is_made_anew(product: Product) -> None:
    """By a run of the user's that began before there was one, and saves when it is deleted."""
    Machine.product = product
    lived = Machine()
    lived.begin(1, "sync", None, "hello", "exit", title=None)
    lived.say(1, "async", None, "hello", "async")
    lived.transfer(1, 2, "sync", 0)
    lived.delete("sync", 0)
    lived.end(0)
    lived.teardown()


def test_of_sessions_used_at_the_same_time_the_newer_comes_first(product: Product) -> None:
    """In the future, where each of two users' came after the same one; by now all are one's."""
    Machine.product = product
    lived = Machine()
    lived.create(2, "sync", "Plans", None)
    lived.push_into_future(2, "sync")
    lived.fork("sync", 0, None, None)
    lived.transfer(2, 0, "sync", 0)
    lived.switch("sync", 0)
    lived.transfer(2, 0, "sync", None)
    lived.teardown()


def test_histories_are_what_the_contract_says(product: Product) -> None:
    """In 50 histories of 30 steps, both savers show what the model says, after each step."""
    histories(product, 50, first=0)


@pytest.mark.long
@pytest.mark.parametrize("part", range(1, 21))
def test_many_histories_are_what_the_contract_says(product: Product, part: int) -> None:
    """The same, in 10,000 histories, by twenty seeds."""
    histories(product, 500, first=part)
