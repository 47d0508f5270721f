r"""The functions that live in the database, beside the tables: one a file, its reason inside.

They are there for what must happen in one transaction, under one lock, or without the data
leaving the server. A comment stands in the body, so that it is read in the database, too, by
psql's `\sf`.

To change one, edit its file, raise `FUNCTIONS_VERSION`, and set the digest that a test holds
beside it: `setup()` makes all of them again where the database's number is lower. It leaves
those of a higher number alone, since workers of two versions use one database for a while. For
the same reason a function keeps its arguments and its result: what runs call takes one jsonb, of
which an absent key has a default and an unknown one is ignored; anything else that must take, or
give, something else gets a new name.

A user's id is compared without a cast, by PostgreSQL's own operator: behind a cast Citus would not
see by which shard to go.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

FUNCTIONS_VERSION: Final = 1

# SQLSTATEs that they raise; the classes I to Z are for applications.
NOT_FOUND: Final = "LGS01"
IN_USE: Final = "LGS02"
NO_CHECKPOINT: Final = "LGS03"
CONFLICT: Final = "LGS04"
TOO_LARGE: Final = "LGS05"

# In this order they are created: one in SQL after those that it calls.
FILES: Final = (
    "refuse",
    "thread_key",
    "plain",
    "free",
    "exists",
    "hold",
    "check",
    "status_after",
    "status",
    "latest",
    "within",
    "moment",
    "put",
    "columns",
    "line",
    "copy",
    "copy_session",
    "owner",
    "thread_owner",
)
_PARTS: Final = re.compile(
    r"CREATE OR REPLACE FUNCTION (?P<name>\w+)\((?P<arguments>.*?)\)\s+RETURNS\b"
    r".*?\$\$(?P<body>.*)\$\$;\s*",
    re.DOTALL,
)


class Function(NamedTuple):
    """A function.

    Attributes:
        name: Its name.
        arguments: Its arguments, as `pg_get_function_identity_arguments` prints them.
        body: What stands between the dollar quotes, as PostgreSQL keeps it.
        sql: The statement that creates it.
    """

    name: str
    arguments: str
    body: str
    sql: str


def load() -> tuple[Function, ...]:
    """Return all functions, in the order in which they are created."""
    return tuple(by_file().values())


@cache
def by_file() -> dict[str, Function]:
    """Return all functions by the names of their files, in that order."""
    folder = resources.files(__name__)
    return {file: parsed((folder / f"{file}.sql").read_text("utf-8")) for file in FILES}


def parsed(sql: str) -> Function:
    """Return the function that the statement *sql* creates."""
    found = _PARTS.fullmatch(sql)
    assert found, sql
    arguments = re.sub(r" DEFAULT \w+", "", " ".join(found["arguments"].split()))
    return Function(found["name"], arguments, found["body"], sql.strip())
