"""Who may do what: every address, every scope, every kind of caller. The table is the OpenAPI document itself."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from jobqueue.access.scope import Scope
from jobqueue.api.openapi import document
from jobqueue.api.route import Open, Route
from jobqueue.api.routes import ROUTES
from jobqueue.app import JobQueue
from tests.integration.api.conftest import Api, make_key

pytestmark = pytest.mark.timeout(90)

DOCUMENT = document(ROUTES)
NAMES = {"{id}": "01a20373-42c7-7775-96f9-c2e098cf256a", "{name}": "mail", "{key}": "aaaaaaaa", "{slug}": "internal"}
GUESTS = {"to-all", "to-guests"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation of everything in the document."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for name, value in NAMES.items():
                path = path.replace(name, value)
            yield method.upper(), path, operation


def test_every_route_says_who_may_call_it() -> None:
    scopes = {each.value for each in Scope} | {each.name.lower().replace("_", "-") for each in Open}

    assert [path for _, path, operation in operations() if operation["x-scope"] not in scopes] == []
    assert all(isinstance(route.scope, Scope | Open) for route in ROUTES)


def test_only_these_addresses_need_no_key() -> None:
    free = {(route.method, route.path) for route in ROUTES if route.scope in (Open.TO_ALL, Open.TO_GUESTS)}

    assert free == {
        ("GET", "/"),
        ("GET", "/health"),
        ("GET", "/problems/{slug}"),
        ("GET", "/ready"),
        ("GET", "/static/{file}"),
        ("GET", "/api/v1/session"),
        ("POST", "/api/v1/session"),
        ("DELETE", "/api/v1/session"),
    }


def test_whatever_changes_something_leaves_an_audit_row() -> None:
    def unaudited(route: Route) -> bool:
        return route.method != "GET" and route.audit is None

    assert {(route.method, route.path) for route in ROUTES if unaudited(route)} == {
        ("POST", "/api/v1/jobs"),  # a job carries its own record
        ("POST", "/api/v1/jobs/batch"),
        ("DELETE", "/api/v1/session"),
    }


@pytest.mark.parametrize("scope", Scope)
async def test_a_key_reaches_exactly_what_its_scope_names(guarded: Api, scope: Scope) -> None:
    holder = guarded.holding(await make_key(guarded.queue, scope))
    wrong = []
    for method, path, operation in operations():
        status = await answered(holder, method, path)
        allowed = operation["x-scope"] in (scope.value, "to-keys", *GUESTS)
        if (status != 403) != allowed or status in (401, 500):
            wrong.append(f"{method} {path}: {status}")

    assert wrong == []


async def test_a_scope_that_depends_on_a_parameter_is_checked_by_it(guarded: Api) -> None:
    job = f"/api/v1/events?job={NAMES['{id}']}"

    for scope in Scope:
        status = await answered(guarded.holding(await make_key(guarded.queue, scope)), "GET", job)
        assert status == (404 if scope is Scope.JOBS_READ else 403)


async def test_without_a_key_nothing_that_needs_one_answers(guarded: Api) -> None:
    wrong = []
    for method, path, operation in operations():
        status = await answered(guarded, method, path)
        if (status == 401) != (operation["x-scope"] not in GUESTS):
            wrong.append(f"{method} {path}: {status}")

    assert wrong == []


@pytest.mark.parametrize("key", ["", "jq_", "nonsense", "jq_live_aaaaaaaa_" + "a" * 49, "x" * 5000, "ünï"])
async def test_a_wrong_key_is_told_nothing_more(guarded: Api, key: str) -> None:
    told = set()
    for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}, {"Authorization": f"Basic {key}"}):
        response = await guarded.call("GET", "/api/v1/queues", headers=headers)
        problem = await response.json(content_type="application/problem+json")
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        told.add(problem["detail"])

    assert told == {"the key or the session is unknown, expired or revoked"}


@pytest.mark.parametrize("path", ["/nope", "/api/v1/nope", "/api/v2/jobs", "/static", "/.env", "/openapi.yaml"])
async def test_what_does_not_exist_is_not_told_to_strangers(guarded: Api, path: str) -> None:
    stranger = await guarded.call("GET", path)
    known = await guarded.holding(await make_key(guarded.queue)).call("GET", path)

    assert (stranger.status, known.status) == (401, 404)
    assert (await known.json(content_type="application/problem+json"))["type"] == "/problems/not-found"


async def test_another_method_is_answered_with_those_there_are(guarded: Api) -> None:
    admin = guarded.holding(await make_key(guarded.queue))

    response = await admin.call("PATCH", "/api/v1/jobs")

    assert response.status == 405
    assert set(response.headers["Allow"].split(",")) == {"GET", "POST"}


async def test_both_headers_carry_a_key_and_nothing_else_does(guarded: Api, queue: JobQueue) -> None:
    secret = await make_key(queue)

    assert (await guarded.call("GET", "/api/v1/queues", headers={"X-API-Key": secret})).status == 200
    assert (await guarded.call("GET", "/api/v1/queues", headers={"Authorization": f"bearer {secret}"})).status == 200
    for name in ("api_key", "key", "access_token", "token"):
        assert (await guarded.call("GET", f"/api/v1/queues?{name}={secret}")).status == 401
        assert (await guarded.call("GET", "/api/v1/queues", cookies={name: secret})).status == 401
    assert (await guarded.call("GET", "/api/v1/queues", cookies={"__Host-jobqueue": secret})).status == 401


async def test_a_revoked_key_is_refused(guarded: Api) -> None:
    admin = guarded.holding(await make_key(guarded.queue))
    made = await admin.expect(201, "POST", "/keys", json={"name": "shop"})
    shop = guarded.holding(made["secret"])
    await shop.get("/jobs")

    await admin.expect(204, "DELETE", f"/keys/{made['id']}")

    await shop.refused("unauthenticated", "GET", "/jobs")


async def test_a_key_has_its_rate_and_is_told_how_long_to_wait(guarded: Api) -> None:
    slow = guarded.holding(await make_key(guarded.queue, Scope.JOBS_READ, rate=0.001))

    await slow.get("/tasks")
    response = await slow.call("GET", "/api/v1/tasks")

    assert response.status == 429
    assert int(response.headers["Retry-After"]) > 100


async def answered(api: Api, method: str, path: str) -> int:
    body = json.dumps({}) if method == "POST" else None
    headers = {"Content-Type": "application/json"} if body else {}
    response = await api.call(method, path, data=body, headers=headers)
    response.close()
    return response.status
