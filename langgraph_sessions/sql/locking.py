"""Locking all of some tables against runs, in a script or a set-up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

TRIES: Final = 300  # A minute.

# Saves and loads lock the tables in different orders. So that no run is the victim of a deadlock,
# what waits gives up before PostgreSQL looks for one (deadlock_timeout, a second), and tries again.
_LOCK: Final = """
DO $$
DECLARE
    whole text := (
        SELECT string_agg(format('%I.%I', current_schema(), name), ', ')
        FROM unnest(ARRAY[{names}]) AS name
        WHERE to_regclass(format('%I.%I', current_schema(), name)) IS NOT NULL
    );
BEGIN
    SET LOCAL lock_timeout = '200ms';
    FOR try IN 1..{tries} LOOP
        EXIT WHEN whole IS NULL;
        BEGIN
            EXECUTE 'LOCK TABLE ' || whole || ' IN ACCESS EXCLUSIVE MODE';
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = {tries} THEN RAISE; END IF;
        END;
    END LOOP;
    SET LOCAL lock_timeout = 0;
END $$"""


def locked(tables: Iterable[str]) -> str:
    """Return the statement that locks those of *tables* that are there, to the transaction's end.

    It waits a minute at most.
    """
    names = ", ".join(f"'{table}'" for table in tables)
    return _LOCK.format(names=names, tries=TRIES).strip()
