"""Whether our functions are there as this version has them, and none beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langgraph_sessions.doctor.findings import COMMAND, Finding
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql import functions
from langgraph_sessions.sql.citus import functions as citus_functions
from langgraph_sessions.sql.place import SCHEMA

_FUNCTIONS: Final = f"""
SELECT proname AS name, pg_get_function_identity_arguments(oid) AS arguments, prosrc AS body,
    oid::regprocedure::text AS signature
FROM pg_proc WHERE proname = ANY (%(functions)s)
    AND pronamespace = to_regnamespace({SCHEMA})
ORDER BY signature"""


def find(*, newer: bool, distributed: bool) -> Plan[list[Finding]]:
    """Compare our functions with those of this version.

    Args:
        newer: They have a higher number: what a newer version made of them is right.
        distributed: The tables are distributed by Citus.
    """
    kept = citus_functions.load() if distributed else functions.load()
    wanted = {(function.name, function.arguments): function.body for function in kept}
    script = f"{COMMAND} ddl --functions{' --citus' if distributed else ''} | psql URL"
    rows = yield Fetch(_FUNCTIONS, {"functions": [name for name, _ in wanted]})
    there = {(row["name"], row["arguments"]): row["body"] for row in rows}
    if newer:
        names = {name for name, _ in there}
        return _wrong(sorted({name for name, _ in wanted} - names), script)
    wrong = sorted(key[0] for key, body in wanted.items() if there.get(key) != body)
    extra = [r["signature"] for r in rows if (r["name"], r["arguments"]) not in wanted]
    return _wrong(wrong, script) + _extra(extra)


def _wrong(names: Sequence[str], script: str) -> list[Finding]:
    if not names:
        return []
    what = "functions are missing, or are not those of this version"
    return [Finding("function", what, script, len(names), [*names])]


def _extra(signatures: Sequence[str]) -> list[Finding]:
    if not signatures:
        return []
    what = "functions of these names, with other arguments, may be called in place of ours"
    mend = f"once no older version is at work: DROP FUNCTION {', '.join(signatures)}"
    return [Finding("function-extra", what, mend, len(signatures), [*signatures])]
