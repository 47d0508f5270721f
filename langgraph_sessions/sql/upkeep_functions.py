"""The functions that say whose a thread is.

They stand beside those of `sql.functions`, which lists them all in order.
"""

from __future__ import annotations

from typing import Final

# Whose run saved a checkpoint, by the metadata that LangGraph copies from the configurable: text
# or a whole number, as a run's user_id may be.
OWNER: Final = """
CREATE OR REPLACE FUNCTION user_sessions_owner(p_metadata jsonb)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN jsonb_typeof(owner) = 'string' THEN owner #>> '{}'
        WHEN jsonb_typeof(owner) = 'number' AND owner #>> '{}' !~ '[.eE]' THEN owner #>> '{}'
    END FROM coalesce(p_metadata -> 'langgraph_auth_user_id', p_metadata -> 'user_id') AS owner
$$"""

# Whose a thread without a session is: whom its newest checkpoint names, of those that name anybody,
# the root graph's first. A state updated without a user takes a thread from nobody; an older
# checkpoint of another user's gives it to nobody.
THREAD_OWNER: Final = """
CREATE OR REPLACE FUNCTION user_sessions_thread_owner(p_thread_id text)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT owner FROM checkpoints AS c CROSS JOIN LATERAL user_sessions_owner(c.metadata) AS owner
    WHERE c.thread_id = p_thread_id AND owner IS NOT NULL
    ORDER BY c.checkpoint_ns = '' DESC, c.checkpoint_id DESC LIMIT 1
$$"""
