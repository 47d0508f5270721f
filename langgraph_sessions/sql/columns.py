"""The columns of our tables: the one home of a column.

The row types, the lists of columns, the doctor's checks and the rows of an outage follow from
here. How the columns came about is in `sql.migrations`; a test compares the two, and
`models.COLUMNS`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Column:
    """A column, in PostgreSQL's own words.

    Attributes:
        name: Its name.
        type: Its type, as `format_type` prints it.
        nullable: Whether it may be NULL.
        default: Its default, as `pg_get_expr` prints it; `None`: it has none, and an INSERT
            that leaves it out makes it NULL, or fails.
        seen: Whether users see it: in the order of the table, these are `models.COLUMNS`.
        in_runs: Whether a run knows it: it is in the row with which a run opens a session and
            which saves return that change more of it than when it was used. All that users see is.
    """

    name: str
    type: str
    nullable: bool = False
    default: str | None = None
    seen: bool = False
    in_runs: bool = False

    @property
    def initial(self) -> Any:
        """Its default in Python; `None` for an expression such as CURRENT_TIMESTAMP."""
        if self.default in ("true", "false"):
            return self.default == "true"
        if self.default is not None and self.default.isdigit():
            return int(self.default)
        if self.default is None or not self.default.startswith("'"):
            return None
        text = self.default[1:].rpartition("'::")[0]
        return json.loads(text) if self.type == "jsonb" else text

    @property
    def is_numbered(self) -> bool:
        """Whether a sequence numbers its rows, whatever the sequence is called."""
        return self.default is not None and self.default.startswith("nextval(")


def _seen(name: str, type_: str, default: str | None = None, *, nullable: bool = False) -> Column:
    return Column(name, type_, nullable, default, seen=True, in_runs=True)


_TEXT: Final = "character varying(255)"
_TIME: Final = "timestamp with time zone"
# What Python can hold, in whatever time zone.
EARLIEST: Final = "0001-01-02 00:00:00+00"
LATEST: Final = "9999-12-30 00:00:00+00"

USER_SESSIONS: Final = (
    _seen("id", "bigint", "nextval('user_sessions_id_seq'::regclass)"),
    _seen("user_id", _TEXT),
    _seen("thread_id", _TEXT),
    _seen("title", _TEXT),
    _seen("created_at", _TIME, "CURRENT_TIMESTAMP"),
    _seen("updated_at", _TIME, "CURRENT_TIMESTAMP"),
    _seen("is_active", "boolean", "true"),
    Column("current_at", _TIME, nullable=True, default="CURRENT_TIMESTAMP", in_runs=True),
    Column("status", "text", default="'idle'::text", in_runs=True),
    _seen("metadata", "jsonb", "'{}'::jsonb"),
    _seen("agent", _TEXT, nullable=True),
    _seen("forked_from", "text[]", nullable=True),
    Column("title_source", "text", default="'default'::text", in_runs=True),
    Column("titler_tries", "integer", default="0", in_runs=True),
    Column("titler_called", _TIME, nullable=True),
)
SESSION_THREADS: Final = (
    Column("thread_id", "text"),
    Column("user_id", _TEXT),
    Column("last_save", "text", nullable=True),
)
SESSION_USERS: Final = (
    Column("user_id", _TEXT),
    Column("preferences", "jsonb", default="'{}'::jsonb"),
)
SESSION_RESERVATIONS: Final = (
    Column("user_id", _TEXT),
    Column("agent", _TEXT),
    Column("thread_id", _TEXT),
)
USER_SESSIONS_MIGRATIONS: Final = (
    Column("version", "integer"),
    Column("applied_at", _TIME, default="CURRENT_TIMESTAMP"),
    Column("breaking", "boolean", default="false"),
)
USER_SESSIONS_FUNCTIONS: Final = (
    Column("version", "integer"),
    Column("applied_at", _TIME, default="CURRENT_TIMESTAMP"),
)

TABLES: Final[Mapping[str, Sequence[Column]]] = {
    "user_sessions": USER_SESSIONS,
    "session_threads": SESSION_THREADS,
    "session_users": SESSION_USERS,
    "session_reservations": SESSION_RESERVATIONS,
    "user_sessions_migrations": USER_SESSIONS_MIGRATIONS,
    "user_sessions_functions": USER_SESSIONS_FUNCTIONS,
}

# The names of a session's columns: those that users see, and those that a run knows.
SEEN: Final = tuple(column.name for column in USER_SESSIONS if column.seen)
_TIMES: Final = frozenset(column.name for column in USER_SESSIONS if column.type == _TIME)
IN_RUNS: Final = tuple(column.name for column in USER_SESSIONS if column.in_runs)


def shown(name: str, table: str = "") -> str:
    """Return what selects a session's column: a time, as Python can hold it.

    PostgreSQL has infinite ones, and years that Python's do not reach: one such row must not end
    a list of all.
    """
    place = f"{table}.{name}" if table else name
    if name not in _TIMES:
        return place
    return f"least(greatest({place}, '{EARLIEST}'), '{LATEST}')"


def record(names: Sequence[str]) -> str:
    """Return these columns of a session with their types, for `jsonb_to_record(…) AS s (…)`.

    So a statement reads the row that a function of ours returns as jsonb.
    """
    types = {column.name: column.type for column in USER_SESSIONS}
    return ", ".join(f"{name} {types[name]}" for name in names)
