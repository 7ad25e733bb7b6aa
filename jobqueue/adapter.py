"""pydantic's part in reading a handler's signature. Imported for the types that `schema` does not know by itself."""

from collections.abc import Mapping
from inspect import Parameter
from typing import Any, Literal, NotRequired, Required

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
from typing_extensions import TypedDict

from jobqueue.errors import RegistryError


def adapter(name: str, parameters: Mapping[str, Parameter], hints: Mapping[str, Any]) -> TypeAdapter[dict[str, Any]]:
    """The arguments of task *name* as a TypedDict.

    Raises:
        RegistryError: pydantic cannot make a schema of a type.
    """
    fields: dict[str, Any] = {}
    extra: Literal["forbid", "allow"] = "forbid"
    for parameter in parameters.values():
        annotation = hints.get(parameter.name, Any)
        if parameter.kind is Parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.default is Parameter.empty:
            fields[parameter.name] = Required[annotation]
        else:
            fields[parameter.name] = NotRequired[annotation]
    make: Any = TypedDict
    arguments = make(name, fields)
    arguments.__pydantic_config__ = ConfigDict(extra=extra, val_json_bytes="base64")
    try:
        return TypeAdapter(arguments)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise RegistryError(
            f"task {name!r}: its arguments cannot be validated: {str(error).splitlines()[0]}; "
            f"use JSON types, dates, decimals, UUIDs, enums, dataclasses or pydantic models"
        ) from error
