"""The OpenAPI 3.1 document, made from the table of routes and the models."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from jobqueue.access.scope import Scope
from jobqueue.api.parse import PATH_RULES
from jobqueue.api.problem import KINDS
from jobqueue.api.query import parameters_of
from jobqueue.api.route import Open, Route
from jobqueue.api.view import Problem, View

_REF: Final = "#/components/schemas/{model}"
_DESCRIPTION: Final = (
    "Background jobs: queue them, look at them, operate the queues. Errors are RFC 9457 problems, whose `type` is "
    "the address of a page that explains it. Lists are read page by page, with `next_cursor`."
)
_EVERYWHERE: Final = ("broker-unavailable", "internal", "timeout", "wrong-host")
_WITH_KEY: Final = ("unauthenticated", "forbidden", "too-many-requests")


def document(routes: Sequence[Route], *, mount: str = "") -> dict[str, Any]:
    """The whole document, as JSON values."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        # Files have no models; what a browser asks for is no interface for programs.
        if "{file}" not in route.path:
            paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "jobqueue", "version": version("jobqueue-asyncio"), "description": _DESCRIPTION},
        "servers": [{"url": mount or "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, `jq_...`."},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
            },
        },
    }


def _path(route: Route) -> str:
    return route.path


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.endpoint.__module__.rpartition('.')[2]}_{route.endpoint.__name__}",
        "summary": route.summary,
        "description": (route.endpoint.__doc__ or "").strip(),
        "tags": [route.tag],
        "responses": _responses(route),
        "x-scope": _scope_name(route.scope),
    }
    parameters = [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": _ref(route.body)}},
        }
    if route.scope in (Open.TO_ALL, Open.TO_GUESTS):
        operation["security"] = []
    else:
        operation["security"] = [{"bearer": []}, {"header": []}]
    if route.scopes_by:
        operation["x-scope-by-parameter"] = {name: scope.value for name, scope in route.scopes_by.items()}
    return operation


def _scope_name(scope: Scope | Open) -> str:
    return scope.value if isinstance(scope, Scope) else scope.name.lower().replace("_", "-")


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": PATH_RULES[name]}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    return [
        {"name": name, "in": "query", "required": route.query.model_fields[name].is_required(), "schema": schema}
        for name, schema in parameters_of(route.query).items()
    ]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    if not route.idempotent:
        return []
    rule = {"type": "string", "pattern": r"^[!-~]{1,200}$"}
    told = "The same request again with the same key gets the first answer, for 24 hours."
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "schema": rule, "description": told}]


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {str(route.status): _good(route)}
    for status, when in route.also.items():
        responses[str(status)] = {**_good(route), "description": when}
    for status, slugs in sorted(_problems(route).items()):
        responses.setdefault(
            str(status),
            {
                "description": "; ".join(KINDS[slug].title for slug in slugs),
                "content": {"application/problem+json": {"schema": _ref(Problem)}},
            },
        )
    return responses


def _good(route: Route) -> dict[str, Any]:
    if route.answer is None:
        return {"description": "Done."}
    if isinstance(route.answer, str):
        kind = "object" if route.answer == "application/json" else "string"
        return {"description": route.summary, "content": {route.answer: {"schema": {"type": kind}}}}
    return {"description": route.summary, "content": {"application/json": {"schema": _ref(route.answer)}}}


def _problems(route: Route) -> dict[int, list[str]]:
    """The kinds that a call may meet, by status."""
    slugs = {*_EVERYWHERE, *route.problems}
    if route.scope is not Open.TO_ALL:
        slugs.update(_WITH_KEY)
    if "{" in route.path or route.query is not None or route.method != "GET":
        slugs.add("invalid-request")
    if "{" in route.path:
        slugs.add("not-found")
    if route.body is not None:
        slugs.update(("body-too-large", "unsupported-media-type"))
    if route.idempotent:
        slugs.update(("idempotency-conflict", "idempotency-busy"))
    found: dict[int, list[str]] = {}
    for slug in sorted(slugs):
        found.setdefault(KINDS[slug].status, []).append(slug)
    return found


def _schemas(routes: Sequence[Route]) -> Mapping[str, Any]:
    bodies = [(route.body, "validation") for route in routes if route.body is not None]
    views = [(each, "serialization") for each in _views(routes)]
    unique: Any = list(dict.fromkeys([*bodies, *views]))
    _, found = models_json_schema(unique, ref_template=_REF)
    schemas: Mapping[str, Any] = found["$defs"]
    return schemas


def _views(routes: Sequence[Route]) -> list[type[View]]:
    return [route.answer for route in routes if isinstance(route.answer, type)] + [Problem]


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
