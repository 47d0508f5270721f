"""A database whose commits take their time, as of one that waits for a disk or a standby."""

from __future__ import annotations

import psycopg
from psycopg import sql

from tests.support import psycopg_pool_options

# Once for each transaction, at its commit: a deferred trigger is called for each row.
_FUNCTION = """
CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('tests.waited', TRUE) IS DISTINCT FROM pg_current_xact_id()::text THEN
        PERFORM set_config('tests.waited', pg_current_xact_id()::text, TRUE);
        PERFORM pg_sleep(TG_ARGV[0]::float8);
    END IF;
    RETURN NULL;
END $$"""
_TRIGGER = """
CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT OR UPDATE ON {}
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit({})"""


def slow_commits(url: str, seconds: float = 0.005) -> None:
    """Let each transaction that saves checkpoints or writes take so long to commit."""
    with psycopg.connect(url, **psycopg_pool_options()) as db:
        db.execute(_FUNCTION)
        for table in ("checkpoints", "checkpoint_writes"):
            names = sql.Identifier(table), sql.Literal(str(seconds))
            db.execute(sql.SQL(_TRIGGER).format(*names))
