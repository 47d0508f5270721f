"""Hypothesis' machine: random histories of a few users, by two savers on one database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from langgraph_sessions import SessionNotFoundError
from tests.model.comparing import USERS, Comparing, outcome, result
from tests.model.contract import DEFAULT, Asked, Run
from tests.model.conversations import Answer, Point

# Rules of the contract that the package does not keep yet. A line goes when one lands.
NOT_YET: Final = frozenset(
    {
        "purges",  # A session whose run was stopped is purged as an idle one.
        "NotInterruptedError",  # An answer for which nothing waits is refused.
        "checkpoint_id",  # One that the current session does not have is refused.
        "make_current",  # `False`: a job's run.
        "transfer_sessions",
        "agents",  # `agent=` of savers and managers.
        "nested graphs",  # A graph called by a node, on a thread of its own, is the run's user's.
        "clocks",  # What is made current now comes first, also where a row's time is in the future.
        "metadata",  # A key whose value is `None` goes.
    }
)

# The savers on the one database, and their agents.
SAVERS: Final[dict[str, str | None]] = {
    "sync": None,
    "async": None,
    **({} if "agents" in NOT_YET else {"sync a": "a", "async b": "b"}),
}

users = st.integers(0, USERS - 1)
kinds = st.sampled_from([*SAVERS])
operators = st.sampled_from(("sync", "async"))
numbers = st.integers(0, 9)  # The n-th session, or checkpoint, of those that there are.
durabilities = st.sampled_from(("async", "sync", "exit"))
words = st.sampled_from(
    ("hello", "ask", "fail", "twice", "hi  there")
    + (() if "nested graphs" in NOT_YET else ("nest",))
)
titles = st.sampled_from((None, "Plans", "CV"))
activations = st.sampled_from((None, True, False))
jobs = st.just(True) if "make_current" in NOT_YET else st.booleans()
values = st.integers(0, 3) if "metadata" in NOT_YET else st.none() | st.integers(0, 3)
updates = {
    "title": st.sampled_from(("Plans", "CV")),
    "is_active": st.booleans(),
    "metadata": st.dictionaries(st.sampled_from("ab"), values),
}

with_sessions = precondition(lambda self: self.contract.sessions)
with_runs = precondition(lambda self: self.under_way)


def once(name: str) -> Callable[[Any], Any]:
    """Return a precondition: the package keeps the rule called *name*."""
    return precondition(lambda self: name not in NOT_YET)


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
        make_current=jobs,
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
        make_current=jobs,
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

    @once("NotInterruptedError")
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

    @once("checkpoint_id")
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
        given = self.text(word)
        run = self.contract.start(asked, given)
        self.product.leave(kind, given, self.config(asked), how)
        self.contract.stop(run)
        self.run(kind, asked, self.text("and"))


class Machine(Runs):
    """Runs, and what else is done to sessions."""

    def __init__(self) -> None:
        """Begin a history."""
        super().__init__()
        self.contract.stopped_wait = "purges" in NOT_YET

    @rule(
        user=users, kind=kinds, title=st.sampled_from((DEFAULT, "Plans")), name=st.none() | numbers
    )
    def create(self, user: int, kind: str, title: str, name: int | None) -> None:
        """Create a session, on a chosen thread, too."""
        owner, thread = self.user(user), None if name is None else self.thread(name)

        def model() -> object:
            return self.contract.create(owner, self.agent(kind), title, thread=thread)

        self.manage(kind, model, "create_user_session", owner, title, thread_id=thread)

    @rule(user=users, kind=kinds, title=st.sampled_from((DEFAULT, "Plans")))
    def get_or_create(self, user: int, kind: str, title: str) -> None:
        """Get the current session, or a new one."""
        name = self.user(user)

        def model() -> object:
            return self.contract.get_or_create(name, self.agent(kind), title)

        said, did = self.manage(kind, model, "get_or_create_user_session", name, title)
        assert did.thread_id == said.thread

    @with_sessions
    @rule(kind=kinds, number=numbers)
    def switch(self, kind: str, number: int) -> None:
        """Switch to a session."""
        session = self.session(number)

        def model() -> object:
            return self.contract.switch(session.user, session.thread, self.agent(kind))

        self.manage(kind, model, "switch_session", session.user, session.thread)

    @rule(
        user=users,
        kind=kinds,
        number=st.none() | numbers,
        changes=st.fixed_dictionaries({}, optional=updates),
    )
    def update(self, user: int, kind: str, number: int | None, changes: dict[str, Any]) -> None:
        """Change a session, by default the current one."""
        asked = self.asked(kind, user, number)

        def model() -> object:
            return self.contract.update(asked.user, changes, asked.thread, asked.agent)

        self.manage(kind, model, "update_session", asked.user, changes, thread_id=asked.thread)

    @rule(user=users, kind=kinds, number=st.none() | numbers)
    def deactivate(self, user: int, kind: str, number: int | None) -> None:
        """Deactivate a session, or all of the user's."""
        asked = self.asked(kind, user, number)

        def model() -> int:
            return self.contract.deactivate(asked.user, asked.thread, asked.agent)

        method = "deactivate_session"
        said, did = self.manage(kind, model, method, asked.user, thread_id=asked.thread)
        assert did == said

    @with_sessions
    @rule(kind=kinds, number=numbers, age=st.none() | numbers, title=titles)
    def fork(self, kind: str, number: int, age: int | None, title: str | None) -> None:
        """Fork a session, at an old checkpoint, too."""
        session = self.session(number)
        point = self.point(session, age)
        at = {"checkpoint_id": self.ids[point]} if point else {}
        args = (session.user, session.thread)

        def model() -> object:
            return self.contract.fork(*args, point, title, self.agent(kind))

        self.manage(kind, model, "fork_session", *args, title=title, **at)

    @with_sessions
    @rule(kind=kinds, number=numbers)
    def delete(self, kind: str, number: int) -> None:
        """Delete a session."""
        session = self.session(number)

        def model() -> object:
            return self.contract.delete(session.user, session.thread, self.agent(kind))

        self.manage(kind, model, "delete_session", session.user, session.thread)

    @rule(user=users, kind=operators)
    def delete_user(self, user: int, kind: str) -> None:
        """Delete all of a user's."""
        name = self.user(user)
        gone = [len(session.points) for session in self.contract.of(name)]

        def model() -> object:
            return self.contract.delete_user(name)

        _, did = self.manage(kind, model, "delete_user", name)
        assert (did["sessions"], did["checkpoints"]) == (len(gone), sum(gone))

    @rule(kind=operators, active=st.booleans())
    def purge(self, kind: str, active: bool) -> None:
        """Purge active sessions, or others."""
        self.alike(
            lambda: self.contract.purge(active=active),
            lambda: self.product.session(kind, "purge_sessions", active=active),
        )
        for number in range(USERS):
            self.check(kind, self.user(number))

    @once("transfer_sessions")
    @rule(user=users, to=users, kind=operators, number=st.none() | numbers)
    def transfer(self, user: int, to: int, kind: str, number: int | None) -> None:
        """Move a session, or all of a user's, to another user."""
        asked, other = self.asked(kind, user, number), self.user(to)
        if asked.user == other:
            return

        def model() -> int:
            return self.contract.transfer(asked.user, other, asked.thread)

        method = "transfer_sessions"
        said, did = self.manage(kind, model, method, asked.user, other, thread_id=asked.thread)
        assert did == said
        self.check(kind, other)

    @once("clocks")
    @rule(user=users, kind=kinds)
    def push_into_future(self, user: int, kind: str) -> None:
        """Have the time of the current session's row lie in the future, which changes nothing."""
        session = self.contract.current(self.user(user), self.agent(kind))
        if session is not None:
            self.contract.push_into_future(session)
            self.product.push_into_future(session.thread)
            self.check(kind, session.user)

    @with_sessions
    @rule(intruder=users, kind=kinds, number=numbers)
    def intrude(self, intruder: int, kind: str, number: int) -> None:
        """Another's session looks like none, and nothing happens to it."""
        session, other = self.session(number), self.user(intruder)
        if session.user == other:
            return
        product, thread = self.product, session.thread
        theirs = self.config(Asked(user=other, agent=self.agent(kind), thread=thread))
        for attempt in (
            *product.uses(kind, theirs),
            *product.uses(kind, {"configurable": {"thread_id": thread}}),
            *product.changes(kind, other, thread),
        ):
            assert isinstance(outcome(attempt), SessionNotFoundError)
        assert product.session(kind, "deactivate_session", other, thread_id=thread) == 0
        self.check(kind, other)
        self.check(kind, session.user)

    @with_sessions
    @rule(kind=kinds, number=numbers)
    def ask_nonsense(self, kind: str, number: int) -> None:
        """What a run cannot mean is refused, and nothing happens."""
        session = self.session(number)
        user, thread = {"user_id": session.user}, {"thread_id": session.thread}
        for wrong, error in (
            ({**user, **thread, "new_session": True}, ValueError),
            ({**thread, "title": "X"}, ValueError),
            ({**user, "is_active": "no"}, TypeError),
            ({**user, "title": 1}, TypeError),
            ({"user_id": None, **thread}, TypeError),
            ({"user_id": " ", **thread}, ValueError),
        ):
            for attempt in self.product.uses(kind, {"configurable": wrong})[:1]:
                assert type(outcome(attempt)) is error
        self.check(kind, session.user)

    @rule(kind=kinds)
    def restart(self, kind: str) -> None:
        """Close a saver of which no run is under way, and open a new one."""
        if all(waiting.kind != kind for _, waiting in self.under_way):
            self.product.restart(kind)
