"""JSON as the types a program wants: dataclasses, lists, mappings, unions, enums, literals.

Owns the checks; what does not fit raises ConfigTypeError, which says where.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

# A name, and its value or that it is deleted.
Entry = tuple[bytes, bytes | None]
_SCALARS = {str: str, int: int, bool: bool, type(None): type(None)}


class ConfigTypeError(ValueError):
    """A published value does not have the type that the program asked for."""


def from_json(wanted: Any, value: Any, where: str = "the value") -> Any:
    """`value`, as `json.loads` gives it, as a `wanted`."""
    if wanted is Any or wanted is object:
        return value
    origin = get_origin(wanted)
    if origin is Literal:
        return _literal(wanted, value, where)
    if origin in (Union, types.UnionType):
        return _union(wanted, value, where)
    if dataclasses.is_dataclass(wanted):
        return _dataclass(wanted, value, where)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return _enum(wanted, value, where)
    if (origin or wanted) in (list, tuple, set, frozenset, Sequence):
        return _several(wanted, origin or wanted, value, where)
    if (origin or wanted) in (dict, Mapping):
        return _mapping(wanted, value, where)
    if hasattr(wanted, "model_validate"):
        # As pydantic has it: such types check for themselves.
        return wanted.model_validate(value)
    return _scalar(wanted, value, where)


def _scalar(wanted: Any, value: Any, where: str) -> Any:
    if wanted is float and type(value) in (int, float):
        return float(value)
    if wanted in _SCALARS and type(value) is _SCALARS[wanted]:
        return value
    if wanted is bytes and isinstance(value, str):
        return value.encode()
    if wanted is float or wanted is bytes or wanted in _SCALARS:
        raise _mismatch(where, wanted, value)
    raise TypeError(f"{where}: {wanted!r} is no type for a configuration")


def _literal(wanted: Any, value: Any, where: str) -> Any:
    for choice in get_args(wanted):
        if type(choice) is type(value) and choice == value:
            return choice
    raise _mismatch(where, wanted, value)


def _union(wanted: Any, value: Any, where: str) -> Any:
    for choice in get_args(wanted):
        try:
            return from_json(choice, value, where)
        except ConfigTypeError:
            continue
    raise _mismatch(where, wanted, value)


def _enum(wanted: type[enum.Enum], value: Any, where: str) -> Any:
    try:
        return wanted(value)
    except ValueError:
        raise _mismatch(where, wanted, value) from None


def _dataclass(wanted: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _mismatch(where, wanted, value)
    kinds = typing.get_type_hints(wanted)
    given = {}
    for field in dataclasses.fields(wanted):
        if not field.init:
            continue
        inside = f"{where}.{field.name}"
        if field.name in value:
            given[field.name] = from_json(kinds[field.name], value[field.name], inside)
        elif (
            field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            raise ConfigTypeError(f"{inside} is missing")
    # What is published for newer versions of a program is no mistake: other fields are left out.
    return wanted(**given)


def _several(wanted: Any, origin: Any, value: Any, where: str) -> Any:
    if not isinstance(value, list):
        raise _mismatch(where, wanted, value)
    kinds = get_args(wanted) or (Any, ...)
    if origin is tuple and not (len(kinds) == 2 and kinds[1] is ...):
        if len(kinds) != len(value):
            raise _mismatch(where, wanted, value)
        each = list(kinds)
    else:
        each = [kinds[0]] * len(value)
    made = [
        from_json(kind, one, f"{where}[{number}]")
        for number, (kind, one) in enumerate(zip(each, value, strict=True))
    ]
    return made if origin in (list, Sequence) else origin(made)


def _mapping(wanted: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _mismatch(where, wanted, value)
    keys, values = get_args(wanted) or (str, Any)
    return {
        from_json(keys, name, f"{where}: a key"): from_json(values, one, f"{where}.{name}")
        for name, one in value.items()
    }


def _mismatch(where: str, wanted: Any, value: Any) -> ConfigTypeError:
    kind = getattr(wanted, "__name__", str(wanted))
    shown = json.dumps(value)
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return ConfigTypeError(f"{where} is to be {kind}, not {shown}")


def decoder(wanted: Any, prefix: bool) -> Callable[[list[tuple[bytes, bytes]]], Any]:
    """From the published pairs to a value.

    A single key has the empty name. With `prefix` there is a field for each name.
    """
    return lambda pairs: _decoded(wanted, prefix, pairs)


def _decoded(wanted: Any, prefix: bool, pairs: list[tuple[bytes, bytes]]) -> Any:
    if prefix:
        if get_origin(wanted) is dict and get_args(wanted)[1] is bytes:
            return {name.decode(): value for name, value in pairs}
        fields = {name.decode(): json.loads(value) for name, value in pairs}
        return from_json(wanted, fields)
    _, value = pairs[0]
    if wanted is bytes:
        return value
    if wanted is str:
        return value.decode()
    return from_json(wanted, json.loads(value))


def to_bytes(value: Any, *, text_as_json: bool = False) -> bytes:
    """A value as it is published: bytes as they are, and so text; all others as JSON."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and not text_as_json:
        return value.encode()
    return json.dumps(value, default=_plain, ensure_ascii=False).encode()


def entries(value: Any, prefix: bool) -> list[Entry]:
    """What to publish: one value, or with `prefix` a mapping, in which None deletes."""
    if not prefix:
        return [(b"", to_bytes(value))]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if not isinstance(value, Mapping):
        raise TypeError("with a prefix, a mapping from names to values is published")
    return [
        (name.encode(), None if one is None else to_bytes(one, text_as_json=True))
        for name, one in value.items()
    ]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be published as JSON")
