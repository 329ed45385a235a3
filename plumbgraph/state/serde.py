"""Serialization that refuses an unknown type when it is written, never when it is read."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib import import_module
from threading import local
from typing import Any, Literal, Self, TypeAlias

import ormsgpack
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_NUMPY_ARRAY,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)

from plumbgraph.errors import DataCorrupt, TypeRefused
from plumbgraph.state.direct import builder, is_direct
from plumbgraph.upstream import SAFE_MSGPACK_TYPES

TypeName: TypeAlias = tuple[str, str]
Allowed: TypeAlias = Iterable[type | tuple[str, ...]]

_OPTION = ormsgpack.OPT_NON_STR_KEYS
_PLAIN = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
    | ormsgpack.OPT_REPLACE_SURROGATES
)
_fault = local()
_SCALARS = frozenset({str, int, float, bool})
_NAMED = frozenset(
    {
        EXT_CONSTRUCTOR_SINGLE_ARG,
        EXT_CONSTRUCTOR_POS_ARGS,
        EXT_CONSTRUCTOR_KW_ARGS,
        EXT_METHOD_SINGLE_ARG,
        EXT_PYDANTIC_V1,
        EXT_PYDANTIC_V2,
    }
)


def plain(value: Any) -> bytes | None:
    """The value's content as msgpack, or None if it holds anything but plain data.

    A message counts as plain if its fields are: equal bytes then mean equal serialization.
    """
    if isinstance(value, BaseMessage):
        if not is_direct(type(value)) or value.__pydantic_extra__:
            return None
        value = value.__dict__
    try:
        return ormsgpack.packb(value, option=_PLAIN)
    except ormsgpack.MsgpackEncodeError:
        return None


def name_of(allowed: type | tuple[str, ...]) -> TypeName:
    """A type as it is named in stored bytes: module and class name."""
    if isinstance(allowed, type):
        return allowed.__module__, allowed.__name__
    return allowed[0], allowed[1]


class PlumbSerializer(JsonPlusSerializer):
    """LangGraph's msgpack format, strict in both directions.

    Safe types (messages, dates, sets, decimals, …) and those in `allow` may be stored; any other
    is refused when it is written, with the line that would allow it. A refused value would come
    back as a plain `dict` from a strict reader, and run code from a permissive one.

    Args:
        allow: Classes, or `(module, name)` pairs, that state may hold.
        types: "any" allows every importable type, as LangGraph does by default.
    """

    def __init__(self, *, allow: Allowed = (), types: Literal["strict", "any"] = "strict") -> None:
        self.allow = frozenset(name_of(each) for each in allow)
        self.types = types
        super().__init__(
            allowed_msgpack_modules=True if types == "any" else (tuple(self.allow) or None)
        )
        self._known: set[TypeName] = {
            (module, name) for module, name, *_ in SAFE_MSGPACK_TYPES
        } | self.allow

    def with_msgpack_allowlist(self, extra_allowlist: Allowed) -> Self:
        """A serializer that allows these types too, or this one where it already does."""
        extra = {name_of(each) for each in extra_allowlist} - self._known
        if not extra or self.types == "any":
            return self
        return type(self)(allow=self.allow | extra)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The value's type name and bytes.

        Raises:
            TypeRefused: A type in it is not allowed, or cannot be serialized at all.
        """
        scalar = type(obj) in _SCALARS
        if scalar:
            with suppress(ormsgpack.MsgpackEncodeError):
                return "msgpack", ormsgpack.packb(obj, option=_PLAIN)
        try:
            kind, data = super().dumps_typed(obj)
        except TypeError as error:
            raise TypeRefused(
                f"A {type(obj).__name__!r} cannot be stored: {error}.",
                hint="Convert it to plain data, or keep it out of the state.",
            ) from error
        if kind == "msgpack" and not scalar and plain(obj) is None:
            self.check(data)
        return kind, data

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value of a type name and bytes.

        Raises:
            TypeRefused: It holds a type that is no longer allowed.
            DataCorrupt: The bytes do not decode, or a class can no longer be imported.
        """
        if data[0] == "msgpack":
            return self.decode(data[1])
        return super().loads_typed(data)

    def decode(self, data: bytes) -> Any:
        """The value of msgpack bytes; see `loads_typed`."""
        try:
            return ormsgpack.unpackb(data, ext_hook=self._revive, option=_OPTION)
        except ormsgpack.MsgpackDecodeError as error:
            # ormsgpack drops what a hook raised.
            cause, _fault.error = getattr(_fault, "error", None), None
            if cause is not None:
                raise cause from None
            raise DataCorrupt(f"A stored value does not decode: {error}.") from error

    def check(self, data: bytes) -> None:
        """Raise `TypeRefused` unless every type named in these msgpack bytes may be stored."""
        for module, name in _named_types(data):
            self._admit(module, name, "written")

    def _admit(self, module: str, name: str, verb: str) -> None:
        if self.types == "strict" and (module, name) not in self._known:
            raise TypeRefused(
                f"The type '{module}.{name}' is not allowed in state; nothing was {verb}.",
                hint=f"Add it: PlumbSaver(…, allow=[({module!r}, {name!r})]).",
                type=f"{module}.{name}",
            )
        if _find(module, name) is None:
            message = f"The type '{module}.{name}' cannot be imported under that name"
            if verb == "written":
                raise TypeRefused(
                    f"{message}; reading it back would lose its type.",
                    hint="Define the class at the top level of a module.",
                    type=f"{module}.{name}",
                )
            raise DataCorrupt(f"{message}.", hint="Restore the class, or an alias of its old name.")

    def _revive(self, code: int, data: bytes) -> Any:
        if code == EXT_PYDANTIC_V2:
            module, name, fields, *_ = ormsgpack.unpackb(
                data, ext_hook=self._revive, option=_OPTION
            )
            build = builder(name, module)
            if build is not None and (message := build(fields)) is not None:
                return message
        try:
            return self._rebuild(code, data)
        except (TypeRefused, DataCorrupt) as error:
            _fault.error = error
            raise

    def _rebuild(self, code: int, data: bytes) -> Any:
        if code == EXT_PYDANTIC_V2:
            return self._model(data)
        if code == EXT_DELTA_SNAPSHOT or code in _NAMED:
            for module, name in _named_types(ormsgpack.packb(ormsgpack.Ext(code, data))):
                self._admit(module, name, "read")
        return self._unpack_ext_hook(code, data)

    def _model(self, data: bytes) -> Any:
        module, name, fields, *_ = ormsgpack.unpackb(data, ext_hook=self._revive, option=_OPTION)
        self._admit(module, name, "read")
        cls: Any = _find(module, name)
        try:
            return cls(**fields)
        except Exception:  # noqa: BLE001 - a validator of today refuses what was valid yesterday
            return cls.model_construct(**fields)


@cache
def _find(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None


def _named_types(data: bytes) -> set[TypeName]:
    found: set[TypeName] = set()

    def note(code: int, inner: bytes) -> None:
        if code == EXT_NUMPY_ARRAY:
            return
        content = ormsgpack.unpackb(inner, ext_hook=note, option=_OPTION)
        if code in _NAMED:
            found.add((content[0], content[1]))

    ormsgpack.unpackb(data, ext_hook=note, option=_OPTION)
    return found
