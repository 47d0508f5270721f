"""What the model of the contract keeps: sessions, and runs under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tests.model.conversations import Point, Turn

DEFAULT: Final = "Untitled"  # The default title of its savers.


@dataclass(eq=False)
class Session:
    """A session.

    Attributes:
        user: Whose it is.
        thread: Its thread id; `None` until the model is told which one it was given.
        agent: The agent of the saver that made it.
        title: Its title.
        titled: Whether somebody gave it that, or its first message did.
        active: Whether it is active.
        made_current: When it was made current last; 0 for never.
        used: When it was last used.
        by_job: Whether a job used it since: nothing says where in a list it then stands.
        metadata: The application's.
        forked_from: The thread and the checkpoint at which it was forked.
        points: Its thread's checkpoints, oldest first.
        saved: The last save of a run: the run, and when.
    """

    user: str
    thread: str | None = None
    agent: str | None = None
    title: str = DEFAULT
    titled: bool = False
    active: bool = True
    made_current: int = 0
    used: int = 0
    by_job: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    forked_from: tuple[str | None, str] | None = None
    points: list[Point] = field(default_factory=list)
    saved: tuple[Run, int] | None = None

    @property
    def head(self) -> Point | None:
        """The newest checkpoint."""
        return self.points[-1] if self.points else None

    @property
    def question(self) -> str | None:
        """The question that waits for an answer."""
        return self.head.question if self.head else None

    @property
    def status(self) -> str:
        """What it waits for."""
        return self.head.status if self.head else "idle"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a run's config says.

    Attributes:
        user: Whose it is.
        agent: The saver's agent.
        thread: A certain thread id.
        point: A certain checkpoint.
        durability: LangGraph's.
    """

    user: str
    agent: str | None = None
    thread: str | None = None
    point: Point | None = None
    new_session: bool = False
    title: str | None = None
    is_active: bool | None = None
    make_current: bool = True
    durability: str = "async"


@dataclass(eq=False)
class Run:
    """A run under way.

    Attributes:
        asked: What its config said.
        session: Where it goes: settled when it starts.
        known: Whether the session exists, as far as the run knows.
        seen: The session's last save when it started.
        activate: What its first save sets, if anything.
        turn: What the graph does.
    """

    asked: Asked
    session: Session
    known: bool
    seen: object
    activate: bool | None
    turn: Turn
    saved: bool = False
