"""What plain LangGraph does with the graph of the model: checkpoints, questions and answers.

The graph has one node. It answers the last human message by what that says: to `ask …` it asks
one question, to `twice …` two, at `fail …` it fails, and anything else it repeats; at `nest …` it
calls the same graph before, on a thread of its own. What it says itself begins with `>`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

INPUT: Final = "__start__"
NODE: Final = "node"


@dataclass(frozen=True)
class Answer:
    """An answer to the question that waits."""

    text: str


Given = str | Answer | None  # A message; an answer; `None` goes on where a run stopped.


@dataclass(eq=False)
class Point:
    """A checkpoint, and what is saved beside it.

    Attributes:
        said: The messages.
        before: The checkpoint that it followed.
        source: What made it, in LangGraph's word.
        next: What is to run: `INPUT`, `NODE`, or nothing.
        given: The message that `INPUT` is to add.
        answers: The answers so far, if something was asked; else `None`.
        failed: Whether the node failed.
        reply: What the node said, if that is saved here.
        stopped: Whether the run was stopped here.
        id: What stands for its id, which copies of a conversation keep.
        made: When it was made; it may be saved later than one that was made after it.
    """

    said: tuple[str, ...]
    before: Point | None
    source: str = "loop"
    next: str = ""
    given: str = ""
    answers: tuple[str, ...] | None = None
    failed: bool = False
    reply: str | None = None
    stopped: bool = False
    id: object = field(default_factory=object)
    made: int = field(default_factory=itertools.count().__next__)

    @property
    def question(self) -> str | None:
        """The question that waits for an answer."""
        if self.answers is None or self.reply is not None:
            return None
        return question(last_human(self.said), len(self.answers))

    @property
    def status(self) -> str:
        """What a session waits for whose newest checkpoint this is."""
        return "interrupted" if self.question else "error" if self.failed else "idle"

    def line(self) -> Iterator[Point]:
        """Yield this checkpoint and those that led to it, newest first."""
        point: Point | None = self
        while point is not None:
            yield point
            point = point.before


def first_human(said: Sequence[str]) -> str | None:
    """Return the first human message."""
    return next((text for text in said if not text.startswith(">")), None)


def last_human(said: Sequence[str]) -> str:
    """Return the last human message; `nothing` if there is none."""
    return first_human(said[::-1]) or "nothing"


def question(text: str, number: int) -> str | None:
    """Return the node's question of this number about the message *text*, if it has as many."""
    asked = {"ask": 1, "twice": 2}.get(text.split()[0], 0)
    return f"{text} {number}?" if number < asked else None


def reply(text: str, answers: Sequence[str]) -> str:
    """Return what the node says to *text* when these are the answers to its questions."""
    return f"> got {' '.join(answers)}" if question(text, 0) else f"> re {text}"


def called(text: str) -> str | None:
    """Return the thread on which the node calls a graph at *text*, and what it says there."""
    return text.replace("nest", "nested") if text.startswith("nest ") else None


class Turn:
    """A run of the graph from the checkpoint *start* on.

    Attributes:
        at: The checkpoint that it has come to.
    """

    def __init__(
        self, given: Given, start: Point | None, *, copies: bool = False, late: bool = False
    ) -> None:
        """Begin.

        Args:
            given: What the run is given.
            start: The checkpoint.
            copies: Whether it goes on from a copy of the checkpoint, unless it is given more.
            late: Whether all is saved at the end (`durability="exit"`).
        """
        self.at, self._start, self._late = start, start, late
        self._new: list[Point] = []
        self._answers = (given.text,) if isinstance(given, Answer) else ()
        if isinstance(given, str):
            self._add(Point(start.said if start else (), start, "input", INPUT, given))
        elif given is None and start and copies:
            self._add(Point(start.said, start, "fork", start.next, start.given))
        if self.at and self.at.next == INPUT:
            self._add(Point((*self.at.said, self.at.given), self.at, next=NODE))

    def _add(self, point: Point) -> None:
        self._new.append(point)
        self.at = point

    @property
    def reaches_node(self) -> bool:
        """Whether the node is to run."""
        return self.at is not None and self.at.next == NODE

    @property
    def fails(self) -> bool:
        """Whether the node is to run, and to fail."""
        return self.reaches_node and last_human(self.at.said).startswith("fail")  # type: ignore[union-attr]

    @property
    def asks(self) -> bool:
        """Whether the node is to run, and to ask a question."""
        if self.at is None or not self.reaches_node or self.at.reply is not None:
            return False
        answers = (*(self.at.answers or ()), *self._answers)
        return question(last_human(self.at.said), len(answers)) is not None

    @property
    def calls(self) -> str | None:
        """The thread on which the node is to call a graph, if it is."""
        return called(last_human(self.at.said)) if self.at and self.reaches_node else None

    def saved(self) -> list[Point]:
        """Return the checkpoints that are saved by the time the node runs."""
        return [] if self._late else self._take()

    def end(self) -> list[Point]:
        """Run the node; return the checkpoints that are saved by then."""
        if self.at is not None and self.reaches_node:
            self._run(self.at)
        return self.left()

    def fail(self) -> list[Point]:
        """Have the node fail by what it calls; return the checkpoints that are saved by then."""
        assert self.at is not None
        self.at.failed, self.at.answers = True, None
        return self.left()

    def left(self) -> list[Point]:
        """Return what is saved when the run is over, wherever it has come to."""
        if self._late and self._new:
            self.at = replace(self._new[-1], before=self._start)
            self._new = [self.at]
        return self._take()

    def _take(self) -> list[Point]:
        taken, self._new = self._new, []
        return taken

    def _run(self, at: Point) -> None:
        text = last_human(at.said)
        answers = (*(at.answers or ()), *self._answers)
        at.failed = text.startswith("fail")
        if at.reply is None and (at.failed or question(text, len(answers))):
            at.answers = None if at.failed else answers
            return
        said = at.reply or reply(text, answers)
        if not self._late:  # Else what the node did is nowhere but in the checkpoint.
            at.reply, at.answers = said, answers if question(text, 0) else None
        self._add(Point((*at.said, said), at))


def copied(points: Sequence[Point], last: Point | None) -> list[Point]:
    """Return a copy of a conversation; up to *last*, with what led to it alone.

    A question that was answered there waits again, and the answers to earlier ones of the node
    are kept, if what it said then is saved beside them; else it asks anew.
    """
    whole = last is None or last is points[-1]
    kept = points if whole else [*last.line()][::-1]  # type: ignore[union-attr]
    copies: dict[Point | None, Point] = {}
    for point in kept:
        copies[point] = replace(point, before=copies.get(point.before))
    if not whole and last is not None:
        end = copies[last]
        again = end.answers[:-1] if end.answers and end.reply is not None else ()
        end.answers = None if end.answers is None else again
        end.failed, end.reply = False, None
    return [*copies.values()]
