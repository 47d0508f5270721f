"""Random histories: whatever users do, the product shows what the contract says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.drawing import SAVERS
from tests.model.machine import Machine
from tests.model.product import Product

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


def test_histories_are_what_the_contract_says(product: Product) -> None:
    """In 50 histories of 30 steps, both savers show what the model says, after each step."""
    histories(product, 50, first=0)


@pytest.mark.long
@pytest.mark.parametrize("part", range(1, 21))
def test_many_histories_are_what_the_contract_says(product: Product, part: int) -> None:
    """The same, in 10,000 histories, by twenty seeds."""
    histories(product, 500, first=part)
