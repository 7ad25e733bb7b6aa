"""A handler's parameters as a schema for pydantic-core.

The types of JSON are written down here as pydantic would write them, which tests/unit/test_schema.py compares.
pydantic itself, 5 MB and 30 ms, is imported when a parameter has another type; pydantic-core validates either way.
"""

import importlib
import types
import typing
from collections.abc import Mapping
from inspect import Parameter
from typing import Any, Final

from pydantic_core import CoreSchema

_PLAIN: Final[Mapping[object, Any]] = {
    Any: {"type": "any"},
    bool: {"type": "bool"},
    int: {"type": "int"},
    float: {"type": "float"},
    str: {"type": "str"},
    types.NoneType: {"type": "none"},
    list: {"type": "list", "items_schema": {"type": "any"}},
    dict: {"type": "dict", "keys_schema": {"type": "any"}, "values_schema": {"type": "any"}},
}


def schema(name: str, parameters: Mapping[str, Parameter], hints: Mapping[str, Any]) -> CoreSchema:
    """The schema of the named arguments of task *name*.

    Raises:
        RegistryError: they cannot be validated.
    """
    plain = _arguments(name, parameters, hints)
    return plain if plain is not None else adapter(name, parameters, hints).core_schema


def json_schema(name: str, parameters: Mapping[str, Parameter], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The same as JSON schema."""
    found: dict[str, Any] = adapter(name, parameters, hints).json_schema()
    return found


def adapter(name: str, parameters: Mapping[str, Parameter], hints: Mapping[str, Any]) -> Any:
    return importlib.import_module("jobqueue.adapter").adapter(name, parameters, hints)


def _arguments(name: str, parameters: Mapping[str, Parameter], hints: Mapping[str, Any]) -> CoreSchema | None:
    """Of plain types; None where one is not."""
    fields: dict[str, Any] = {}
    extra = "forbid"
    for parameter in parameters.values():
        if parameter.kind is Parameter.VAR_KEYWORD:
            extra = "allow"
            continue
        value = _plain(hints.get(parameter.name, Any))
        if value is None:
            return None
        required = parameter.default is Parameter.empty
        fields[parameter.name] = {"type": "typed-dict-field", "schema": value, "required": required}
    arguments: Any = {
        "type": "typed-dict",
        "fields": fields,
        "extra_behavior": extra,
        "config": {"extra_fields_behavior": extra, "val_json_bytes": "base64", "title": name},
    }
    return typing.cast(CoreSchema, arguments)


def _plain(hint: Any) -> Any:
    """The schema of a plain type, of `list[plain]`, `dict[str, plain]` and `plain | None`; else None."""
    inner = typing.get_args(hint)
    match typing.get_origin(hint):
        case None if isinstance(hint, type) or hint is Any:
            return _PLAIN.get(hint)
        case origin if origin is list and inner:
            items = _plain(inner[0])
            return items and {"type": "list", "items_schema": items}
        case origin if origin is dict and inner and inner[0] is str:
            values = _plain(inner[1])
            return values and {"type": "dict", "keys_schema": {"type": "str"}, "values_schema": values}
        case types.UnionType | typing.Union if len(inner) == 2 and inner[1] is types.NoneType:
            value = _plain(inner[0])
            return value and {"type": "nullable", "schema": value}
        case _:
            return None
