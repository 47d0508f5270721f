"""What LangGraph reads, by its own statements, and what is listed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from langgraph.checkpoint.postgres.base import PRUNE_DELTA_THREADS_SQL, SELECT_SQL

from langgraph_sessions.plans import Fetch, Plan, Question, Rows
from langgraph_sessions.sql.citus.asking import ask, steps
from langgraph_sessions.sql.citus.opening import CORRELATED, settled
from langgraph_sessions.sql.listing import ListConversations, ListSessions

_FUNCTION: Final = "from jsonb_each_text(checkpoint -> 'channel_versions')"
_SUBSELECT: Final = (
    "from (select * from jsonb_each_text(checkpoint -> 'channel_versions')) as jsonb_each_text"
)
_OF_ONE: Final = re.compile(r"\bWHERE thread_id = %s")
_LIMIT: Final = re.compile(r"\s+LIMIT 1(?=\s*\) AS snapshot)")


def _fetch(question: Fetch) -> Question:
    """Return a statement of LangGraph's for one shard, or else for all of them."""
    sql, params = question.sql, question.params
    if CORRELATED.search(sql) and isinstance(params, Sequence) and (of := _OF_ONE.search(sql)):
        return _of_one_thread(sql, params, _count(sql[: of.start()]))
    if SELECT_SQL in sql:
        return ask(sql.replace(_FUNCTION, _SUBSELECT), params)
    other = _for_citus(sql)
    return question if other is sql else ask(other, params)


def _of_one_thread(sql: str, params: Sequence[Any], place: int) -> Question:
    """As `opening.of_one_thread`; the thread's id is the parameter at *place*."""
    parts: list[str] = []
    given: list[Any] = []
    begin = 0
    for found in CORRELATED.finditer(sql):
        part = sql[begin : found.start()]
        given += [*params[len(given) - len(parts) :][: _count(part)], params[place]]
        parts.append(f"{part}{found[1]}.thread_id = %s")
        begin = found.end()
    return ask("".join([*parts, sql[begin:]]), [*given, *params[len(given) - len(parts) :]])


def _count(sql: str) -> int:
    return sql.count("%s")


class Pruning:
    """A cursor, sync or async, with which LangGraph prunes: it sends what Citus can carry out."""

    def __init__(self, cursor: Any) -> None:
        """Stand before *cursor*."""
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        """Return the cursor's own."""
        return getattr(self._cursor, name)

    def execute(self, sql: str, params: Any, **options: Any) -> Any:
        """Execute a statement."""
        return self._cursor.execute(_for_citus(sql), params, **options)


def _for_citus(sql: str) -> str:
    """Return a statement of LangGraph's that looks at several threads for all of their shards."""
    return _LIMIT.sub("", sql) if sql == PRUNE_DELTA_THREADS_SQL else sql


def _list_conversations(question: ListConversations) -> Plan[Rows]:
    """Threads that had yet to become visible are so afterwards."""
    rows: Rows = yield ListSessions(**vars(question))
    sql = "SELECT thread_id FROM session_threads WHERE thread_id = ANY (%(thread_ids)s)"
    seen = yield ask(sql, {"thread_ids": [row["thread_id"] for row in rows]})
    there = {row["thread_id"] for row in seen}
    for row in rows:
        if row["thread_id"] not in there:
            yield from settled(row["user_id"], row["thread_id"])
    return rows


TRANSLATIONS: Final[dict[type, Any]] = {
    Fetch: _fetch,
    ListConversations: steps(_list_conversations),
}
