"""Where the search path leads, and who else has tables of our names there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langgraph_sessions.doctor.findings import Finding
from langgraph_sessions.errors import SessionError
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql.place import TABLES
from langgraph_sessions.sql.strangers import REMEDY

_ELSEWHERE: Final = """
SELECT DISTINCT quote_ident(n.nspname) AS schema
FROM unnest(current_schemas(FALSE)) AS path JOIN pg_namespace AS n ON n.nspname = path
JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = ANY (%(tables)s::name[])
WHERE n.nspname <> current_schema() ORDER BY schema"""


def no_place(error: SessionError) -> Finding:
    """Tell of a search path that leads to no place for tables."""
    mend = "set another, by the URL's options, ALTER ROLE or ALTER DATABASE"
    return Finding("search-path", str(error), mend)


def strangers(found: Sequence[str]) -> Finding:
    """Tell of tables that are somebody else's, whose differences were *found*."""
    what = "somebody else's tables have names of ours: a set-up refuses, and leaves them alone"
    return Finding("table-foreign", what, REMEDY, len(found), [*found])


def find_elsewhere() -> Plan[list[Finding]]:
    """Tell of schemas further on in the search path with tables of these names."""
    rows = yield Fetch(_ELSEWHERE, {"tables": list(TABLES)})
    if not rows:
        return []
    which = [row["schema"] for row in rows]
    what = "schemas further on in the search path have tables of these names, which are not used"
    mend = "nothing, if they are another tenant's; else change the order of the path"
    return [Finding("table-elsewhere", what, mend, len(which), which, is_problem=False)]
