"""LangGraph's tables, hash-partitioned by thread, as a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from langgraph_sessions import checks
from langgraph_sessions.sql import ddl, schema
from langgraph_sessions.sql.locking import locked

# What LangGraph reads and writes with a thread's id, and so in one partition.
TABLES: Final = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")

_HEADER: Final = """\
-- LangGraph's tables, made where they are not there, in {count} partitions each, by a hash of the thread.
-- What they hold is copied, meanwhile runs wait; it takes their size again. All of it or nothing.
"""  # noqa: E501
# A table is copied before it has a key: an index is built at once in less time than row by row.
# What a table does not take along by LIKE is given it again: key, indexes, owner and grants.
_CONVERT: Final = """
DO $$
DECLARE
    names CONSTANT text[] := ARRAY[{names}];
    name text;
    whole regclass;
    again text[];
    statement text;
BEGIN
    FOREACH name IN ARRAY names LOOP
        whole := format('%I.%I', current_schema(), name)::regclass;
        IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = whole AND NOT tgisinternal)
            OR EXISTS (SELECT FROM pg_policy WHERE polrelid = whole) THEN
            RAISE EXCEPTION
                '% has triggers or policies: drop them, and make them again after', name;
        END IF;
    END LOOP;
    FOREACH name IN ARRAY names LOOP
        whole := format('%I.%I', current_schema(), name)::regclass;
        IF (SELECT relkind FROM pg_class WHERE oid = whole) = 'p' THEN
            RAISE NOTICE '% is partitioned already, and left as it is', name;
            CONTINUE;
        END IF;
        again := ARRAY(
            SELECT format('ALTER TABLE %I ADD CONSTRAINT %I %s', name, conname,
                pg_get_constraintdef(oid))
            FROM pg_constraint WHERE conrelid = whole AND contype IN ('p', 'u')
            UNION ALL
            SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = whole
            AND indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE conrelid = whole)
            UNION ALL
            SELECT format('GRANT %s ON %I TO %s', privilege_type, name, coalesce(
                quote_ident(rolname), 'PUBLIC') || CASE WHEN is_grantable
                THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM pg_class AS c, aclexplode(relacl) LEFT JOIN pg_roles AS r ON r.oid = grantee
            WHERE c.oid = whole AND grantee <> relowner
            UNION ALL
            SELECT format('ALTER TABLE %I OWNER TO %I', made, pg_get_userbyid(relowner))
            FROM pg_class, (
                SELECT name AS made
                UNION ALL SELECT name || '_p' || part FROM generate_series(0, {last}) AS part
            ) AS tables WHERE oid = whole
        );
        EXECUTE format('ALTER TABLE %I RENAME TO %I', name, name || '_whole');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES)'
            ' PARTITION BY HASH (thread_id)', name, name || '_whole');
        FOR part IN 0..{last} LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH'
                ' (MODULUS {count}, REMAINDER %s)', name || '_p' || part, name, part);
        END LOOP;
        EXECUTE format('INSERT INTO %I SELECT * FROM %I', name, name || '_whole');
        EXECUTE format('DROP TABLE %I', name || '_whole');
        FOREACH statement IN ARRAY again LOOP
            EXECUTE statement;
        END LOOP;
        EXECUTE format('ANALYZE %I', name);
    END LOOP;
END $$;"""


def script(langgraph: Sequence[str], count: int) -> str:
    """Return the SQL that partitions LangGraph's tables, be they there or not, in use or not.

    It is run before the tables of this package are made, or after. Tables that are partitioned
    already are left as they are. Where one has triggers or policies, it fails and changes nothing.

    Args:
        langgraph: LangGraph's own list of migrations.
        count: Into how many partitions, from 2 to 1,024.

    Raises:
        ValueError: *count* is not among these.
    """
    if not 2 <= count <= checks.PARTITION_LIMIT:
        raise ValueError(f"count must be from 2 to {checks.PARTITION_LIMIT}, not {count}")
    names = ", ".join(f"'{table}'" for table in TABLES)
    lock = f"{locked(TABLES)};"
    convert = _CONVERT.format(names=names, count=count, last=count - 1).strip()
    body = [f"{schema.LOCK};", lock, *ddl.langgraph_script(langgraph), convert]
    return "\n\n".join([_HEADER.format(count=count) + "BEGIN;", *body, "COMMIT;"]) + "\n"
