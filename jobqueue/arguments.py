"""The arguments of a task: its handler's signature as a schema, and payloads by it.

The signature becomes a pydantic-core schema once, at registration. It validates arguments when a job is made, so that
a bad payload is never queued, and again when it is run.
"""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import msgspec
from pydantic_core import CoreConfig, PydanticSerializationError, SchemaSerializer, SchemaValidator, ValidationError

from jobqueue.context import JobContext
from jobqueue.errors import InvalidJob, RegistryError
from jobqueue.job import check_payload
from jobqueue.schema import json_schema, schema

# Values stay out of errors: they end in logs and dead letters, and may be secrets.
_HIDING = CoreConfig(hide_input_in_errors=True)
_WRITING = CoreConfig(ser_json_bytes="base64", ser_json_inf_nan="constants")


class Arguments:
    """A handler's signature as a schema: named arguments to JSON and back."""

    def __init__(self, name: str, handler: Callable[..., Any]) -> None:
        self._name = name
        self._signature = _signature(name, handler)
        hints = _hints(name, handler)
        self.context = next((each for each in self._signature.parameters if hints.get(each) is JobContext), None)
        if self.context is not None:
            rest = [each for each in self._signature.parameters.values() if each.name != self.context]
            self._signature = self._signature.replace(parameters=rest)
        parameters = self._signature.parameters.values()
        self._extra = next((each.name for each in parameters if each.kind is inspect.Parameter.VAR_KEYWORD), None)
        self._in_order = [each.name for each in parameters if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        self._names = frozenset(each.name for each in parameters)
        self._needed = frozenset(each.name for each in parameters if each.default is inspect.Parameter.empty)
        self._hints = hints
        core = schema(name, self._signature.parameters, hints)
        # What is asked of the whole cannot be said in the configuration of a TypedDict.
        self._validator = SchemaValidator(core, _HIDING)
        self._serializer = SchemaSerializer(core, _WRITING)

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of the payload."""
        return json_schema(self._name, self._signature.parameters, self._hints)

    def by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments as a caller gives them, all by name."""
        given = {**dict(zip(self._in_order, args, strict=False)), **kwargs} if args else kwargs
        once = len(given) == len(args) + len(kwargs)
        if once and self._extra is None and self._needed <= given.keys() <= self._names:
            return given
        # It takes more, or refuses in words that say why; and costs 2 µs.
        bound = self._signature.bind(*args, **kwargs).arguments
        if self._extra is not None:
            bound.update(bound.pop(self._extra, {}))
        return bound

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The payload with these arguments; `InvalidJob` when they do not fit."""
        try:
            bound = self.by_name(args, kwargs)
        except TypeError as error:
            raise InvalidJob(f"arguments of task {self._name!r}: {error}; it takes {self._signature}") from error
        try:
            values = self._validator.validate_python(bound)
            encoded = self._serializer.to_json(values)
        except ValidationError as error:
            raise InvalidJob(f"arguments of task {self._name!r}: {_in_words(error)}") from error
        except (PydanticSerializationError, ValueError) as error:
            raise InvalidJob(f"arguments of task {self._name!r} have no JSON form: {error}") from error
        _refuse_infinities(self._name, encoded)
        return check_payload(self._name, encoded, values)

    def decode(self, payload_json: bytes) -> dict[str, Any]:
        """The arguments in a payload, by name; `InvalidJob` when they do not fit."""
        try:
            arguments: dict[str, Any] = self._validator.validate_json(payload_json)
        except ValidationError as error:
            raise InvalidJob(f"payload of task {self._name!r}: {_in_words(error)}") from error
        return arguments


def _signature(name: str, handler: Callable[..., Any]) -> inspect.Signature:
    function = function_of(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RegistryError(f"task {name!r}: {where(handler)} is a generator, and calling it would run nothing of it")
    try:
        signature = inspect.signature(handler)
    except ValueError as error:
        raise RegistryError(f"task {name!r}: {handler!r} tells no signature; wrap it in a function") from error
    for parameter in signature.parameters.values():
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise RegistryError(
                f"task {name!r}: parameter {parameter} of {where(handler)} has no name to be passed by; "
                f"a payload holds arguments by name"
            )
    return signature


def _hints(name: str, handler: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function_of(handler), include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise RegistryError(
            f"task {name!r}: an annotation of {where(handler)} cannot be resolved: {error}; "
            f"define or import the type at module level, not under TYPE_CHECKING"
        ) from error


def _refuse_infinities(name: str, encoded: bytes) -> None:
    if b"NaN" in encoded or b"Infinity" in encoded:
        try:
            msgspec.json.decode(encoded)
        except msgspec.DecodeError as error:
            raise InvalidJob(f"arguments of task {name!r} hold NaN or an infinity, which JSON cannot say") from error


def _in_words(error: ValidationError) -> str:
    """Every complaint on one line, with the value's type but without the value, which may be a secret."""
    complaints = (
        f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']} (got {type(each['input']).__name__})"
        for each in error.errors(include_url=False, include_context=False)
    )
    return "; ".join(complaints)


def function_of(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The function in a partial, or the method that makes an object callable: it has the annotations."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if inspect.isroutine(handler) or inspect.isclass(handler) or not callable(handler):
        return handler
    return type(handler).__call__


def where(handler: Callable[..., Any]) -> str:
    """A handler's name with its file and line, for errors."""
    code = getattr(inspect.unwrap(handler), "__code__", None)
    name = getattr(handler, "__qualname__", repr(handler))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
