"""The doctor's findings, looked for beside the pages, which do not wait for them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from langgraph_sessions.doctor import visit
from langgraph_sessions.doctor.findings import Finding
from langgraph_sessions.errors import SessionError, described


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor said.

    Attributes:
        findings: What was found, problems first.
        moment: When.
        trouble: Why nothing could be looked at; `None` if it could.
    """

    findings: list[Finding]
    moment: datetime
    trouble: str | None = None

    @property
    def problems(self) -> int:
        """How many of the findings are to be mended."""
        return sum(finding.is_problem for finding in self.findings)


class Consulting:
    """The doctor of a database.

    Attributes:
        latest: What was said last; `None` before the first time.
    """

    def __init__(self, database: str | None) -> None:
        """Take a URL, or `None` for the embedded PostgreSQL, as `visit.visit` does."""
        self._database = database
        self._looking: threading.Thread | None = None
        self.latest: Diagnosis | None = None

    @property
    def is_looking(self) -> bool:
        """Whether somebody looks now."""
        return self._looking is not None and self._looking.is_alive()

    def begin(self) -> None:
        """Look, unless somebody does. In a thread that nobody waits for: it may take long."""
        if not self.is_looking:
            self._looking = threading.Thread(target=self._look, name="doctor", daemon=True)
            self._looking.start()

    def _look(self) -> None:
        from langgraph.checkpoint.postgres.base import MIGRATIONS

        try:
            findings, trouble = visit.visit(self._database, MIGRATIONS), None
        except (SessionError, psycopg.Error, OSError) as error:
            findings, trouble = [], described(error)
        self.latest = Diagnosis(findings, datetime.now(UTC), trouble)
