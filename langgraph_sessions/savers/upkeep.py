"""An operator's calls on whole threads: delete, prune and copy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from langgraph_sessions.database.database import Database
from langgraph_sessions.savers.in_threads import InThreads
from langgraph_sessions.sessions import deletion, upkeep
from langgraph_sessions.sessions.manager import AgentSessionManager


class ThreadUpkeep(InThreads):
    """The part of `SessionSaver` that is not about a run; each thread's session goes with it."""

    sessions: AgentSessionManager
    _database: Database

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread and its session, whoever owns it: an operator's call."""
        self.prune([thread_id], strategy="delete")

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Prune threads as the parent does; `"delete"`, or `"delete_all"`, with their sessions.

        Raises:
            TypeError: *thread_ids* is a single string.
            ValueError: *strategy* is unknown.
            NotImplementedError: `"keep_latest"`, and a thread uses a `DeltaChannel`.
            psycopg.errors.SerializationFailure: Another transaction changed a thread's rows while
                `"keep_latest"` pruned it; threads before it are pruned.
            psycopg.errors.DeadlockDetected: Likewise, by another prune of the thread.
        """
        if not deletion.deletes(thread_ids, strategy):
            prune = partial(super().prune, thread_ids, strategy=strategy)
            self._database.attempt(prune)
        elif thread_ids:
            plan = deletion.delete_threads([str(t) for t in thread_ids])
            self._database.run(self.sessions.cache.forgetting(plan))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread, in the database; its session, if it has one, for the same user.

        Where the source has neither checkpoints nor a session, nothing is copied, and no error
        raised.

        Raises:
            TypeError: A thread id is not a `str`, `int` or `UUID`.
            ValueError: *target_thread_id* is in use, or a thread id is blank or over 255
                characters.
        """
        plan = upkeep.copy_thread(source_thread_id, target_thread_id)
        self._database.run(self.sessions.cache.forgetting(plan))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete what runs saved, by the `run_id` in checkpoint metadata.

        A thread of which nothing is left loses its session, too.

        Raises:
            TypeError: *run_ids* is a single string.
            NotImplementedError: Later runs rebuild a `DeltaChannel` from what these saved;
                nothing was deleted.
        """
        plan = deletion.delete_runs(run_ids)
        self._database.run(self.sessions.cache.forgetting(plan))
