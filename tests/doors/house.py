"""What is alice's, with words that nobody else may see, and what stands in the tables of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Final

import psycopg
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import sql

from langgraph_sessions import Session, SessionSaver
from tests.support import TABLES, asking, config, graph_builder, past_pooler

Db = psycopg.Connection[Any]

# Every word of it is said by alice, or about her, and by nobody else.
SECRET: Final = "xylophone"
# Her threads: a session; one that waits for an answer, below a subgraph; one that a plain saver
# left; and a session of her agent `cook`.
HERS: Final = ("hers", "waits", "left", "cooked")
# What a door is tried with in their place: nothing has it.
NOWHERE: Final = "nowhere"


@dataclass(frozen=True)
class House:
    """A database with what is alice's and bob's in it.

    Attributes:
        url: Where it is.
        db: A connection of the test's own.
        checkpoints: For each of her threads, the ids of its root checkpoints, oldest first.
        below: The namespace of the subgraph in `waits`.
        run_id: A run of hers.
    """

    url: str
    db: Db
    checkpoints: Mapping[str, list[str]] = field(default_factory=dict)
    below: str = ""
    run_id: str = ""

    def of_alice(self, *, known: bool = False) -> dict[str, list[str]]:
        """Return every row that is alice's, or says her words; of those *known* by now alone."""
        asked = {"named": not known, "threads": list(HERS)}
        return {
            table: [row["it"] for row in self.db.execute(_ROWS[table], asked)] for table in TABLES
        }

    def keep(self) -> None:
        """Remember all rows, to be put back."""
        for table in TABLES:
            self.db.execute(_sql("CREATE TABLE kept.{0} AS SELECT * FROM public.{0}", table))

    def put_back(self) -> None:
        """Have every row as it was."""
        with self.db.transaction():
            for table in TABLES:
                self.db.execute(_sql("DELETE FROM public.{0}", table))
                self.db.execute(_sql("INSERT INTO public.{0} SELECT * FROM kept.{0}", table))


def _sql(statement: str, table: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(table))


# By the thread, by whose it is said to be, and by her word, also in what is serialised.
_NAMED: Final = {
    "checkpoints": "metadata ->> 'user_id' = 'alice'",
    "checkpoint_blobs": "FALSE",
    "checkpoint_writes": "FALSE",
}
_SERIALISED: Final = ("checkpoint_blobs", "checkpoint_writes")


def _rows(table: str) -> bytes:
    named = _NAMED.get(table, "user_id = 'alice'")
    hers = named if table == "session_users" else "thread_id = ANY (%(threads)s)"
    text = "encode(blob, 'escape')" if table in _SERIALISED else "t::text"
    return f"""
        SELECT t::text AS it FROM {table} AS t
        WHERE {hers} OR (%(named)s AND {named}) OR strpos({text}, '{SECRET}') > 0
        ORDER BY 1""".encode()


_ROWS: Final = {table: _rows(table) for table in TABLES}


# --- Moving in ----------------------------------------------------------------------------------


def furnish(url: str, db: Db) -> House:
    """Have alice and bob talk, and keep what they said."""
    with SessionSaver(url) as saver:
        plain, asks = _graphs(saver)
        alice = config(user_id="alice", thread_id="hers", title=f"Title {SECRET}")
        plain.invoke(_says_it("one"), {**alice, "metadata": {"run_id": "run-of-hers"}})
        plain.invoke(_says_it("two"), alice)
        saver.sessions.update_session("alice", {"metadata": {"note": SECRET}}, thread_id="hers")
        saver.sessions.update_preferences("alice", {"likes": SECRET})
        asks.invoke(_says_it("ask"), config(user_id="alice", thread_id="waits"))
        plain.invoke({"messages": ["mine"]}, config(user_id="bob", thread_id="his"))
        plain.invoke({"messages": ["whose"]}, config(thread_id="nobodys"))
    with SessionSaver(url, agent="cook") as saver:
        _graphs(saver)[0].invoke(_says_it("soup"), config(user_id="alice", thread_id="cooked"))
    with PostgresSaver.from_conn_string(past_pooler(url)) as saver:
        graph = graph_builder().compile(checkpointer=saver)
        graph.invoke(_says_it("long ago"), config(user_id="alice", thread_id="left"))
    db.execute("CREATE SCHEMA kept")
    house = House(url, db, _checkpoints(db), _below(db), "run-of-hers")
    house.keep()
    return house


def _graphs(saver: Any) -> tuple[Any, Any]:
    return graph_builder().compile(checkpointer=saver), asking(below=True).compile(
        checkpointer=saver
    )


def _says_it(text: str) -> dict[str, Any]:
    return {"messages": [f"{text} {SECRET}"]}


def _checkpoints(db: Db) -> dict[str, list[str]]:
    rows = db.execute(
        "SELECT thread_id, checkpoint_id FROM checkpoints WHERE checkpoint_ns = '' ORDER BY 1, 2"
    ).fetchall()
    return {
        thread: [row["checkpoint_id"] for row in rows if row["thread_id"] == thread]
        for thread in HERS
    }


def _below(db: Db) -> str:
    (row,) = db.execute(
        "SELECT DISTINCT checkpoint_ns FROM checkpoints "
        "WHERE thread_id = 'waits' AND checkpoint_ns <> ''"
    ).fetchall()
    return str(row["checkpoint_ns"])


# --- Words ----------------------------------------------------------------------------------------


def words(found: Any) -> Iterator[str]:
    """Yield all that can be read in *found*, a result or an exception, to its depths."""
    yield str(found)
    yield repr(found)
    if isinstance(found, BaseException):
        yield from _of_error(found)
    elif isinstance(found, BaseMessage):
        yield str(found.content)
    elif isinstance(found, Mapping):
        for key, value in found.items():
            yield from (*words(key), *words(value))
    elif isinstance(found, list | tuple):
        for each in found:
            yield from words(each)
    elif is_dataclass(found) and not isinstance(found, Session | type):
        yield from words(vars(found) if hasattr(found, "__dict__") else ())


def _of_error(error: BaseException) -> Iterator[str]:
    """Yield what an error says, and those behind it, which may be behind each other."""
    errors: list[BaseException | None] = [error]
    for each in errors:
        if each is None:
            continue
        yield from (str(each), repr(each))
        yield from map(str, (each.args, vars(each)))  # Notes are among the latter.
        behind = (each.__cause__, each.__context__)
        errors += [new for new in behind if not any(new is old for old in errors)]
