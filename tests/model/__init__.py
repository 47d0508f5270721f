"""A model of the contract, and random histories in which the product has to do what it says."""

import pytest

pytest.register_assert_rewrite("tests.model.comparing", "tests.model.machine")
