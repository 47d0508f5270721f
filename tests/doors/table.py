"""The doors to a thread: every entry of LangGraph and of the savers, each a small function.

`thread` says on which of alice's threads a door is tried; `open_to` says to which strangers the
contract opens it, and why.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.func import entrypoint
from langgraph.types import Command, StateUpdate

from tests.doors.visiting import KINDS, Visit
from tests.support import graph_builder

Use = Callable[[Visit], Coroutine[Any, Any, Any]]

SAY: Final[dict[str, Any]] = {"messages": ["hello"]}
METADATA: Final[Any] = {"source": "loop", "step": 9, "parents": {}}
TWO: Final = ("hers", "left")  # A session, and a thread that a plain saver left.


@dataclass(frozen=True)
class Door:
    """A way to a thread.

    Attributes:
        entry: What it opens: a method, by the name that its sync version has.
        use: Opens it.
        threads: On which of alice's threads it is tried.
        kinds: How the saver is used.
        open_to: Visitors who may, by the contract, and the words of the contract.
        tells: The refusal where a thread that nothing has would be taken for a new session.
    """

    entry: str
    use: Use
    threads: tuple[str, ...]
    kinds: tuple[str, ...]
    open_to: Mapping[str, str]
    tells: type[Exception] | None

    @property
    def name(self) -> str:
        """What it is called in a test's id."""
        return self.use.__name__


class Doors(list[Door]):
    """A list of doors to which functions are added."""

    def __call__(
        self,
        entry: str,
        *threads: str,
        kinds: tuple[str, ...] = KINDS,
        open_to: Mapping[str, str] | None = None,
        tells: type[Exception] | None = None,
    ) -> Callable[[Use], Use]:
        """Return what makes a door of a function."""

        def add(use: Use) -> Use:
            self.append(Door(entry, use, threads or ("hers",), kinds, open_to or {}, tells))
            return use

        return add


door: Final = Doors()

# --- Runs -----------------------------------------------------------------------------------------


@door("graph.invoke", *TWO)
async def invoke(v: Visit) -> Any:
    return await v.graph("invoke", SAY, v.config())


@door("graph.invoke", *TWO)
async def invoke_saved_at_its_end(v: Visit) -> Any:
    return await v.graph("invoke", SAY, v.config(), durability="exit")


@door("graph.invoke", *TWO)
async def go_on_with_nothing(v: Visit) -> Any:
    return await v.graph("invoke", None, v.config(checkpoint_id=v.checkpoint_id(1)))


@door("graph.invoke", *TWO)
async def go_on_from_a_checkpoint(v: Visit) -> Any:
    return await v.graph("invoke", SAY, v.config(checkpoint_id=v.checkpoint_id()))


@door("graph.invoke", "waits")
async def answer(v: Visit) -> Any:
    return await v.asks("invoke", Command(resume="yes"), v.config())


@door("graph.invoke", "hers")
async def invoke_with_an_update(v: Visit) -> Any:
    return await v.graph("invoke", Command(update=SAY, goto="node"), v.config())


@door("graph.invoke", "waits")
async def invoke_in_a_namespace(v: Visit) -> Any:
    return await v.asks("invoke", SAY, v.config(checkpoint_ns=v.house.below))


@door("graph.invoke")
async def rename_by_a_run(v: Visit) -> Any:
    return await v.graph("invoke", SAY, v.config(title="Taken"))


@door("graph.invoke")
async def deactivate_by_a_run(v: Visit) -> Any:
    return await v.graph("invoke", SAY, v.config(is_active=False))


@door("graph.invoke", *TWO)
async def invoke_an_entrypoint(v: Visit) -> Any:
    @entrypoint(checkpointer=v.talk.saver)
    def work(given: str, *, previous: Any = None) -> str:
        return f"{given} after {previous}"

    return await v.talk.call(work, "invoke", "hello", v.config())


@door("graph.stream", *TWO)
async def stream(v: Visit) -> Any:
    return await v.graph("stream", SAY, v.config(), stream_mode=["values", "debug", "checkpoints"])


@door("graph.astream_events", *TWO, kinds=("async", "awaited"))
async def stream_events(v: Visit) -> Any:
    return await v.graph("stream_events", SAY, v.config(), version="v2")


@door("graph.transform", kinds=("sync", "from threads"))
async def transform(v: Visit) -> Any:
    return await v.graph("transform", iter([SAY]), v.config())


@door("graph.batch", *TWO)
async def batch(v: Visit) -> Any:
    return await v.graph("batch", [SAY], [v.config()])


@door("graph.batch_as_completed")
async def batch_as_completed(v: Visit) -> Any:
    return await v.graph("batch_as_completed", [SAY], [v.config()])


@door("graph.with_config", *TWO)
async def with_config(v: Visit) -> Any:
    return await v.talk.call(v.talk.graph.with_config(v.config()), "invoke", SAY)


# --- Runs inside runs -----------------------------------------------------------------------------


def calling(v: Visit, inner: Any, **place: Any) -> Any:
    """Return a graph, on no thread of hers, whose node calls *inner* on the thread."""
    there: RunnableConfig = {"configurable": {"thread_id": v.thread_id, **place}}

    def node(state: Any) -> Any:
        return inner.invoke(SAY, there)

    async def anode(state: Any) -> Any:
        return await inner.ainvoke(SAY, there)

    return v.talk.compile(graph_builder(anode if v.talk.is_async else node))


@door("graph.invoke", *TWO)
async def call_in_a_node(v: Visit) -> Any:
    inner = v.talk.compile(graph_builder())
    outer = {**v.config(), "configurable": {**v.visitor.identity, "thread_id": "outer"}}
    return await v.talk.call(calling(v, inner), "invoke", SAY, outer)


@door("graph.get_state", *TWO)
async def look_in_a_node(v: Visit) -> Any:
    there: RunnableConfig = {"configurable": {"thread_id": v.thread_id}}
    graph, seen = v.talk.graph, []

    def node(state: Any) -> Any:
        seen.append(graph.get_state(there))

    async def anode(state: Any) -> Any:
        seen.append(await graph.aget_state(there))

    outer = {**v.config(), "configurable": {**v.visitor.identity, "thread_id": "outer"}}
    looking = v.talk.compile(graph_builder(anode if v.talk.is_async else node))
    await v.talk.call(looking, "invoke", SAY, outer)
    return seen


# --- State ----------------------------------------------------------------------------------------


@door("graph.get_state", *TWO)
async def get_state(v: Visit) -> Any:
    return await v.graph("get_state", v.config())


@door("graph.get_state", "waits", "left")
async def get_state_with_subgraphs(v: Visit) -> Any:
    return await v.asks("get_state", v.config(), subgraphs=True)


@door("graph.get_state", *TWO)
async def get_state_of_a_checkpoint(v: Visit) -> Any:
    return await v.graph("get_state", v.config(checkpoint_id=v.checkpoint_id(-1)))


@door("graph.get_state", "waits")
async def get_state_of_a_namespace(v: Visit) -> Any:
    return await v.asks("get_state", v.config(checkpoint_ns=v.house.below))


@door("graph.get_state_history", *TWO)
async def get_state_history(v: Visit) -> Any:
    return await v.graph("get_state_history", v.config())


@door("graph.get_state_history", *TWO)
async def get_state_history_in_part(v: Visit) -> Any:
    before = v.config(checkpoint_id=v.checkpoint_id(-1))
    part: dict[str, Any] = {"filter": {"source": "loop"}, "before": before, "limit": 5}
    return await v.graph("get_state_history", v.config(), **part)


@door("graph.update_state", *TWO)
async def update_state(v: Visit) -> Any:
    return await v.graph("update_state", v.config(), SAY)


@door("graph.update_state", *TWO)
async def update_state_of_a_checkpoint(v: Visit) -> Any:
    return await v.graph("update_state", v.config(checkpoint_id=v.checkpoint_id(-1)), SAY, "node")


@door("graph.update_state", "waits")
async def update_state_of_a_namespace(v: Visit) -> Any:
    return await v.asks("update_state", v.config(checkpoint_ns=v.house.below), SAY)


@door("graph.update_state", *TWO)
async def copy_a_checkpoint(v: Visit) -> Any:
    return await v.graph("update_state", v.config(), None, "__copy__")


@door("graph.bulk_update_state", *TWO)
async def bulk_update_state(v: Visit) -> Any:
    steps = [[StateUpdate(SAY, "node")], [StateUpdate(SAY, "node")]]
    return await v.graph("bulk_update_state", v.config(), steps)


# --- The saver's own methods ----------------------------------------------------------------------


@door("saver.get_tuple", *TWO, "waits")
async def get_tuple(v: Visit) -> Any:
    return await v.saver("get_tuple", v.config())


@door("saver.get_tuple", *TWO)
async def get_tuple_of_a_checkpoint(v: Visit) -> Any:
    return await v.saver("get_tuple", v.place(checkpoint_id=v.checkpoint_id()))


@door("saver.get_tuple", "waits")
async def get_tuple_of_a_namespace(v: Visit) -> Any:
    return await v.saver("get_tuple", v.config(checkpoint_ns=v.house.below))


@door("saver.get", *TWO)
async def get(v: Visit) -> Any:
    return await v.saver("get", v.config())


@door("saver.list", *TWO)
async def list_checkpoints(v: Visit) -> Any:
    return await v.saver("list", v.config())


@door("saver.list", *TWO)
async def list_some_checkpoints(v: Visit) -> Any:
    before = v.config(checkpoint_id=v.checkpoint_id(-1))
    return await v.saver("list", v.config(), filter={"source": "loop"}, before=before, limit=5)


@door("saver.list", "waits")
async def list_a_namespace(v: Visit) -> Any:
    return await v.saver("list", v.config(checkpoint_ns=v.house.below))


@door("saver.get_delta_channel_history", *TWO)
async def get_delta_channel_history(v: Visit) -> Any:
    place = v.place(checkpoint_id=v.checkpoint_id(-1))
    return await v.saver("get_delta_channel_history", config=place, channels=["messages"])


@door("saver.put", *TWO)
async def put(v: Visit) -> Any:
    return await v.saver("put", v.place(), empty_checkpoint(), METADATA, {})


@door("saver.put", "waits")
async def put_in_a_namespace(v: Visit) -> Any:
    place = v.config(checkpoint_ns=v.house.below)
    return await v.saver("put", place, empty_checkpoint(), METADATA, {})


@door("saver.put_writes")
async def put_writes(v: Visit) -> Any:
    place = v.place(checkpoint_id=v.checkpoint_id(-1))
    return await v.saver("put_writes", place, [("messages", "hello")], "task")


@door("saver.with_allowlist", *TWO)
async def with_allowlist(v: Visit) -> Any:
    clone = v.talk.saver.with_allowlist([("tests", "Visit")])
    return await v.talk.call(clone, "get_tuple", v.config())


@door("saver.with_allowlist", *TWO)
async def run_of_a_clone(v: Visit) -> Any:
    clone = copy.copy(v.talk.saver)
    return await v.talk.call(graph_builder().compile(checkpointer=clone), "invoke", SAY, v.config())


DOORS: Final = tuple(door)

# What takes a config, or is public, and leads to no thread of anybody's.
NO_DOORS: Final = {
    **dict.fromkeys(
        ("graph.get_graph", "graph.get_prompts", "graph.get_input_schema"), "about the graph"
    ),
    **dict.fromkeys(
        ("graph.get_output_schema", "graph.get_input_jsonschema", "graph.get_output_jsonschema"),
        "about the graph",
    ),
    "graph.astream_log": "deprecated, and `astream_events` by another name",
    "graph.stream_events": "the beta of a protocol that runs `stream`",
    "saver.setup": "makes tables",
    "saver.close": "closes what was opened",
    "saver.from_conn_string": "opens a saver",
    "saver.get_next_version": "counts versions of a channel",
    "saver.config_specs": "LangGraph's description of its keys",
    "saver.durable": "says whether the database is there",
    "saver.serde": "the serializer",
    "saver.sessions": "the manager",
}

# They take thread ids, or run ids, alone, and go by nobody's name: an operator's calls.
OPERATORS: Final = (
    "saver.delete_thread",
    "saver.prune",
    "saver.copy_thread",
    "saver.delete_for_runs",
)
