"""What is drawn: values of any kind, and those that are allowed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from langgraph_sessions import SessionError
from langgraph_sessions.models import Session

SHORT: Final = 40  # Examples of each kind in every run of the tests.

# Any characters, lone surrogates and NUL too, and what has a meaning in SQL, LIKE or JSON.
ANY_TEXT: Final = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.text("%_\\'\"$;-\0\ud800\u200b\u202e {}:|é👩‍👧", max_size=12),
    st.sampled_from(["'; DROP TABLE user_sessions; --", "%s", "%(user_id)s", "hers", "x" * 256]),
    st.integers(256, 4000).map(lambda size: "漢" * size),
)
SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=9),
    st.uuids(),
    ANY_TEXT,
)
ANYTHING: Final = st.one_of(
    SCALARS,
    st.integers(min_value=10**254, max_value=10**4000),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.timedeltas(),
    st.lists(SCALARS, max_size=3),
    st.dictionaries(SCALARS, SCALARS, max_size=3),
    st.builds(object),
    st.just(SessionError),
)

# What is text to PostgreSQL, and to us.
TEXT: Final = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=255
).filter(str.strip)
# PostgreSQL makes a whole number of a float without a fraction: equal up to 2**53.
NUMBERS: Final = st.integers(-(2**4000), 2**4000) | st.floats(-(2.0**53), 2.0**53)
WORDS: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
JSON: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS: Final = st.dictionaries(WORDS, JSON, max_size=5)


def profile(examples: int, *, shrinks: bool = True) -> settings:
    """Return how many examples are drawn; each touches a database, and takes what it takes.

    Where one takes long, what fails is not made smaller.
    """
    return settings(
        max_examples=examples,
        phases=[phase for phase in Phase if shrinks or phase != Phase.shrink],
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def rounds(long: int) -> Callable[[Any], Any]:
    """Return what has a test run short each time, and *long* with `-m long`."""
    return pytest.mark.parametrize(
        "examples",
        [
            pytest.param(SHORT, id="short"),
            pytest.param(long, id="long", marks=pytest.mark.long),
        ],
    )


def works_or_is_named(call: Callable[[], Any], *names: str) -> Any:
    """Return what *call* does, `None` where it refuses its arguments as it must.

    That is a `ValueError` or `TypeError` that names one of them, or a `SessionError`.
    """
    try:
        return call()
    except SessionError:
        return None
    except (ValueError, TypeError) as error:
        if not any(name in str(error) for name in names):
            raise AssertionError("it names no argument") from error
        return None


def is_whole(session: Session) -> None:
    """Check that a session can be shown, and be told to a client."""
    import json

    assert json.loads(json.dumps(dict(session)))["thread_id"] == session.thread_id
    assert repr(session)
    assert session._repr_html_()
