"""From an HTTP request to the models of its route."""

import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from jobqueue.api.cursor import RULE
from jobqueue.api.decode import NotJson, read_json
from jobqueue.api.problem import Refusal
from jobqueue.api.query import CURSOR
from jobqueue.api.request import NAME, UUID
from jobqueue.api.route import Route
from jobqueue.config import ApiSettings

PATH_RULES: Final[Mapping[str, str]] = {
    "id": UUID,
    "name": NAME,
    "key": r"^[A-Za-z0-9]{1,32}$",
    "slug": r"^[a-z-]{1,40}$",
    "file": r"^[A-Za-z0-9._/-]{1,200}$",
}
_MOST_ERRORS: Final = 50
_NO_OBJECT: Final = frozenset({"dict_type", "model_type", "model_attributes_type"})
_AN_OBJECT: Final = "must be an object"
_SAID: Final[Mapping[str, str]] = {
    NAME: "must be 1 to 64 letters, digits, `_`, `.`, `:` or `-`, and begin with a letter or a digit",
    UUID: "must be a UUID such as 01a2b3c4-5d6e-7f80-9a0b-1c2d3e4f5a6b",
    CURSOR: RULE,
}
_KINDS: Final[Mapping[str, str]] = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
}


async def read_call(
    request: web.Request, route: Route, settings: ApiSettings
) -> tuple[Mapping[str, str], BaseModel | None, BaseModel | None]:
    """Path, query and body of a request, checked.

    Raises:
        Refusal: with every rule that is broken.
    """
    path = _path(request)
    query = _query(request, route)
    body = await _body(request, route, settings)
    return path, query, body


def _path(request: web.Request) -> Mapping[str, str]:
    found = dict(request.match_info)
    for name, value in found.items():
        rule = PATH_RULES[name]
        if not re.fullmatch(rule, value):
            raise _invalid("path", [{"loc": ["path", name], "msg": _words(f"must match '{rule}'")}])
    return found


def _query(request: web.Request, route: Route) -> BaseModel | None:
    if route.any_query:
        return None
    names = sorted(set(request.query))
    twice = [name for name in names if len(request.query.getall(name)) > 1]
    if twice:
        raise _invalid("query", [{"loc": ["query", name[:64]], "msg": "is given twice"} for name in twice])
    if route.query is None:
        unknown = [{"loc": ["query", name[:64]], "msg": "is not known here"} for name in names]
        if unknown:
            raise _invalid("query", unknown[:_MOST_ERRORS])
        return None
    return _validated(route.query, dict(request.query), "query")


async def _body(request: web.Request, route: Route, settings: ApiSettings) -> BaseModel | None:
    if route.body is None:
        await _refuse_body(request, settings)
        return None
    raw = await read_body(request, settings.max_body)
    if not raw and route.body_optional:
        return route.body()
    _check_media_type(request)
    try:
        value = read_json(raw)
    except NotJson as error:
        raise _invalid("body", [{"loc": ["body"], "msg": str(error)}]) from error
    return _validated(route.body, value, "body")


async def _refuse_body(request: web.Request, settings: ApiSettings) -> None:
    """Where nothing is taken, what somebody sends would be ignored: they would think that it counts."""
    if not request.body_exists:
        return
    raw = await read_body(request, settings.max_body)
    if b"".join(raw.split()) not in (b"", b"{}"):
        raise _invalid("body", [{"loc": ["body"], "msg": "this address takes no body"}])


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body, counted while it comes in.

    Raises:
        Refusal: it is larger than *limit*, compressed, or breaks off.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("unsupported-media-type", "the body is compressed; send it as it is")
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except (web.RequestPayloadError, ValueError) as error:
        raise _invalid("body", [{"loc": ["body"], "msg": "the body breaks off, or its framing is wrong"}]) from error
    return bytes(body)


def _check_media_type(request: web.Request) -> None:
    charset = (request.charset or "utf-8").lower()
    if request.content_type != "application/json" or charset != "utf-8":
        raise Refusal("unsupported-media-type", "send JSON in UTF-8, with `Content-Type: application/json`")


def _too_large(limit: int) -> Refusal:
    return Refusal("body-too-large", f"the body is larger than {limit} bytes")


def _validated(model: type[BaseModel], value: Any, where: str) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise _invalid(where, [_told(where, each) for each in found[:_MOST_ERRORS]]) from error


def _told(where: str, error: ErrorDetails) -> Mapping[str, Any]:
    """Where and what, never the value: it may be a secret, and this goes into logs of proxies."""
    place = [part if isinstance(part, int) else part[:64] for part in error["loc"]]
    return {"loc": [where, *place], "msg": _rule(error)}


def _rule(error: ErrorDetails) -> str:
    if error["type"] in _NO_OBJECT:
        return _AN_OBJECT
    if error["type"] in _KINDS:
        return _KINDS[error["type"]].format(**error.get("ctx", {}))
    return _words(error["msg"])


def _words(message: str) -> str:
    """What breaks a rule, said to somebody who does not know how we check it."""
    for rule, words in _SAID.items():
        if f"'{rule}'" in message:
            return words
    return re.sub("^Input should be ", "must be ", message.removeprefix("Value error, "))


def _invalid(where: str, errors: list[Any]) -> Refusal:
    first = ".".join(map(str, errors[0]["loc"]))
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return Refusal("invalid-request", f"{first}: {errors[0]['msg']}{more}", errors=errors)
