"""docs/reference/http-api.md has a line for each route and model, as the code has them.

After a change of routes or models: `python -m tests.docs.test_http_api_page` prints the lines as they must be.
"""

import itertools
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel

from jobqueue.api.query import parameters_of
from jobqueue.api.request import Body
from jobqueue.api.route import Open, Route
from jobqueue.api.routes import PREFIX, ROUTES
from jobqueue.api.view import Problem, View
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference" / "http-api.md"
KEYS = {Open.TO_ALL: "no key", Open.TO_GUESTS: "no key", Open.TO_KEYS: "any key"}


def test_each_route_has_its_line_and_no_other_has_one() -> None:
    assert lines_of(PAGE.read_text(), r"\| `(GET|POST|DELETE|PUT|PATCH) ") == routes()


def test_each_model_has_its_line_and_no_other_has_one() -> None:
    assert lines_of(PAGE.read_text(), r"\| `[A-Z][A-Za-z]+` \|") == [*models(Body), *models(View)]


def lines_of(text: str, beginning: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(beginning, line)]


def routes() -> list[str]:
    return [route_line(route) for route in ROUTES]


def route_line(route: Route) -> str:
    scopes = KEYS[route.scope] if isinstance(route.scope, Open) else f"`{route.scope}`"
    scopes += "".join(f"; with `{name}`: `{scope}`" for name, scope in route.scopes_by.items())
    given = [f"`{name}`" for name in parameters_of(route.query)] if route.query else []
    if route.body is not None:
        given.append(f"`{route.body.__name__}`" + (", or none" if route.body_optional else ""))
    answer = route.answer if route.answer is None or isinstance(route.answer, str) else route.answer.__name__
    statuses = "/".join(str(status) for status in (route.status, *route.also))
    shown = statuses if answer is None else f"{statuses} `{answer}`"
    address = f"`{route.method} {route.path.removeprefix(PREFIX)}`"
    return f"| {address} | {scopes} | {' '.join(given)} | {shown} | {route.summary} |"


def models(base: type[BaseModel]) -> list[str]:
    """A line for each model that routes use, or that is part of one."""
    return [model_line(model) for model in sorted(used(base), key=lambda model: model.__name__)]


def used(base: type[BaseModel]) -> set[type[BaseModel]]:
    top = [Problem, *(model for route in ROUTES for model in (route.body, route.answer))]
    todo, found = [model for model in top if is_model(model, base)], set[type[BaseModel]]()
    while todo:
        model = todo.pop()
        found.add(model)
        todo += [part for part in (*parts_of(model), *bases_of(model)) if part not in found]
    return found


def parts_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for field in model.model_fields.values():
        yield from models_in(field.annotation)


def bases_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model whose fields this one has, too."""
    if is_model(model.__base__, BaseModel) and model.__base__.model_fields:
        yield model.__base__


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if is_model(annotation, BaseModel):
        yield annotation
    yield from itertools.chain.from_iterable(models_in(each) for each in get_args(annotation))


def is_model(candidate: object, base: type[BaseModel]) -> TypeGuard[type[BaseModel]]:
    return isinstance(candidate, type) and issubclass(candidate, base)


def model_line(model: type[BaseModel]) -> str:
    base = model.__base__
    inherited = base.model_fields if is_model(base, BaseModel) else {}
    fields = [f"as {base.__name__}, and"] if base is not None and inherited else []
    for name, field in model.model_fields.items():
        if name in inherited:
            continue
        required = issubclass(model, Body) and field.is_required()
        fields.append((f"**`{field.alias or name}`**" if required else f"`{name}`") + part_of(field.annotation))
    return f"| `{model.__name__}` | {' '.join(fields)} |"


def part_of(annotation: Any) -> str:
    """Which model a field holds, if it holds one."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation, *_) = [each for each in get_args(annotation) if each is not NoneType]
    part = next(models_in(annotation), None)
    if part is None:
        return ""
    return f" (list of {part.__name__})" if get_origin(annotation) is list else f" ({part.__name__})"


if __name__ == "__main__":
    print("\n".join([*routes(), "", *models(Body), "", *models(View)]))
