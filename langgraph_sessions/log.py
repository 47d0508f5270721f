"""The package's one logger.

Messages are constant but for `described(error)`: what they are about, such as a `thread_id` or a
count, is in the record's `extra`, for a handler that shows or counts it. Nothing that anybody said
is in either.
"""

from __future__ import annotations

import logging
from typing import Final

logger: Final = logging.getLogger("langgraph_sessions")
