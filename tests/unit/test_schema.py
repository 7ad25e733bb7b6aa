"""Plain types get the schema that pydantic would make of them, without pydantic."""

import inspect
import subprocess
import sys
import typing
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, NewType, Optional

import pytest
from pydantic import BaseModel, Field
from pydantic_core import SchemaValidator, ValidationError

from jobqueue.adapter import adapter
from jobqueue.schema import json_schema, schema

UserId = NewType("UserId", int)


class Order(BaseModel):
    number: int


PLAIN = [
    Any,
    bool,
    int,
    float,
    str,
    None,
    list,
    dict,
    list[int],
    list[Any],
    list[list[str]],
    dict[str, int],
    dict[str, list[float | None]],
    int | None,
    Optional[str],  # noqa: UP045
    Optional[Any],  # noqa: UP045
    list[str] | None,
]
# pydantic's: not of JSON, or with rules of their own.
OTHERS = [
    Order,
    datetime,
    bytes,
    UserId,
    Annotated[int, Field(gt=0)],
    list[Order],
    dict[int, str],
    dict[str, datetime],
    int | str,
    None | int,
    Order | None,
    typing.List,  # noqa: UP006
    typing.Dict,  # noqa: UP006
    set[int],
    tuple[int, str],
]
SCALARS = [None, True, 0, 1, -(2**70), 1.5, float("nan"), "", "7", "true", b"x"]
VALUES = [*SCALARS, [], [1, "2"], ["a"], [["a"]], {}, {"a": 1}, {"a": [1.5, None]}, {1: 2}]


def handler_of(hint: Any) -> Callable[..., None]:
    def handler(given: Any, optional: Any = None, **more: Any) -> None:
        """Its types are set below."""

    handler.__annotations__ = {"given": hint, "optional": hint, "more": str}
    return handler


def both(hint: Any) -> tuple[Any, Any]:
    """Our schema, and pydantic's."""
    handler = handler_of(hint)
    parameters, hints = inspect.signature(handler).parameters, typing.get_type_hints(handler, include_extras=True)
    return schema("shop.order", parameters, hints), adapter("shop.order", parameters, hints).core_schema


@pytest.mark.parametrize("hint", PLAIN, ids=str)
def test_a_plain_type_has_the_schema_that_pydantic_makes(hint: Any) -> None:
    ours, pydantics = both(hint)

    assert "cls" not in ours  # else it is pydantic's
    assert ours == without_the_class(pydantics)


@pytest.mark.parametrize("hint", PLAIN, ids=str)
def test_a_plain_type_takes_what_pydantic_takes(hint: Any) -> None:
    ours, pydantics = map(SchemaValidator, both(hint))

    for value in VALUES:
        assert taken(ours, value) == taken(pydantics, value)


@pytest.mark.parametrize("hint", OTHERS, ids=str)
def test_any_other_type_is_left_to_pydantic(hint: Any) -> None:
    ours, _ = both(hint)

    assert "cls" in ours or ours["type"] == "definitions"


def test_the_json_schema_names_every_argument() -> None:
    handler = handler_of(int)

    found = json_schema("shop.order", inspect.signature(handler).parameters, typing.get_type_hints(handler))

    assert found["properties"] == {
        "given": {"title": "Given", "type": "integer"},
        "optional": {"title": "Optional", "type": "integer"},
    }
    assert found["required"] == ["given"]
    assert found["title"] == "shop.order"


def test_tasks_of_plain_types_load_no_pydantic() -> None:
    code = """
import sys
from jobqueue import Registry
registry = Registry()
@registry.task("mail.send")
async def send(to: str, tags: list[str], more: dict[str, int] | None = None): ...
send.job("a@example.org", ["x"])
print("pydantic" in sys.modules)
"""

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "False"


def without_the_class(made: Any) -> Any:
    """A schema without what only makes models and JSON schemas of it."""
    match made:
        case dict():
            idle = ("cls", "ref", "computed_fields", "metadata")
            return {name: without_the_class(value) for name, value in made.items() if name not in idle}
        case list():
            return [without_the_class(each) for each in made]
        case _:
            return made


def taken(validator: SchemaValidator, value: Any) -> object:
    try:
        return repr(validator.validate_python({"given": value, "more": 1}))
    except ValidationError as error:
        return [(each["loc"], each["type"], each["msg"]) for each in error.errors()]
