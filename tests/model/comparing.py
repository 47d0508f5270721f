"""How what the product shows is compared with what the model says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from operator import itemgetter
from typing import Any, ClassVar, Final

from hypothesis.stateful import RuleBasedStateMachine
from langchain_core.runnables import RunnableConfig
from langgraph.errors import EmptyInputError

from langgraph_sessions import SessionError, SessionNotFoundError
from tests.model.contract import Contract
from tests.model.conversations import Given, Point
from tests.model.product import NodeError, Product, UnderWay
from tests.model.records import Asked, Run, Session
from tests.support import texts

USERS: Final = 3
EXPECTED: Final = (SessionError, ValueError, TypeError, NodeError, EmptyInputError)

histories = count()


class Comparing(RuleBasedStateMachine):
    """What the rules are made of: each is done to both, and then what both show is compared.

    Attributes:
        product: Both savers, for all histories.
        contract: The model.
        ids: The checkpoints' ids, which the product gave them.
        under_way: The runs that wait in their node.
    """

    product: ClassVar[Product]

    def __init__(self) -> None:
        """Begin a history, with users of its own."""
        super().__init__()
        self._history = next(histories)
        self._texts = count()
        self._compared: dict[Session, Any] = {}
        self.contract = Contract()
        self.ids: dict[Point, str] = {}
        self.under_way: list[tuple[Run, UnderWay]] = []

    # --- What is drawn: small numbers, so that a difference shrinks ----------------------------

    def user(self, number: int) -> str:
        """Return the id of a user of this history."""
        return f"user-{self._history}-{number}"

    def thread(self, number: int) -> str:
        """Return a thread id that somebody may choose."""
        return f"chosen-{self._history}-{number % 4}"

    def session(self, number: int) -> Session:
        """Return one of the sessions, by the order in which they were made."""
        return self.contract.sessions[number % len(self.contract.sessions)]

    def point(self, session: Session, number: int | None) -> Point | None:
        """Return one of a session's checkpoints, by how old it is."""
        if number is None or not session.points:
            return None
        return session.points[-1 - number % len(session.points)]

    def text(self, word: str) -> str:
        """Return a message that nobody said before, in any history."""
        return f"{word} {self._history}.{next(self._texts)}"

    def asked(self, kind: str, user: int, number: int | None, **given: Any) -> Asked:
        """Return what a run asks a saver for: a certain session, or else *user* alone."""
        agent = self.agent(kind)
        if number is None or not self.contract.sessions:
            return Asked(user=self.user(user), agent=agent, **given)
        session = self.session(number)
        return Asked(user=session.user, agent=agent, thread=session.thread, **given)

    def agent(self, kind: str) -> str | None:
        """Return a saver's agent."""
        return self.product.agents[kind]

    def config(self, asked: Asked) -> RunnableConfig:
        """Return what the run's config says."""
        said = {
            "thread_id": asked.thread,
            "checkpoint_id": self.ids[asked.point] if asked.point else None,
            "new_session": asked.new_session or None,
            "title": asked.title,
            "is_active": asked.is_active,
            "make_current": None if asked.make_current else False,
        }
        given = {key: value for key, value in said.items() if value is not None}
        return {"configurable": {"user_id": asked.user, **given}}

    # --- What is done --------------------------------------------------------------------------

    def both(self, model: Callable[[], Any], product: Callable[[], Any]) -> tuple[Any, Any]:
        """Do something to both; what one raises, the other has to raise."""
        said, did = outcome(model), outcome(product)
        if isinstance(did, Exception) and type(did).__name__ != type(said).__name__:
            raise AssertionError(f"the model: {said!r}; the product: {did!r}") from did
        assert isinstance(did, Exception) or not isinstance(said, Exception), said
        return said, did

    def alike(self, model: Callable[[], Any], product: Callable[[], Any]) -> None:
        """Do something to both, which has to return the same, or raise the same."""
        said, did = self.both(model, product)
        assert isinstance(did, Exception) or did == said

    def run(self, kind: str, asked: Asked, given: Given) -> None:
        """Run the graph to its end."""
        config = self.config(asked)
        model = partial(self.contract_run, asked, given)
        self.alike(model, lambda: result(self.product.run(kind, given, config, asked.durability)))
        self.check(kind, asked.user)

    def contract_run(self, asked: Asked, given: Given) -> tuple[list[str], str | None]:
        """Run the model's graph to its end."""
        run = self.contract.start(asked, given)
        self.contract.end(run)
        return shown(run)

    def manage(
        self, kind: str, model: Callable[[], Any], method: str, user: str, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Call a method of the session manager."""
        both = self.both(model, lambda: self.product.session(kind, method, user, *args, **kwargs))
        self.check(kind, user)
        return both

    # --- What is compared ----------------------------------------------------------------------

    def check(self, kind: str, user: str) -> None:
        """What the savers show of a user is what the model says.

        The saver of this *kind* did something, which it knows from its cache; that of the other
        one is emptied, as time does.
        """
        others = [each for each in self.product.agents if each != kind]
        for each in others:
            self.product.forget(each)
        self._learn(user)
        for each in self.product.agents:
            self._compare_current(each, user)
        for each in others:
            self._compare_lists(each, user)
        for session in self.contract.of(user):
            if self._compared.get(session) != (mark := _mark(session)):
                self._compare(session)
                self._compared[session] = mark

    def _ask(self, kind: str, method: str, user: str, **kwargs: Any) -> Any:
        return self.product.session(kind, method, user, **kwargs)

    def _learn(self, user: str) -> None:
        """Learn the thread id of a session that was made."""
        nameless = [session for session in self.contract.of(user) if session.thread is None]
        assert len(nameless) <= 1
        for session in nameless:
            page = self._ask("sync", "list_sessions", user, limit=1000)
            known = {each.thread for each in self.contract.sessions}
            (session.thread,) = {each.thread_id for each in page} - known

    def _compare_current(self, kind: str, user: str) -> None:
        current = self.contract.current(user, self.agent(kind))
        found = outcome(lambda: self._ask(kind, "get_current_user_session", user))
        if current is None:
            assert isinstance(found, SessionNotFoundError)
        else:
            assert seen(found) == {**told(current), "status": None}

    def _compare_lists(self, kind: str, user: str) -> None:
        """Compare a user's sessions, and what could have been counted among them."""
        expected = self.contract.of(user, self.agent(kind))
        active = [session for session in expected if session.active]
        jobs = {session.thread for session in expected if session.by_job}
        for method, sessions in (("list_sessions", expected), ("list_active_sessions", active)):
            listed = [seen(session) for session in self._ask(kind, method, user)]
            assert _placed(listed, jobs) == _placed([told(each) for each in sessions], jobs)
        assert self._ask(kind, "count_sessions", user) == len(expected)
        assert self._ask(kind, "count_sessions", user, active=True) == len(active)
        assert self._ask(kind, "has_session", user) == bool(active)

    def _compare(self, session: Session) -> None:
        """Compare a thread's checkpoints, which then are known by their ids."""
        kind = ("sync", "async")[len(session.points) % 2]
        states = self.product.history(kind, session.user, session.thread)
        expected = [(list(p.said), p.next, p.source) for p in session.points]
        assert [_shown(state) for state in states] == expected
        self.ids.update(zip(session.points, map(_id, states), strict=True))
        for point, state in zip(session.points, states, strict=True):
            assert _id(state, parent=True) == (self.ids[point.before] if point.before else None)
        self._compare_reading(kind, session)
        if session.head:
            questions = [interrupt.value for interrupt in states[-1].interrupts]
            assert questions == [*filter(None, [session.head.question])]

    def _compare_reading(self, kind: str, session: Session) -> None:
        """Compare what is read without the graph: the messages, and the list of checkpoints."""
        given = {"user": session.user, "thread_id": session.thread}
        if session.head and not session.head.next:  # Else what is yet to be added is read, too.
            said = self._ask(kind, "get_messages", **given)
            assert texts({"messages": said}) == list(session.head.said)
        listed = self._ask(kind, "list_checkpoints", **given, limit=1000)
        ids = [(self.ids[p], p.before and self.ids[p.before]) for p in session.points]
        assert [(each.checkpoint_id, each.parent_id) for each in listed] == ids[::-1]

    def end_run(self, number: int) -> None:
        """Let a run that waits go on to its end."""
        run, waiting = self.under_way.pop(number % len(self.under_way))

        def model() -> tuple[list[str], str | None]:
            self.contract.end(run)
            return shown(run)

        self.alike(model, lambda: result(waiting.end()))
        self.check(waiting.kind, run.asked.user)

    def teardown(self) -> None:
        """Let everything end, compare all there is, and leave nothing."""
        try:
            if sys.exc_info()[0] is None:  # Else a step has shown a difference.
                self._compare_all()
        finally:
            for _, waiting in self.under_way:
                outcome(waiting.end)
            self.under_way.clear()
            for number in range(USERS):
                self.product.session("sync", "delete_user", self.user(number))

    def _compare_all(self) -> None:
        while self.under_way:
            self.end_run(0)
        self._compared.clear()
        for number in range(USERS):
            self.check("sync", self.user(number))


def outcome(what: Callable[[], Any]) -> Any:
    """Return what it returns, or raises."""
    try:
        return what()
    except EXPECTED as error:
        return error


def _placed(listed: list[dict[str, Any]], jobs: set[str | None]) -> list[dict[str, Any]]:
    """Return a list with the sessions that jobs used at its end: where they stand is not said."""
    last = [each for each in listed if each["thread_id"] in jobs]
    return [each for each in listed if each not in last] + sorted(last, key=itemgetter("thread_id"))


def told(session: Session) -> dict[str, Any]:
    """Return what a listing has to show of a session."""
    return {
        "thread_id": session.thread,
        "title": session.title,
        "is_active": session.active,
        "metadata": session.metadata,
        "forked_from": session.forked_from,
        "status": session.status,
    }


def seen(session: Any) -> dict[str, Any]:
    """Return what the product shows of it."""
    return {key: getattr(session, key) for key in told(Session(""))}


def shown(run: Run) -> tuple[list[str], str | None]:
    """Return what a run that came to its end returns: messages, and a question."""
    at = run.turn.at
    assert at is not None
    if run.turn.fails:
        raise NodeError
    return list(at.said), at.question


def result(returned: Any) -> tuple[list[str], str | None]:
    """Return what the product's run returned."""
    (*_, asked) = (None, *(interrupt.value for interrupt in returned.get("__interrupt__", ())))
    return texts(returned), asked


def _mark(session: Session) -> Any:
    """Return what changes when its thread's checkpoints do."""
    head = session.head
    return session.user, len(session.points), session.status, head and head.question


def _shown(state: Any) -> tuple[list[str], str, str]:
    return texts(state), "".join(state.next), state.metadata["source"]


def _id(state: Any, *, parent: bool = False) -> str | None:
    config = state.parent_config if parent else state.config
    return config["configurable"]["checkpoint_id"] if config else None
