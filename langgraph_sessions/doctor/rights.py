"""What the role may not do, and what others may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg.rows import DictRow

from langgraph_sessions.doctor.findings import Finding
from langgraph_sessions.plans import Fetch, Plan
from langgraph_sessions.sql.citus.functions import load
from langgraph_sessions.sql.place import SCHEMA, here

_RIGHTS: Final = f"""
SELECT quote_ident(current_user) AS role, name AS of, p AS privilege
FROM unnest(%(tables)s::text[]) AS name
CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p
WHERE (p = 'SELECT' OR name NOT SIMILAR TO '%%(migrations|functions)')
AND NOT has_table_privilege({here("name")}, p)
UNION ALL
SELECT quote_ident(current_user), s, 'USAGE'
FROM pg_attribute CROSS JOIN
    pg_get_serial_sequence({SCHEMA} || '.user_sessions', attname) AS s
WHERE attrelid = {here("'user_sessions'")} AND attname = 'id' AND NOT attisdropped
AND NOT has_sequence_privilege(s, 'USAGE')
UNION ALL
SELECT quote_ident(current_user), oid::regprocedure::text, 'EXECUTE'
FROM pg_proc WHERE proname = ANY (%(functions)s) AND pronamespace = to_regnamespace({SCHEMA})
AND NOT has_function_privilege(oid, 'EXECUTE')"""
# Who else may create in a schema of the search path than its owner, the tables', and we.
_CREATORS: Final = f"""
SELECT DISTINCT quote_ident(nspname) AS schema, nspname <> current_schema() AS is_other,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS role
FROM unnest(current_schemas(FALSE)) AS path JOIN pg_namespace ON nspname = path
CROSS JOIN aclexplode(nspacl)
WHERE privilege_type = 'CREATE' AND grantee <> nspowner
AND grantee IS DISTINCT FROM (SELECT relowner FROM pg_class WHERE oid = {here("'user_sessions'")})
AND grantee <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
ORDER BY is_other, schema, role"""


def find(tables: Sequence[str]) -> Plan[list[Finding]]:
    """Tell of rights that the role lacks on *tables*, those that are there, and on functions."""
    if "user_sessions" not in tables:
        return []
    # Those that Citus alone has are looked at where they are there.
    params = {"tables": list(tables), "functions": [function.name for function in load()]}
    rows = yield Fetch(_RIGHTS, params)
    if not rows:
        return []
    role = rows[0]["role"]
    which = [f"{row['privilege']} on {row['of']}" for row in rows]
    grants = "; ".join(_grant(row, role) for row in rows)
    return [Finding("rights", f"the role {role} lacks rights", grants, len(which), which)]


def _grant(row: DictRow, role: str) -> str:
    kind = {"USAGE": "SEQUENCE ", "EXECUTE": "FUNCTION "}.get(row["privilege"], "")
    return f"GRANT {row['privilege']} ON {kind}{row['of']} TO {role}"


def find_creators() -> Plan[list[Finding]]:
    """Tell of those who may put something of their own in place of what we call."""
    rows = yield Fetch(_CREATORS)
    schemas = dict.fromkeys(row["schema"] for row in rows)
    return [_open(schema, [r["role"] for r in rows if r["schema"] == schema]) for schema in schemas]


def _open(schema: str, roles: Sequence[str]) -> Finding:
    what = f"others may create functions in the schema {schema}, also in place of what is called"
    mend = f"REVOKE CREATE ON SCHEMA {schema} FROM {', '.join(roles)}"
    return Finding("schema-open", what, mend, len(roles), [*roles], is_problem=False)
