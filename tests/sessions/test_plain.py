"""Strict JSON of whatever a conversation holds."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from langgraph_sessions.sessions.plain import DEEPEST, Plain


class Colour(Enum):
    """A choice."""

    RED = "red"


class Point(NamedTuple):
    """A pair."""

    x: int
    y: int


@dataclasses.dataclass
class Trip:
    """What a state may hold."""

    to: str
    at: Any = None


class Model(BaseModel):
    """What a state may hold."""

    data: Any = None


AT = datetime(2026, 1, 2, tzinfo=UTC)
KEPT = [
    (None, None),
    (True, True),
    (2**64, 2**64),
    (1.5, 1.5),
    ("Grüße 👩‍👩‍👧 \u2028", "Grüße 👩‍👩‍👧 \u2028"),
    (Colour.RED, "red"),
    (Point(1, 2), [1, 2]),
    ((1, [2]), [1, [2]]),
    ({1}, [1]),
    ({1: "a", Colour.RED: "b"}, {"1": "a", "Colour.RED": "b"}),
    (Trip("Rome", AT), {"to": "Rome", "at": "2026-01-02T00:00:00+00:00"}),
    (Model(data=b"\xff"), {"data": "/w=="}),
    (b"\xff", "/w=="),
    (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
    (Decimal("1.10"), "1.10"),
    (np.float32(0.5), 0.5),
    (np.array([[1, 2]]), [[1, 2]]),
]
REPLACED = [
    (math.nan, None),
    ({"a": [math.inf, -math.inf]}, {"a": [None, None]}),
    (np.array([math.nan]), [None]),
    ("a\0b", "a\ufffdb"),
    ({"\0": 1}, {"\ufffd": 1}),
    ("a\ud800b\udfff", "a\ufffdb\ufffd"),
    (1 << 5000, hex(1 << 5000)),
]


@pytest.mark.parametrize(("value", "plain"), KEPT, ids=repr)
def test_what_json_has_a_word_for_is_kept(value: Any, plain: Any) -> None:
    """Objects become what they are made of, in JSON's words."""
    made = Plain()
    assert made(value) == plain
    assert not made.replaced


@pytest.mark.parametrize(("value", "plain"), REPLACED, ids=repr)
def test_what_json_has_no_word_for_is_replaced(value: Any, plain: Any) -> None:
    """And it is known that something was."""
    made = Plain()
    assert made(value) == plain
    assert made.replaced


def test_what_nests_too_deep_ends_in_text() -> None:
    """So does what holds itself: nothing is endless."""
    endless: list[Any] = []
    endless.append(endless)
    made = Plain()
    text = json.dumps(made(endless))
    assert (text.count("["), made.replaced) == (DEEPEST, True)


_VALUES = st.recursive(
    st.none() | st.floats() | st.text(st.characters()) | st.integers() | st.binary(),
    lambda each: st.lists(each) | st.dictionaries(st.text(st.characters()) | st.integers(), each),
)


@given(_VALUES)
def test_it_is_strict_json(value: Any) -> None:
    """Whatever is given, each parser can read it, and no NUL or half character is in it."""
    text = json.dumps(Plain()(value), allow_nan=False)
    assert "\\u0000" not in text.replace("\\\\", "")
    json.loads(text)
    json.dumps(Plain()(value), ensure_ascii=False).encode()
