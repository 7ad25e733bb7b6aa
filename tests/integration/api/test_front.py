"""What every request goes through: names, origins, sessions, sizes, times, headers, errors."""

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientResponse
from structlog.testing import capture_logs

from jobqueue.api.pipeline import SECURITY_HEADERS
from jobqueue.api.problem import KINDS
from jobqueue.api.routes import ROUTES
from jobqueue.app import JobQueue
from jobqueue.config import ApiSettings
from jobqueue.job import Job
from tests.integration.api.conftest import Api, Serve, make_key
from tests.integration.api.test_scopes import operations

pytestmark = pytest.mark.timeout(90)

EVIL = {"Origin": "http://evil.example"}
COOKIE = "__Host-jobqueue"


async def test_every_answer_has_the_headers_that_keep_browsers_in(guarded: Api) -> None:
    admin = guarded.holding(await make_key(guarded.queue))
    for caller in (admin, guarded):
        for method, path, _ in operations():
            body = {"data": "{}", "headers": {"Content-Type": "application/json"}} if method == "POST" else {}
            async with asyncio.timeout(30):
                response = await caller.call(method, path, **body)
            assert {name: response.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS, path
            assert response.headers["Cache-Control"] in ("no-store", "no-cache")
            assert response.headers["X-Request-ID"]
            assert "aiohttp" not in response.headers["Server"]
            response.close()


async def test_a_sane_request_id_is_kept_and_another_replaced(api: Api) -> None:
    sane = await api.call("GET", "/health", headers={"X-Request-ID": "shop-17.a_b"})
    odd = await api.call("GET", "/health", headers={"X-Request-ID": "a b;<script>"})
    problem = await api.refused("not-found", "GET", "/nope", headers={"X-Request-ID": "shop-18"})

    assert sane.headers["X-Request-ID"] == "shop-17.a_b"
    assert len(odd.headers["X-Request-ID"]) == 36
    assert problem["request_id"] == "shop-18"


async def test_without_keys_only_names_of_this_machine_are_answered(api: Api) -> None:
    for path in ("/api/v1/queues", "/metrics", "/openapi.json", "/nope"):
        response = await api.call("GET", path, headers={"Host": "rebound.evil.example"})
        assert response.status == 421
    assert (await api.call("GET", "/health", headers={"Host": "10.1.2.3"})).status == 200
    assert (await api.call("GET", "/api/v1/queues", headers={"Host": "localhost:1"})).status == 200


async def test_without_keys_changes_by_pages_of_other_sites_are_refused(api: Api) -> None:
    await api.expect(201, "POST", "/jobs", json={"type": "a"})

    for method, path, _ in operations():
        if method != "GET":
            response = await api.call(method, path, json={}, headers=EVIL)
            assert response.status == 403, path
    assert not (await api.queue.stats("default")).paused
    form = {"Content-Type": "text/plain"}
    await api.refused("unsupported-media-type", "POST", "/jobs", data='{"type": "a"}', headers=form)


async def test_as_soon_as_there_is_a_key_one_is_needed(api: Api) -> None:
    made = await api.expect(201, "POST", "/keys", json={"name": "first", "kind": "admin"})

    await api.refused("unauthenticated", "GET", "/queues")
    await api.holding(made["secret"]).get("/queues")
    assert (await api.get("/session"))["open"] is False


async def test_strangers_of_other_machines_are_refused_without_keys(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.api.caller.is_loopback", lambda address: False)

    await api.refused("unauthenticated", "GET", "/queues")
    assert (await api.call("GET", "/health")).status == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
async def test_without_keys_nothing_is_done_for_whom_a_proxy_stands_in(api: Api, header: str) -> None:
    problem = await api.refused("unauthenticated", "GET", "/queues", headers={header: "203.0.113.9"})

    assert "proxy" in problem["detail"]


async def signed_in(api: Api, secret: str) -> tuple[ClientResponse, dict[str, str]]:
    """The answer to a login, and what a browser sends from then on."""
    response = await api.call("POST", "/api/v1/session", json={"key": secret})
    assert response.status == 200
    token = response.cookies[COOKIE].value
    return response, {"Cookie": f"{COOKIE}={token}"}


async def test_a_session_is_a_cookie_that_no_script_and_no_other_site_has(guarded: Api) -> None:
    secret = await make_key(guarded.queue)
    response, cookie = await signed_in(guarded, secret)

    attributes = {part.strip().lower() for part in response.headers["Set-Cookie"].split(";")[1:]}
    assert {"httponly", "secure", "samesite=strict", "path=/"} <= attributes
    assert not any(each.startswith("domain") for each in attributes)
    assert secret not in response.headers["Set-Cookie"]
    assert secret not in await response.text()
    session = await guarded.get("/session", headers=cookie)
    assert (session["signed_in"], session["open"]) == (True, False)
    await guarded.get("/queues", headers=cookie)


async def test_with_a_session_changes_need_a_page_of_this_site(guarded: Api) -> None:
    _, cookie = await signed_in(guarded, await make_key(guarded.queue))
    own = str(guarded.client.make_url("/")).rstrip("/")
    job = {"type": "a"}

    await guarded.refused("forbidden", "POST", "/jobs", json=job, headers=cookie)
    await guarded.refused("forbidden", "POST", "/jobs", json=job, headers={**cookie, **EVIL})
    await guarded.refused("forbidden", "POST", "/jobs", json=job, headers={**cookie, "Sec-Fetch-Site": "cross-site"})
    await guarded.expect(201, "POST", "/jobs", json=job, headers={**cookie, "Origin": own})
    await guarded.expect(201, "POST", "/jobs", json=job, headers={**cookie, "Sec-Fetch-Site": "same-origin"})


async def test_a_session_ends_with_its_logout_and_with_its_key(guarded: Api) -> None:
    admin = guarded.holding(await make_key(guarded.queue))
    made = await admin.expect(201, "POST", "/keys", json={"name": "dash"})
    _, first = await signed_in(guarded, made["secret"])
    _, second = await signed_in(guarded, made["secret"])

    own = {"Origin": str(guarded.client.make_url("/")).rstrip("/")}
    await guarded.expect(204, "DELETE", "/session", headers={**first, **own})
    await guarded.refused("unauthenticated", "GET", "/jobs", headers=first)
    await guarded.get("/jobs", headers=second)
    await admin.expect(204, "DELETE", f"/keys/{made['id']}")
    await guarded.refused("unauthenticated", "GET", "/jobs", headers=second)
    assert (await guarded.get("/session", headers=second))["signed_in"] is False


async def test_a_wrong_key_opens_no_session_and_another_site_none_at_all(guarded: Api) -> None:
    secret = await make_key(guarded.queue)

    await guarded.refused("unauthenticated", "POST", "/session", json={"key": "jq_wrong"})
    await guarded.refused("forbidden", "POST", "/session", json={"key": secret}, headers=EVIL)


async def test_a_thousand_wrong_keys_are_slowed_down_and_a_right_one_is_not(guarded: Api) -> None:
    secret = await make_key(guarded.queue)
    wrong = guarded.holding(secret[:-8] + "AAAAAAAA")

    statuses = [(await wrong.call("GET", "/api/v1/queues")).status for _ in range(40)]

    assert statuses[0] == 401
    assert statuses[-1] == 429
    await guarded.holding(secret).get("/queues")


async def test_cors_is_off_unless_an_exact_origin_is_listed(queue: JobQueue, serve: Serve) -> None:
    shop = "https://shop.example.org"
    secret = await make_key(queue)
    off: Api = (await serve(queue)).holding(secret)
    on: Api = (await serve(queue, settings=ApiSettings(cors_origins=(shop,)))).holding(secret)
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}

    for origin in ("https://shop.example.org.evil.example", "http://shop.example.org", "null", "*"):
        response = await on.call("GET", "/api/v1/queues", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in response.headers
    listed = await on.call("GET", "/api/v1/queues", headers={"Origin": shop})
    preflight = await on.holding(None).call("OPTIONS", "/api/v1/jobs", headers={"Origin": shop, **ask})
    unlisted = await off.holding(None).call("OPTIONS", "/api/v1/jobs", headers={"Origin": shop, **ask})

    assert listed.headers["Access-Control-Allow-Origin"] == shop
    assert "Origin" in listed.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in listed.headers
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, shop)
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    methods = set(preflight.headers["Access-Control-Allow-Methods"].split(", "))
    assert methods == {route.method for route in ROUTES}
    assert unlisted.status == 401
    assert "Access-Control-Allow-Origin" not in unlisted.headers


async def test_a_listed_site_cannot_use_the_cookie(queue: JobQueue, serve: Serve) -> None:
    shop = {"Origin": "https://shop.example.org"}
    api: Api = await serve(queue, settings=ApiSettings(cors_origins=(shop["Origin"],)))
    _, cookie = await signed_in(api, await make_key(queue))

    await api.refused("forbidden", "POST", "/jobs", json={"type": "a"}, headers={**cookie, **shop})


async def test_a_body_is_counted_while_it_comes_in(queue: JobQueue, serve: Serve) -> None:
    api: Api = await serve(queue, require_keys=False, settings=ApiSettings(max_body=2000))
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(10_000):
            sent += 1000
            yield b"x" * 1000

    told = await api.refused("body-too-large", "POST", "/jobs", json={"type": "a", "payload": {"x": "x" * 3000}})
    response = None
    with suppress(ConnectionError):  # it may be closed while we still send
        response = await api.call("POST", "/api/v1/jobs", data=endless(), headers={"Content-Type": "application/json"})

    assert told["status"] == 413
    assert response is None or response.status == 413
    assert sent < 10_000_000
    assert (await api.expect(201, "POST", "/jobs", json={"type": "a"}))["id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/schedules/nightly/run"),
        ("POST", "/schedules/nightly/pause"),
        ("POST", "/schedules/nightly/resume"),
        ("DELETE", "/schedules/nightly"),
        ("POST", "/queues/reports/pause"),
        ("GET", "/schedules"),
        ("DELETE", "/session"),
    ],
)
async def test_where_no_body_is_taken_one_is_refused_and_nothing_is_done(
    api: Api, queue: JobQueue, method: str, path: str
) -> None:
    await queue.schedules.upsert("nightly", "@daily", Job("report.build", queue="reports"))

    for body in (b'{"payload": {"n": 1}}', b"[]", b"null", b"x"):
        problem = await api.refused("invalid-request", method, path, data=body)
        assert problem["errors"] == [{"loc": ["body"], "msg": "this address takes no body"}]
        assert problem["status"] == 422
    status = await queue.schedules.get("nightly")
    assert (status.version, status.last) == (1, None)


@pytest.mark.parametrize("body", [b"", b"{}", b" { }\n"])
async def test_where_no_body_is_taken_an_empty_object_is_none(api: Api, queue: JobQueue, body: bytes) -> None:
    await queue.schedules.upsert("nightly", "@daily", Job("report.build", queue="reports"))

    await api.expect(201, "POST", "/schedules/nightly/run", data=body, headers={"Idempotency-Key": "1"})


async def test_a_compressed_body_is_not_unpacked(api: Api) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    await api.refused(
        "unsupported-media-type", "POST", "/jobs", data=b"\x1f\x8b", headers=headers, skip_auto_headers=()
    )


async def test_a_request_without_an_answer_in_time_is_ended(
    queue: JobQueue, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    api: Api = await serve(queue, require_keys=False, settings=ApiSettings(timeout=timedelta(milliseconds=200)))
    monkeypatch.setattr(queue, "get", lambda *_, **__: asyncio.sleep(60))

    problem = await api.refused("timeout", "GET", "/jobs/01a20373-42c7-7775-96f9-c2e098cf256a")

    assert problem["status"] == 504


SECRETS = ("hunter2", "SELECT", "postgresql://", "redis://", "Traceback", "asyncpg", "/jobqueue/")


async def test_an_unexpected_error_tells_nothing_and_is_logged_with_the_request_id(
    guarded: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = guarded.holding(await make_key(guarded.queue))

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("redis://user:hunter2@host SELECT * FROM keys in /srv/jobqueue/app.py")

    parts = guarded.queue.parts
    for target, names in (
        (guarded.queue, ("get", "find", "queues", "stats", "cancel", "cancel_where", "retry_where", "enqueue")),
        (parts.dead_letters, ("list", "get", "groups", "requeue_where", "delete_where")),
        (parts.executions, ("search", "series", "errors")),
    ):
        for name in names:
            monkeypatch.setattr(target, name, fail)
    failed = 0
    for method, path, _ in operations():
        if path.endswith("/events"):
            continue
        with capture_logs() as logs:
            response = await admin.call(method, path, **body_for(method, path))
            text = await response.text()
        assert response.status < 400 or not [secret for secret in SECRETS if secret in text], path
        if response.status == 500:
            failed += 1
            assert json.loads(text)["request_id"] in [each.get("request_id") for each in logs]
    assert failed >= 12


def body_for(method: str, path: str) -> dict[str, Any]:
    """A body that the route takes."""
    if method != "POST":
        return {}
    bodies: dict[str, Any] = {
        "/jobs": {"type": "a"},
        "/jobs/batch": {"jobs": [{"type": "a"}]},
        "/jobs/cancel": {"filter": {}},
        "/jobs/retry": {"filter": {"state": "dead"}},
        "/dlq/retry": {"filter": {}},
        "/dlq/delete": {"filter": {}},
        "/queues/mail/purge": {"confirm": "mail"},
        "/keys": {"name": "x"},
        "/session": {"key": "x"},
    }
    return {"json": bodies.get(path.removeprefix("/api/v1"), {})}


async def test_while_redis_is_away_it_is_said_so(queue: JobQueue, serve: Serve, database_url: str) -> None:
    async with JobQueue.connect("redis://127.0.0.1:1", database_url=database_url) as away:
        away.parts.redis._enqueue_timeout_s = 0.2  # type: ignore[union-attr]
        api: Api = await serve(away, require_keys=False)

        problem = await api.refused("broker-unavailable", "GET", "/queues")
        ready = await api.call("GET", "/ready")

        assert problem["status"] == 503
        assert "127.0.0.1" not in str(problem)
        assert ready.status == 503
        assert (await ready.json())["checks"]["redis"] == "failed"
        assert (await api.call("GET", "/health")).status == 200


async def test_every_kind_of_problem_has_its_page(guarded: Api) -> None:
    for slug, kind in KINDS.items():
        response = await guarded.call("GET", f"/problems/{slug}")
        text = await response.text()
        assert response.status == 200
        assert response.content_type == "text/html"
        assert f"<code>{slug}</code>" in text
        assert str(kind.status) in text
    assert (await guarded.call("GET", "/problems/nope")).status == 404
    assert (await guarded.call("GET", "/problems/%3Cscript%3E")).status == 422


@pytest.mark.parametrize("prefix", ["", "/jobs", "/a/b"])
async def test_it_works_wherever_it_is_mounted(queue: JobQueue, serve: Serve, prefix: str) -> None:
    api: Api = await serve(queue, prefix=prefix, require_keys=False)

    response = await api.call("POST", "/api/v1/jobs", json={"type": "a"})
    problem = await api.refused("not-found", "GET", "/nope")
    document = await (await api.call("GET", "/openapi.json")).json()

    assert response.headers["Location"] == f"{prefix}/api/v1/jobs/{(await response.json())['id']}"
    assert (await api.client.get(problem["type"])).status == 200
    assert f"`{prefix}/openapi.json` lists all" in problem["detail"]
    assert document["servers"] == [{"url": prefix or "/"}]
    assert (await api.call("GET", "/health")).status == 200
    bare = await api.call("GET", "" if prefix else "/", allow_redirects=False)
    assert (bare.status, bare.headers.get("Location")) == ((308, f"{prefix}/") if prefix else (200, None))


async def test_the_dashboards_files_are_served_and_nothing_else(guarded: Api) -> None:
    index = await guarded.call("GET", "/?page=1")
    assert index.status == 200
    assert index.content_type == "text/html"
    script = await guarded.call("GET", "/static/app.js")
    again = await guarded.call("GET", "/static/app.js", headers={"If-None-Match": script.headers["ETag"]})

    assert script.content_type == "text/javascript"
    assert (again.status, await again.read()) == (304, b"")
    for path in (
        "",
        "vendor",
        "vendor/",
        "../app.py",
        "%2e%2e/app.py",
        "..%2fapp.py",
        "/etc/passwd",
        "app.js/",
        "a%00",
    ):
        response = await guarded.call("GET", f"/static/{path}")
        assert response.status in (401, 404, 422), path


async def test_the_table_has_one_line_for_each_address() -> None:
    places = [(route.method, route.path) for route in ROUTES]

    assert len(places) == len(set(places))
