"""Citus: the tables distributed over nodes, and the statements that differ there.

What a save checks stands with the thread, on its shard; what people see stands with the user:

    by thread_id   checkpoints, checkpoint_blobs, checkpoint_writes, session_threads
    by user_id     user_sessions, session_users, session_reservations
    everywhere     the tables of versions
    coordinator    session_locks, which is empty: where locks are held for long

So every statement of a run, and every list of a user's, goes to one shard. A transaction on both
shards is not visible at one moment: `functions/exists.sql` waits for a session, `has_thread.sql`
for a thread, and what calls them for either. Of the statements, most are the same as on one
PostgreSQL; `translating` has the others.
"""
