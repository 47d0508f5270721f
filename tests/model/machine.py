"""Hypothesis' machine: random histories of a few users, by several savers on one database."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from langgraph_sessions import SessionNotFoundError
from tests.model.comparing import USERS, outcome
from tests.model.drawing import (
    NOT_YET,
    kinds,
    numbers,
    operators,
    titles,
    updates,
    users,
    with_sessions,
)
from tests.model.records import DEFAULT, Asked
from tests.model.running import Runs


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

        at_point = point or session.head

        def model() -> None:
            fork = self.contract.fork(*args, point, title, self.agent(kind))
            fork.forked_from = (session.thread, self.ids[at_point]) if at_point else None

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

    @rule(kind=operators, active=st.booleans(), unused=st.none() | st.booleans())
    def purge(self, kind: str, active: bool, unused: bool | None) -> None:
        """Purge active sessions, or others; of these those in which nothing was said, or others."""
        which = {"active": active, "unused": unused}
        self.alike(
            lambda: self.contract.purge(**which),
            lambda: self.product.session(kind, "purge_sessions", **which),
        )
        for number in range(USERS):
            self.check(kind, self.user(number))

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
