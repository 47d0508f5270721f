"""One agent with our saver and with LangGraph's own: what both show, step by step."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from langgraph_sessions import Session
from tests.savers.numbered import Numbered
from tests.support import Chat, config

MODES = ["values", "updates", "messages", "custom", "debug", "checkpoints", "tasks"]
# In what our runs show there is whose they are.
OURS = {"user_id"}
# A run by the user alone has its thread settled when LangChain has told its callbacks of the run.
OURS_WITHOUT_THREAD = {"user_id", "thread_id"}


class Beside:
    """Both savers, and what is done with both.

    Attributes:
        ours: A chat with our saver, in which alice speaks.
        theirs: One with LangGraph's.
    """

    def __init__(self, ours: Chat, theirs: Chat) -> None:
        """Take two chats of one kind."""
        self.ours, self.theirs = ours, theirs

    async def compare(
        self, make: Callable[[Chat], Any], *inputs: Any, by: str = "run_config", **options: Any
    ) -> Told:
        """Have the agent that *make* makes take the *inputs*, one run each, with both savers.

        All that can be seen of each run is equal, or this fails: events by mode, subgraphs
        among them; the state then, and the history.

        Args:
            make: What makes the agent with the saver of a chat.
            inputs: What each run is given.
            by: How our runs say where they go: by the config of `run_config`, or by the `user_id`.
            options: More for `stream`.

        Returns:
            What our runs showed.
        """
        left_out = OURS if by == "run_config" else OURS_WITHOUT_THREAD
        ours = Told(self.ours, make(self.ours), Plain(left_out))
        theirs = Told(self.theirs, make(self.theirs), Plain(left_out))
        thread = config(thread_id=f"alice_{uuid.uuid4()}")
        for given in inputs:
            where = config(user_id="alice")
            if by == "run_config":
                where = await self.ours.session("run_config", "alice")
            await theirs.hear(given, thread, thread, options)
            await ours.hear(given, where, None, options)
            ours.statuses.append((await ours.session()).status)
            found = list(differences(ours.seen[-1], theirs.seen[-1]))
            assert not found, "\n".join(found[:10])
        return ours


class Told:
    """What one agent showed.

    Attributes:
        seen: Of each run, its events by mode, the state then, and the history.
        values: The state after the last run.
        waiting: The interrupts that wait after the last run.
        statuses: Of each run of ours, what became of its session.
    """

    def __init__(self, chat: Chat, agent: Any, plain: Plain) -> None:
        """Begin with nothing shown."""
        self.chat, self.agent, self.plain = chat, agent, plain
        self.seen: list[list[Any]] = []
        self.values: Any = None
        self.waiting: tuple[Any, ...] = ()
        self.statuses: list[str] = []

    async def hear(
        self, given: Any, where: RunnableConfig, thread: RunnableConfig | None, options: Any
    ) -> None:
        """Run the agent; by default, look afterwards at alice's current session."""
        call, agent = self.chat.call, self.agent
        asked = {"stream_mode": MODES, "subgraphs": True, "durability": "sync", **options}
        told = await call(agent, "stream", as_input(given), where, **asked)
        events: dict[str, list[Any]] = {mode: [] for mode in MODES}
        for namespace, mode, event in told:
            events[mode].append(self.plain([namespace, event]))
        place = thread or (await self.chat.current()).config
        state = await call(agent, "get_state", place, subgraphs=True)
        history = await call(agent, "get_state_history", place)
        self.values, self.waiting = state.values, state.interrupts
        self.seen.append([events, self.plain(state), self.plain(history)])

    @property
    def texts(self) -> list[str]:
        """The texts of the conversation."""
        return [message.text for message in self.values["messages"]]

    async def session(self) -> Session:
        """Return alice's only session; hers is all that there is."""
        (session,) = await self.chat.sessions(None)
        assert session.user_id == "alice"
        return session


class Plain:
    """Makes of what LangGraph shows what can be compared, without what is ours alone."""

    def __init__(self, left_out: set[str]) -> None:
        """Leave out the keys *left_out*, wherever they are."""
        self.left_out, self._numbered = left_out, Numbered()

    def __call__(self, value: Any, in_result: bool = False) -> Any:
        """Return *value* as dicts, lists and texts, with ids and times as numbers."""
        if value is None or isinstance(value, int):
            return value
        if isinstance(value, BaseMessage):
            shown = {"is": type(value).__name__, **value.model_dump()}
            return self({key: shown[key] for key in shown if key != "id" or not in_result})
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            shown = {field.name: getattr(value, field.name) for field in _shown(value)}
            return self(shown, in_result)
        if isinstance(value, Mapping):
            keys = sorted((key for key in value if key not in self.left_out), key=str)
            # A message without an id gets one from a channel, in place, while it is saved.
            within = {key: in_result or key == "result" for key in keys}
            return {self._numbered(key): self(value[key], within[key]) for key in keys}
        if hasattr(value, "_asdict"):
            return self(value._asdict(), in_result)
        if isinstance(value, list | tuple):
            return [self(each, in_result) for each in value]
        return self._numbered(value)


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Yield where the two differ, and how."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            yield from differences(ours.get(key), theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(*pair, f"{path}[{number}]")
    elif ours != theirs:
        yield f"{path}: {ours} != {theirs}"


def _shown(value: Any) -> Any:
    return [field for field in dataclasses.fields(value) if field.repr]


def as_input(given: Any) -> Any:
    """Return an input for an agent: a text is what a human says."""
    return {"messages": [given]} if isinstance(given, str) else given


def decide(*decisions: Any) -> Command[Any]:
    """Return the answer of a human in the loop."""
    return Command(resume={"decisions": list(decisions)})
