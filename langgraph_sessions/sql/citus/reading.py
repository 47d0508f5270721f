"""What LangGraph reads, by its own statements, and what is listed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from langgraph.checkpoint.postgres.base import PRUNE_DELTA_THREADS_SQL, SELECT_SQL

from langgraph_sessions.plans import Fetch, Question
from langgraph_sessions.sql.citus.asking import ask
from langgraph_sessions.sql.citus.opening import of_one_thread

_FUNCTION: Final = "from jsonb_each_text(checkpoint -> 'channel_versions')"
_SUBSELECT: Final = (
    "from (select * from jsonb_each_text(checkpoint -> 'channel_versions')) as jsonb_each_text"
)
_ONE: Final = re.compile(re.escape(SELECT_SQL) + r"\s*WHERE thread_id = %s")
_LIMIT: Final = re.compile(r"\s+LIMIT 1(?=\s*\) AS snapshot)")


def _fetch(question: Fetch) -> Question:
    """Return a statement of LangGraph's for one shard, or else for all of them."""
    sql, params = question.sql, question.params
    if SELECT_SQL in sql:
        if _ONE.match(sql) and isinstance(params, Sequence):
            # Its sub-selects come first: one for what is in channels, one for what was written.
            return ask(of_one_thread(sql, "%s"), [params[0], params[0], *params])
        return ask(sql.replace(_FUNCTION, _SUBSELECT), params)
    if sql == PRUNE_DELTA_THREADS_SQL:
        return ask(_LIMIT.sub("", sql), params)
    return question


TRANSLATIONS: Final[dict[type, Any]] = {Fetch: _fetch}
