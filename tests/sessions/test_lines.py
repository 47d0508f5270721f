"""Lines within a process: who is served when, and what is left of a line."""

from __future__ import annotations

import gc

from langgraph_sessions.sessions.lines import Line, Lines, Place


def entered(line: Line, number: int) -> list[Place]:
    """Return places in a line, in order."""
    places = [Place() for _ in range(number)]
    for place in places:
        line.enter(place)
    return places


def served(places: list[Place]) -> list[bool]:
    """Say which of these are served."""
    return [place.done() for place in places]


def test_who_comes_first_is_served_first() -> None:
    """As many as there are to be had, then one for each that leaves."""
    line = Line(2)
    places = entered(line, 4)
    assert served(places) == [True, True, False, False]
    line.leave(places[1])
    assert served(places) == [True, True, True, False]
    line.leave(places[0])
    assert served(places) == [True, True, True, True]


def test_who_leaves_before_being_served_takes_nothing() -> None:
    """Neither a turn from those behind, nor room in the line."""
    line = Line(1)
    first, second, third = entered(line, 3)
    line.leave(second)
    line.leave(first)
    assert (second.done(), third.done()) == (False, True)
    assert not line._waiting


def test_who_leaves_twice_or_never_came_frees_nobody_elses_place() -> None:
    """What an interruption may lead to changes nothing."""
    line = Line(1)
    first, second, third = entered(line, 3)
    line.leave(first)
    line.leave(first)
    line.leave(Place())
    assert (second.done(), third.done()) == (True, False)


def test_a_line_is_there_as_long_as_somebody_stands_in_it() -> None:
    """All who want the same thing stand in one line, of which then nothing is left."""
    lines = Lines()
    line = lines.line("t", 1)
    assert lines.line("t", 1) is line
    assert lines.line("u", 1) is not line
    del line
    gc.collect()
    assert not lines._lines


def test_a_forked_child_stands_in_no_line() -> None:
    """It is the parent who does."""
    lines = Lines()
    line = lines.line("t", 1)
    entered(line, 1)
    lines.forked()
    (place,) = entered(lines.line("t", 1), 1)
    assert place.done()
