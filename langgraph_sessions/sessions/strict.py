"""Reading what is stored without its graph: no code that a row names is run.

LangGraph's serializer imports and calls whatever a row names, unless it is told better: who can
write a row, or hand over a backup, would run code wherever somebody looks at it. Here, only types
that LangGraph calls safe are made. An application's own are its graph's to make: they are read as
the plain data they were stored as. What is no data at all, such as a function, is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import is_dataclass
from enum import Enum
from inspect import isclass
from typing import Any, Final

import ormsgpack
from langchain_core.load.load import Reviver
from langgraph.checkpoint.serde import _msgpack, jsonplus
from langgraph.checkpoint.serde.base import SerializerProtocol

from langgraph_sessions.errors import described, quoted

# How LangGraph writes objects of applications: enums and secrets, dataclasses and named tuples,
# models of pydantic's. Any other way is for types that it knows, or names nothing.
_OF_APPLICATIONS: Final = (
    jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG,
    jsonplus.EXT_CONSTRUCTOR_KW_ARGS,
    jsonplus.EXT_PYDANTIC_V1,
    jsonplus.EXT_PYDANTIC_V2,
)
_PLAIN: Final = (jsonplus.EXT_NUMPY_ARRAY,)
_DATA_METHODS: Final = ("_asdict", "model_dump", "dict", "get_secret_value")
_TYPES: Final = ("null", "bytes", "bytearray", "json", "msgpack")
_MESSAGES: Final = Reviver(allowed_objects="messages")


class Unreadable(ValueError):
    """What is stored cannot be read here; the text says why, without what was said."""


class StrictSerializer(jsonplus.JsonPlusSerializer):
    """LangGraph's serializer, that runs nothing a row names."""

    def __init__(self) -> None:
        """Make the types alone that LangGraph calls safe."""
        super().__init__(allowed_msgpack_modules=None)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Load what LangGraph's serializer wrote.

        Raises:
            Unreadable: It is encrypted, pickled or of another serializer, or names what is no data.
        """
        type_, content = data
        if "+" in type_:
            cipher = quoted(type_.partition("+")[2])
            raise Unreadable(f"it is encrypted ({cipher}): only its own serializer can read it")
        if type_ not in _TYPES:
            raise Unreadable(f"it holds {quoted(type_)}, which needs a serializer of its own")
        if type_ == "msgpack":
            # Before anything is made: LangGraph's own hook takes an error for a damaged value.
            _refuse_any(_named(content))
        return super().loads_typed(data)

    def _reviver(self, value: dict[str, Any]) -> Any:
        if value.get("lc") == 2 and value.get("type") == "constructor":
            *module, name = value.get("id") or [None]
            _refuse_any([(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, ".".join(map(str, module)), name)])
            return super()._reviver(value)
        return _MESSAGES(value)


class Guarded:
    """A serializer whose errors say what cannot be read, and nothing that is in it."""

    def __init__(self, serde: SerializerProtocol) -> None:
        """Load by *serde*."""
        self._serde = serde

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Refuse: this only reads."""
        raise NotImplementedError

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Load a value.

        Raises:
            Unreadable: It cannot be loaded.
        """
        try:
            return self._serde.loads_typed(data)
        except Unreadable:
            raise
        except Exception as error:
            # Its text may quote what was said.
            shown = quoted(data[0])
            raise Unreadable(f"its serializer fails on {shown}: {described(error)}") from None


def _named(content: bytes) -> list[tuple[object, ...]]:
    """Return what a msgpack value names: how it was written, module and name, at times a method."""
    named: list[tuple[object, ...]] = []

    def note(code: int, inner: bytes) -> None:
        if code not in _PLAIN:
            value = ormsgpack.unpackb(inner, ext_hook=note, option=ormsgpack.OPT_NON_STR_KEYS)
            if code != jsonplus.EXT_DELTA_SNAPSHOT:
                fields = value if isinstance(value, list) else [value]
                named.append((code, *fields[:2], *fields[3:4]))

    ormsgpack.unpackb(content, ext_hook=note, option=ormsgpack.OPT_NON_STR_KEYS)
    return named


def _refuse_any(named: Iterable[tuple[object, ...]]) -> None:
    for code, *names in named:
        if not _is_data(code, tuple(names)):
            shown = quoted(".".join(map(str, names)))
            raise Unreadable(f"it names {shown}, which is no data that LangGraph saves")


def _is_data(code: object, names: tuple[object, ...]) -> bool:
    """Say whether LangGraph may have written what is named: nothing is imported for it."""
    if code == jsonplus.EXT_METHOD_SINGLE_ARG:
        return names in _msgpack.SAFE_MSGPACK_METHODS
    if not all(isinstance(name, str) for name in names) or len(names) < 2:
        return False
    module, name = str(names[0]), str(names[1])
    if (module, name) in _msgpack.SAFE_MSGPACK_TYPES:
        return True
    if code not in _OF_APPLICATIONS:
        return False
    if module not in sys.modules:
        return module.partition(".")[0] not in sys.stdlib_module_names
    # Where it is not at its module's top, nobody can call it by its name.
    found = vars(sys.modules[module]).get(name, Enum)
    return isclass(found) and (
        issubclass(found, Enum)
        or is_dataclass(found)
        or any(hasattr(found, method) for method in _DATA_METHODS)
    )
