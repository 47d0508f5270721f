"""The way to PostgreSQL, which is tried again where a connection breaks."""

from __future__ import annotations

from typing import Final

URL_VARIABLE: Final = "DATABASE_URL"  # It names the database where the caller does not.
