"""The document says what the routes do."""

import re

import pytest

from jobqueue.api.openapi import document
from jobqueue.api.parse import PATH_RULES
from jobqueue.api.route import Route
from jobqueue.api.routes import ROUTES

DOCUMENT = document(ROUTES)


def test_it_is_openapi_3_1_with_both_ways_to_send_a_key() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"bearer", "header"}


def test_every_route_but_the_files_is_in_it() -> None:
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}

    assert told == {(route.method, route.path) for route in ROUTES if "{file}" not in route.path}


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]

    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere() -> None:
    references = re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(DOCUMENT))

    assert references
    assert set(references) <= set(DOCUMENT["components"]["schemas"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_part_of_a_path_has_a_rule(route: Route) -> None:
    assert set(re.findall(r"\{(\w+)\}", route.path)) <= set(PATH_RULES)


def test_no_list_is_without_a_bound() -> None:
    pages = [route for route in ROUTES if route.query is not None and "cursor" in route.query.model_fields]

    assert pages
    for route in pages:
        operation = DOCUMENT["paths"][route.path]["get"]
        (limit,) = [each["schema"] for each in operation["parameters"] if each["name"] == "limit"]
        assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 200, 50)


def test_no_parameter_may_be_null() -> None:
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                assert "null" not in str(parameter["schema"]), parameter


def test_it_knows_where_it_is_mounted() -> None:
    assert document(ROUTES, mount="/jobs")["servers"] == [{"url": "/jobs"}]
