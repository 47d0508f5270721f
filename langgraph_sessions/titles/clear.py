"""Whether words of a conversation may be stored in clear, as titles are."""

from __future__ import annotations

from functools import lru_cache

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer


def may_title(auto_title: bool | None, serde: SerializerProtocol) -> bool:
    """Say whether titles are made of what is said: as *auto_title* says.

    `None`: yes, unless *serde* encrypts; then nobody else is to read it.
    """
    return not _encrypts(serde.__class__) if auto_title is None else auto_title


# It is asked at each run's start, and to ask a protocol's subclass takes long.
@lru_cache(maxsize=16)
def _encrypts(kind: type[SerializerProtocol]) -> bool:
    return issubclass(kind, EncryptedSerializer)
