"""The contract's sections 2, 4 and 8 as plain Python: users, sessions, and what runs do to them.

A method does what the saver, or the manager, has to do, and raises what that has to raise. What
is told of a thread's checkpoints is in `conversations`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any, Final

from langgraph.errors import EmptyInputError

from langgraph_sessions import (
    ConcurrentRunError,
    NotInterruptedError,
    SessionError,
    SessionNotFoundError,
)
from tests.model.conversations import Answer, Given, Point, Turn, copied, first_human
from tests.model.records import DEFAULT, Asked, Run, Session

# A moment is a thousand of the least steps of time; the future, more than a history has.
MOMENT: Final = 1000
FUTURE: Final = MOMENT**3


class Contract:
    """All sessions of all users.

    Attributes:
        stopped_wait: Whether a purge takes a stopped run for one that waits; the contract: no.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.stopped_wait = False
        self.sessions: list[Session] = []
        self._drafts: dict[tuple[str, str | None], Session] = {}
        self._clock = count(MOMENT, MOMENT)

    # --- Looking ------------------------------------------------------------------------------

    def of(self, user: str, agent: str | None = None) -> list[Session]:
        """Return a user's sessions that a saver with this agent sees, the last used first."""
        mine = [s for s in self.sessions[::-1] if s.user == user and agent in (None, s.agent)]
        # Of two that were used at the same time to come, as two users', the newer one is first.
        return sorted(mine, key=lambda session: -session.used)

    def get(self, user: str, thread: str | None, agent: str | None = None) -> Session:
        """Return a certain session; another's looks like none."""
        for session in self.of(user, agent):
            if session.thread == thread:
                return session
        raise SessionNotFoundError(user, thread)

    def current(self, user: str, agent: str | None = None) -> Session | None:
        """Return the active session that was made current last."""
        made = [s for s in self.of(user, agent) if s.active and s.made_current]
        return max(made, key=lambda session: session.made_current, default=None)

    # --- Runs ---------------------------------------------------------------------------------

    def start(self, asked: Asked, given: Given) -> Run:
        """Begin a run: what it saves by the time that its node is called, is saved."""
        session = self.goes_to(asked)
        at = session.head if asked.point is None else self._find(session, asked.point)
        if at is None and given is None:
            raise EmptyInputError
        if asked.thread is None and isinstance(given, Answer) and not (at and at.question):
            raise NotInterruptedError(asked.user, session.thread or "")
        made_so = at is not None and at is session.head and at.source in ("update", "fork")
        copies, late = asked.point is not None and not made_so, asked.durability == "exit"
        run = Run(
            asked,
            session,
            known=session in self.sessions,
            seen=session.saved,
            activate=_activation(asked, session),
            turn=Turn(given, at, copies=copies, late=late),
        )
        self._save(run, run.turn.saved())
        return run

    def _find(self, session: Session, asked: Point) -> Point:
        """Return the session's checkpoint that has the id of the one asked for."""
        for point in session.points:
            if point.id is asked.id:
                return point
        raise SessionNotFoundError(session.user, session.thread)

    def goes_to(self, asked: Asked) -> Session:
        """Return the session that a run goes to, be it one that its first save makes."""
        if asked.new_session:
            return Session(asked.user, agent=asked.agent)
        if asked.thread is not None:
            for session in self.sessions:
                if session.thread == asked.thread:
                    return self.get(asked.user, asked.thread, asked.agent)
            return Session(asked.user, asked.thread, asked.agent)
        current = self.current(asked.user, asked.agent)
        return current or self._draft(asked.user, asked.agent)

    def _draft(self, user: str, agent: str | None) -> Session:
        """Return the session that the user's next run makes: the same for two at once."""
        draft = self._drafts.get((user, agent))
        if draft is None or draft in self.sessions:
            draft = self._drafts[user, agent] = Session(user, agent=agent)
        return draft

    def end(self, run: Run) -> None:
        """Run the node to its end, and save what it did.

        The error of a node that failed comes first, also where the run was overtaken.
        """
        if run.turn.fails and self._refusal(run):
            return
        failure = self._call(run, run.turn.calls) if run.turn.calls else None
        if failure and self._refusal(run):
            raise failure
        self._may_save(run)
        reached = run.turn.reaches_node
        self._save(run, run.turn.fail() if failure else run.turn.end())
        if reached:
            run.session.saved = run, next(self._clock)
        if failure:
            raise failure

    def _call(self, run: Run, inner: str) -> SessionError | None:
        """Run a graph that a node calls, on a thread of its own: a session of the run's user.

        Return the error with which the node then fails, if it does.
        """
        asked = Asked(user=run.asked.user, agent=run.asked.agent, thread=inner, make_current=False)
        try:
            self.end(self.start(asked, inner))
        except SessionError as error:
            return error
        return None

    def stop(self, run: Run) -> None:
        """Stop a run in its node: what it was told stays, also where all is saved at the end."""
        self._save(run, run.turn.left())
        if run.turn.at is not None:
            run.turn.at.stopped = True

    def _may_save(self, run: Run) -> None:
        if error := self._refusal(run):
            raise error

    def _refusal(self, run: Run) -> SessionError | None:
        self._find_anew(run)
        gone = SessionNotFoundError(run.asked.user, run.session.thread)
        if run.session.user != run.asked.user:
            return gone
        if run.session not in self.sessions:
            return gone if run.known else None
        last = run.session.saved
        is_own = last is not None and last[0] is run
        if not is_own and (run.saved or last != run.seen):
            return ConcurrentRunError(run.session.thread or "")
        return None

    def _find_anew(self, run: Run) -> None:
        """A session is known by its thread: that of one that was deleted may be made anew.

        Of which agent it is, is looked at when a run saves for the first time, and when it asks.
        """
        if run.session not in self.sessions and run.session.thread is not None:
            agent = run.session.agent if run.turn.asks or not run.saved else None
            if all(session.thread != run.session.thread for session in self.sessions):
                # One that it may yet make is its user's.
                run.session = Session(run.asked.user, run.session.thread, run.session.agent)
                return
            with suppress(SessionNotFoundError):
                run.session = self.get(run.asked.user, run.session.thread, agent)

    def _save(self, run: Run, points: list[Point]) -> None:
        """Save checkpoints; the run's first makes the session, or carries out what it asks."""
        if not points:
            return
        self._may_save(run)
        session = run.session
        if session not in self.sessions:
            self.sessions.append(session)
        # In the order of their ids, as LangGraph has them: what a late run saves may be hidden.
        session.points = sorted([*session.points, *points], key=lambda point: point.made)
        session.saved = run, next(self._clock)
        if not run.saved:
            run.saved = run.known = True
            self._use(session, run.asked.make_current)
            if run.activate is not None:
                session.active = run.activate
            self._rename(session, run.asked.title)
        self._title(session, points[-1])

    def _use(self, session: Session, make_current: bool = True) -> None:
        """Note that it is used after all of its user's, also where their times are to come."""
        last = max(each.used for each in (session, *self.of(session.user)))
        session.used, session.by_job = max(next(self._clock), last + 1), not make_current
        if make_current:
            session.made_current = session.used

    def _rename(self, session: Session, title: str | None) -> None:
        if title is not None:
            session.title, session.titled = title, True

    def _title(self, session: Session, point: Point) -> None:
        """Title it after what was said, also where an update that was made since then hides it."""
        said = (*point.said, point.given) if point.given else point.said
        if not session.titled and (text := first_human(said)):
            session.title, session.titled = " ".join(text.split()), True

    # --- The manager --------------------------------------------------------------------------

    def create(
        self, user: str, agent: str | None = None, title: str = DEFAULT, **given: Any
    ) -> Session:
        """Create a session, which becomes current."""
        if any(given.get("thread") == s.thread for s in self.sessions if s.thread):
            raise ValueError("thread_id is in use")
        session = Session(user, agent=agent, title=title, titled=title != DEFAULT, **given)
        self.sessions.append(session)
        self._use(session)
        return session

    def get_or_create(self, user: str, agent: str | None, title: str) -> Session:
        """Return the current session, else a new one."""
        if current := self.current(user, agent):
            return current
        session = self._draft(user, agent)
        self.sessions.append(session)
        self._use(session)
        self._rename(session, None if title == DEFAULT else title)
        return session

    def switch(self, user: str, thread: str | None, agent: str | None = None) -> None:
        """Make a session current, and active."""
        session = self.get(user, thread, agent)
        self._use(session)
        session.active = True

    def update(
        self,
        user: str,
        updates: dict[str, Any],
        thread: str | None = None,
        agent: str | None = None,
    ) -> None:
        """Change a session, by default the current one."""
        session = self.get(user, thread, agent) if thread else self.current(user, agent)
        if session is None:
            raise SessionNotFoundError(user)
        self._rename(session, updates.get("title"))
        session.active = updates.get("is_active", session.active)
        merged = {**session.metadata, **updates.get("metadata", {})}
        session.metadata = {key: value for key, value in merged.items() if value is not None}

    def deactivate(self, user: str, thread: str | None = None, agent: str | None = None) -> int:
        """Deactivate a session, or all of a user's; return how many were active."""
        chosen = [s for s in self.of(user, agent) if s.active and thread in (None, s.thread)]
        for session in chosen:
            session.active = False
        return len(chosen)

    def fork(
        self,
        user: str,
        thread: str | None,
        point: Point | None = None,
        title: str | None = None,
        agent: str | None = None,
    ) -> Session:
        """Copy a session, up to a checkpoint, as a new one, which becomes current."""
        session = self.get(user, thread, agent)
        points = copied(session.points, point)
        fork = replace(session, thread=None, points=points, active=True, saved=None)
        fork.metadata = dict(session.metadata)
        self.sessions.append(fork)
        self._use(fork)
        self._rename(fork, title)
        return fork

    def update_state(self, asked: Asked, said: str) -> None:
        """Add a message to what was said at a checkpoint: it is used, and no run is refused."""
        session = self.goes_to(asked)
        at = asked.point or session.head
        point = Point((*(at.said if at else ()), said), at, "update")
        if session not in self.sessions:
            self.sessions.append(session)
        session.points.append(point)
        session.active = True
        self._use(session)
        self._title(session, point)

    def delete(self, user: str, thread: str | None, agent: str | None = None) -> None:
        """Delete a session, with all that was said."""
        self._remove([self.get(user, thread, agent)])

    def _remove(self, sessions: list[Session]) -> None:
        for session in sessions:
            self.sessions.remove(session)
            self._drafts = {key: d for key, d in self._drafts.items() if d is not session}
            # A run that began before the session was made may yet make it.
            vars(session).update(vars(Session(session.user, session.thread, session.agent)))

    def delete_user(self, user: str) -> None:
        """Delete everything of a user."""
        self._remove(self.of(user))
        self._drafts = {key: draft for key, draft in self._drafts.items() if key[0] != user}

    def transfer(self, user: str, to: str, thread: str | None = None) -> int:
        """Move a session, or all of a user's, to another user."""
        chosen = [session for session in self.of(user) if thread in (None, session.thread)]
        for session in chosen:
            session.user = to
        return len(chosen)

    def push_into_future(self, session: Session) -> None:
        """Have the time of the current session's row lie in the future, which changes nothing."""
        session.used += FUTURE

    def purge(self, *, active: bool, unused: bool | None) -> dict[str, int]:
        """Delete those that are active, or not, unused, or not, and wait for nobody."""
        old = [
            session
            for session in self.sessions
            if session.active == active and unused in (None, not session.points)
        ]
        gone = [session for session in old if not self._waits(session)]
        self._remove(gone)
        return {"purged": len(gone), "kept": len(old) - len(gone)}

    def _waits(self, session: Session) -> bool:
        """Say whether somebody has to go on: with an answer, or as at a static breakpoint."""
        head = session.head
        if head is None or head.failed:
            return False
        over = head.stopped and not self.stopped_wait
        return bool(head.question or (head.next and not over))


def _activation(asked: Asked, session: Session) -> bool | None:
    """Return what a run's first save sets: it is settled when the run starts."""
    if asked.is_active is False:
        return False
    return True if not session.active and (asked.make_current or asked.is_active) else None
