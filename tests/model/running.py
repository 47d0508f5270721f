"""The machine's runs: to their end, under way beside other things, and stopped."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.comparing import Comparing, outcome, result
from tests.model.conversations import Answer, Point
from tests.model.drawing import (
    activations,
    durabilities,
    kinds,
    numbers,
    titles,
    users,
    with_runs,
    with_sessions,
    words,
)
from tests.model.records import Asked, Run


def half_answered(point: Point | None) -> bool:
    """Say whether a second question waits: gone on from there, LangGraph mixes the answers up."""
    return point is not None and bool(point.question and point.answers)


class Runs(Comparing):
    """Runs to their end, and runs beside which other things happen."""

    @rule(user=users, kind=kinds, number=st.none() | numbers, word=words, how=durabilities)
    def say(self, user: int, kind: str, number: int | None, word: str, how: str) -> None:
        """Say something, wherever the user is or in a certain session."""
        self.run(kind, self.asked(kind, user, number, durability=how), self.text(word))

    @rule(
        user=users,
        kind=kinds,
        number=st.none() | numbers,
        word=words,
        how=durabilities,
        title=titles,
        is_active=activations,
        make_current=st.booleans(),
    )
    def say_so(
        self, user: int, kind: str, number: int | None, word: str, how: str, **instructions: Any
    ) -> None:
        """Say something, and something about the session."""
        asked = self.asked(kind, user, number, durability=how, **instructions)
        self.run(kind, asked, self.text(word))

    @rule(
        user=users,
        kind=kinds,
        word=words,
        how=durabilities,
        title=titles,
        is_active=activations,
        make_current=st.booleans(),
    )
    def say_in_new(self, user: int, kind: str, word: str, how: str, **instructions: Any) -> None:
        """Say something in a new session."""
        asked = Asked(
            user=self.user(user),
            agent=self.agent(kind),
            new_session=True,
            durability=how,
            **instructions,
        )
        self.run(kind, asked, self.text(word))

    @rule(user=users, kind=kinds, name=numbers, word=words, how=durabilities)
    def say_in_thread(self, user: int, kind: str, name: int, word: str, how: str) -> None:
        """Say something in a chosen thread, which may be new, the user's, or another's."""
        asked = Asked(
            user=self.user(user), agent=self.agent(kind), thread=self.thread(name), durability=how
        )
        self.run(kind, asked, self.text(word))

    @precondition(lambda self: any(session.question for session in self.contract.sessions))
    @rule(kind=kinds, number=numbers, by_thread=st.booleans(), how=durabilities)
    def answer(self, kind: str, number: int, by_thread: bool, how: str) -> None:
        """Answer a question that waits; without a thread id if it does in the current session."""
        asking = [session for session in self.contract.sessions if session.question]
        session = asking[number % len(asking)]
        by_thread = by_thread or session is not self.contract.current(session.user)
        thread = session.thread if by_thread else None
        asked = Asked(user=session.user, agent=self.agent(kind), thread=thread, durability=how)
        self.run(kind, asked, Answer(self.text("so")))

    @rule(user=users, kind=kinds, how=durabilities)
    def answer_anyway(self, user: int, kind: str, how: str) -> None:
        """Give an answer, whether or not something waits."""
        self.run(kind, self.asked(kind, user, None, durability=how), Answer(self.text("so")))

    @rule(user=users, kind=kinds, number=st.none() | numbers, how=durabilities)
    def go_on(self, user: int, kind: str, number: int | None, how: str) -> None:
        """Go on where a run stopped."""
        asked = self.asked(kind, user, number, durability=how)
        session = outcome(lambda: self.contract.goes_to(asked))
        if not half_answered(getattr(session, "head", None)):
            self.run(kind, asked, None)

    @with_sessions
    @rule(kind=kinds, number=numbers, age=numbers, word=st.none() | words, how=durabilities)
    def travel(self, kind: str, number: int, age: int, word: str | None, how: str) -> None:
        """Go on from an old checkpoint, or say something else there."""
        point = self.point(self.session(number), age)
        if word is None and half_answered(point):
            return
        asked = self.asked(kind, 0, number, point=point, durability=how)
        self.run(kind, asked, word and self.text(word))

    @with_sessions
    @rule(kind=kinds, number=numbers, age=numbers, word=words, how=durabilities)
    def travel_in_current(self, kind: str, number: int, age: int, word: str, how: str) -> None:
        """Say something at a checkpoint that the current session has, or another one."""
        session = self.session(number)
        point = self.point(session, age)
        self.run(
            kind,
            Asked(user=session.user, agent=self.agent(kind), point=point, durability=how),
            self.text(word),
        )

    @with_sessions
    @rule(kind=kinds, number=numbers, age=st.none() | numbers)
    def update_state(self, kind: str, number: int, age: int | None) -> None:
        """Have the node say something, now or at an old checkpoint."""
        asked = self.asked(kind, 0, number, point=self.point(self.session(number), age))
        said, config = self.text("> noted"), self.config(asked)
        self.both(
            lambda: self.contract.update_state(asked, said),
            lambda: self.product.update_state(kind, config, said),
        )
        self.check(kind, asked.user)

    @precondition(lambda self: len(self.under_way) < 3)
    @rule(
        user=users,
        kind=kinds,
        number=st.none() | numbers,
        word=words,
        title=titles,
        how=st.sampled_from(("sync", "exit")),
    )
    def begin(
        self, user: int, kind: str, number: int | None, word: str, how: str, **instructions: Any
    ) -> None:
        """Begin a run that waits in its node, while other things happen."""
        asked = self.asked(kind, user, number, durability=how, **instructions)
        given, config = self.text(word), self.config(asked)
        run, waiting = self.both(
            lambda: self.contract.start(asked, given),
            lambda: self.product.open(kind, given, config, how),
        )
        if isinstance(run, Run):
            self.under_way.append((run, waiting))
        self.check(kind, asked.user)

    @with_runs
    @rule(number=numbers)
    def end(self, number: int) -> None:
        """Let a run that waits go on to its end."""
        self.end_run(number)

    @rule(
        user=users,
        number=st.none() | numbers,
        word=words,
        how=durabilities,
        at_once=st.booleans(),
    )
    def cancel(self, user: int, number: int | None, word: str, how: str, at_once: bool) -> None:
        """Cancel a run in its node, and say something else at once, or nothing."""
        asked = self.asked("async", user, number, durability=how)
        given, then = self.text(word), self.text("and") if at_once else None

        def model() -> Any:
            self.contract.stop(self.contract.start(asked, given))
            return then and self.contract_run(asked, then)

        def product() -> Any:
            did = self.product.cancel(given, config, how, then)
            return then and result(did)

        config = self.config(asked)
        self.alike(model, product)
        self.check("async", asked.user)

    @rule(user=users, kind=kinds, number=st.none() | numbers, word=words, how=durabilities)
    def leave(self, user: int, kind: str, number: int | None, word: str, how: str) -> None:
        """Leave a stream before the node runs, and say something else at once."""
        asked = self.asked(kind, user, number, durability=how)
        given, config = self.text(word), self.config(asked)
        run, _ = self.both(
            lambda: self.contract.start(asked, given),
            lambda: self.product.leave(kind, given, config, how),
        )
        if isinstance(run, Run):
            self.contract.stop(run)
            self.run(kind, asked, self.text("and"))
