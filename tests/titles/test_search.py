"""Search in titles: blind to case in all languages, whatever the database's locale."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from langgraph_sessions import AgentSessionManager
from langgraph_sessions.titles import search

# A title, what finds it, and what does not.
FINDS = [
    ("Trip to ROME", ["rome", "TRIP", "to r"], ["roma", "T_ip", "%"]),
    ("Ägypten", ["ägypten", "ÄGYP", "ägYPT"], ["agypten"]),
    ("ägypten", ["Ägypten"], []),
    ("Straße", ["STRASSE", "strasse", "straße", "STRAẞE", "ß"], ["strase"]),
    ("STRASSE", ["Straße"], []),
    ("Flußschiff", ["flussschiff", "FLUSSSCHIFF", "ssSc"], ["ssss"]),
    ("Sß", ["sss", "ßs", "Sß"], ["ßß"]),
    ("ΟΔΟΣΑΚΙ", ["οδοσ", "οδος", "ΟΔΟΣ"], ["οδού"]),
    ("οδός", ["ΟΔΌΣ", "όσ"], []),
    ("Привет", ["ПРИВЕТ", "привет"], []),
    ("İstanbul", ["istanbul", "ISTANBUL", "İSTANBUL", "i̇stanbul", "\u0131stanbul"], ["stambul"]),
    ("ISPARTA", ["\u0131sparta", "isparta", "İSPARTA"], []),
    ("ﬁnal ﬃ", ["FINAL", "final", "ﬁ", "ffi"], []),
    ("東京への旅", ["東京", "京へ"], ["東旅"]),
    ("50%_a.* [x]+ \\d", ["%_A.*", "[X]+ \\D", "\\"], ["%%", "50%?", "[ax]"]),
    ("(?i)***=", ["***=", "(?I)"], ["i)*=", "****"]),
    ("👩‍👩‍👧 Familie", ["👩‍👩‍👧 f"], []),
]


@pytest.fixture
def manager(server: str) -> Iterator[AgentSessionManager]:
    """A manager on a database whose locale, `C`, knows ASCII alone."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE 'C'")
        manager = AgentSessionManager(make_conninfo(server, dbname=name))
        yield manager
        manager.close()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_search_is_blind_to_case_in_the_locale_c(manager: AgentSessionManager) -> None:
    """Titles of all scripts are found by PostgreSQL, and wildcards mean themselves."""
    for title, *_ in FINDS:
        manager.create_user_session("alice", title)
    for title, found, missed in FINDS:
        for text in found:
            assert title in [each.title for each in manager.list_sessions("alice", title=text)]
        for text in missed:
            assert title not in [each.title for each in manager.list_sessions("alice", title=text)]


@pytest.mark.parametrize(("title", "found", "missed"), FINDS)
def test_what_a_search_finds(title: str, found: list[str], missed: list[str]) -> None:
    """The expression alone says so, in Python's dialect too."""
    assert all(re.search(search.pattern(text), title) for text in found)
    assert not any(re.search(search.pattern(text), title) for text in missed)


@given(st.text(min_size=1), st.text(), st.text())
def test_a_title_is_found_by_each_part_of_it(part: str, before: str, after: str) -> None:
    """As it is written, and folded, whatever it holds."""
    title = before + part + after
    for text in (part, part.casefold()):
        assert re.search(search.pattern(text), title)


def test_all_characters_that_have_cases_are_known() -> None:
    """In whichever block they are: none was left out to save time."""
    cased = {at >> 12 for at in range(sys.maxunicode + 1) if chr(at).casefold() != chr(at)}
    assert cased == set(search._CASED)
