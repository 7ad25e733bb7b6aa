"""`/jobs` on the whole stack."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobqueue.app import JobQueue
from jobqueue.registry import Registry
from jobqueue.retry import RetryPolicy
from jobqueue.runner import Worker
from tests.integration.api.conftest import HOUR, Api, Serve
from testutil.eventually import eventually

pytestmark = pytest.mark.timeout(90)


async def test_a_job_is_queued_and_found_where_it_is(api: Api) -> None:
    response = await api.call("POST", "/api/v1/jobs", json={"type": "report.build", "payload": {"n": 1}})
    made = await response.json()

    assert response.status == 201
    assert response.headers["Location"] == f"/api/v1/jobs/{made['id']}"
    found = await api.get(f"/jobs/{made['id']}")
    assert (found["state"], found["queue"], found["payload"]) == ("queued", "default", {"n": 1})
    assert found["can"] == ["cancel"]


async def test_a_task_that_is_known_decides_queue_and_priority_and_checks_the_payload(api: Api) -> None:
    made = await api.expect(201, "POST", "/jobs", json={"type": "email.send", "payload": {"to": "ada"}})
    problem = await api.refused("invalid-job", "POST", "/jobs", json={"type": "email.send", "payload": {"too": "ada"}})

    assert (made["queue"], made["priority"]) == ("mail", "high")
    assert "to: Field required" in problem["detail"]
    assert (await api.queue.stats("mail")).live == 1


async def test_a_delay_and_an_instant_say_when(api: Api) -> None:
    at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)

    delayed = await api.expect(201, "POST", "/jobs", json={"type": "a", "delay": "1h"})
    planned = await api.expect(201, "POST", "/jobs", json={"type": "a", "scheduled_at": at.isoformat()})
    both = {"type": "a", "delay": "1h", "scheduled_at": at.isoformat()}
    await api.refused("invalid-job", "POST", "/jobs", json=both)

    assert delayed["state"] == planned["state"] == "scheduled"
    assert planned["due_at"] == at.isoformat().replace("+00:00", "Z")
    found = await api.get(f"/jobs/{delayed['id']}")
    assert found["state"] == "scheduled"
    assert found["due_at"] > datetime.now(UTC).isoformat()


@pytest.mark.parametrize(
    "body",
    [
        {"type": "a", "prority": "high"},
        {"type": "a", "priority": False},
        {"type": "a", "priority": "highest"},
        {"type": "a b"},
        {"type": "a", "max_retries": "3"},
        {"type": "a", "timeout": 5},
        {"type": "a", "timeout": "5 minutes"},
        {"type": "a", "scheduled_at": "2026-12-25T09:00:00"},
        {"type": "a", "scheduled_at": 5},
        {"type": "a", "payload": []},
        {"type": "a", "id": "x"},
        [],
        "a",
    ],
)
async def test_what_is_not_as_the_model_says_is_refused_without_its_value(bare_api: Api, body: Any) -> None:
    problem = await bare_api.refused("invalid-request", "POST", "/jobs", json=body)

    assert all(set(error) == {"loc", "msg"} for error in problem["errors"])
    assert "highest" not in str(problem)
    assert "5 minutes" not in str(problem)
    assert await bare_api.queue.queues() == []


@pytest.mark.parametrize(
    ("body", "place", "why"),
    [
        ({"type": "a", "priority": "highest"}, ["priority"], "must be critical, high, medium, low, or 0 to 9"),
        ({"type": "a", "priority": 10}, ["priority"], "must be critical, high, medium, low, or 0 to 9"),
        ({"type": "a b"}, ["type"], "must be 1 to 64 letters, digits, `_`, `.`, `:` or `-`, and begin with"),
        ({"type": "a", "delay": "soon"}, ["delay"], "must be a duration such as 500ms"),
        ({"type": "a", "payload": []}, ["payload"], "must be an object"),
        ({"type": "a", "id": "x"}, ["id"], "must be a UUID such as"),
    ],
)
async def test_what_is_refused_is_told_in_words(bare_api: Api, body: Any, place: list[str], why: str) -> None:
    (error,) = (await bare_api.refused("invalid-request", "POST", "/jobs", json=body))["errors"]

    assert error["loc"] == ["body", *place]
    assert error["msg"].startswith(why)


async def test_an_address_that_is_not_there_tells_where_all_are(bare_api: Api) -> None:
    assert "`/openapi.json`" in (await bare_api.refused("not-found", "GET", "/job"))["detail"]
    assert "GET, POST only" in (await bare_api.refused("method-not-allowed", "PUT", "/jobs"))["detail"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"type": "a", "type": "b"}', "one name twice"),
        (b'{"type": "a", "payload": {"x": NaN}}', "NaN"),
        (b'{"type": "a", "payload": {"x": 1e999}}', "range of a double"),
        (b'{"type": "a", "payload": {"x": %s}}' % (b"9" * 5000), "too many digits"),
        (b'{"type": "a", "payload": {"x": %s1%s}}' % (b"[" * 70, b"]" * 70), "64 levels"),
        (b'{"type": "a", "payload": {"x": %s}}' % (b"[" * 100_000), "64 levels"),
        (b'{"type": "a", "payload": {"x": "\\ud800"}}', "surrogate"),
        (b'{"type": "\xff"}', "UTF-8"),
        (b"", "JSON"),
        (b"null", "must be an object"),
    ],
)
async def test_json_of_two_meanings_is_refused(bare_api: Api, body: bytes, why: str) -> None:
    problem = await bare_api.refused(
        "invalid-request", "POST", "/jobs", data=body, headers={"Content-Type": "application/json"}
    )

    assert why in problem["errors"][0]["msg"]


async def test_the_same_id_again_answers_with_the_job_that_is_there(api: Api) -> None:
    body = {"type": "a", "id": str(uuid.uuid4())}

    first = await api.expect(201, "POST", "/jobs", json=body)
    again = await api.expect(200, "POST", "/jobs", json=body)

    assert first["id"] == again["id"] == body["id"]
    assert (await api.queue.stats("default")).live == 1


async def test_an_idempotency_key_gets_the_first_answer_again(api: Api) -> None:
    body = {"type": "a", "payload": {"n": 1}, "delay": "1h"}
    key = {"Idempotency-Key": "order-17"}

    first = await api.call("POST", "/api/v1/jobs", json=body, headers=key)
    again = await api.call("POST", "/api/v1/jobs", json=dict(reversed(body.items())), headers=key)
    problem = await api.refused("idempotency-conflict", "POST", "/jobs", json={**body, "delay": "2h"}, headers=key)
    other = await api.call("POST", "/api/v1/jobs", json=body, headers={"Idempotency-Key": "order-18"})

    assert await first.read() == await again.read()
    assert (first.status, again.status, problem["status"]) == (201, 201, 422)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert (await other.json())["id"] != (await first.json())["id"]
    assert (await api.queue.stats("default")).live == 2


async def test_a_request_that_died_before_its_answer_was_kept_queues_nothing_twice(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = api.queue.parts.access
    assert access is not None
    kept: list[bytes] = []

    async def lose(key: str, *, body: bytes, digest: str, **_: object) -> None:
        """As a kill -9 between the enqueue and the answer: the claim runs out, nothing is kept."""
        kept.append(body)
        await access.answers.abandon(key, digest=digest)

    body, key = {"type": "a", "payload": {"n": 1}}, {"Idempotency-Key": "order-17"}
    with monkeypatch.context() as patched:
        patched.setattr(access.answers, "finish", lose)
        first = await api.expect(201, "POST", "/jobs", json=body, headers=key)

    again = await api.expect(201, "POST", "/jobs", json=body, headers=key)

    assert len(kept) == 1
    assert again["id"] == first["id"]
    assert (await api.queue.stats("default")).live == 1


async def test_a_second_request_while_the_first_is_answered_is_told_to_wait(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, may_end = asyncio.Event(), asyncio.Event()
    enqueue = api.queue.enqueue

    async def slow(*args: Any, **options: Any) -> Any:
        going.set()
        await may_end.wait()
        return await enqueue(*args, **options)

    monkeypatch.setattr(api.queue, "enqueue", slow)
    key = {"Idempotency-Key": "order-17"}
    first = asyncio.create_task(api.expect(201, "POST", "/jobs", json={"type": "a"}, headers=key))
    await going.wait()

    response = await api.call("POST", "/api/v1/jobs", json={"type": "a"}, headers=key)
    may_end.set()

    assert response.status == 409
    assert response.headers["Retry-After"] == "1"
    assert (await response.json())["type"] == "/problems/idempotency-busy"
    await first


async def test_an_idempotency_key_that_is_none_is_refused(api: Api) -> None:
    for key in ("a b", "x" * 201, "ä"):
        await api.refused("invalid-request", "POST", "/jobs", json={"type": "a"}, headers={"Idempotency-Key": key})


async def test_a_batch_has_one_result_for_each_job_in_order(api: Api) -> None:
    known = str(uuid.uuid4())
    await api.expect(201, "POST", "/jobs", json={"type": "a", "id": known})
    jobs = [
        {"type": "a"},
        {"type": "a", "id": known},
        {"type": "email.send", "payload": {}},
        {"type": "a", "delay": "1h", "queue": "other"},
        {"type": "a", "payload": {"x": "x" * 300_000}},
    ]

    answer = await api.post("/jobs/batch", {"jobs": jobs})

    results = answer["results"]
    assert [each["status"] for each in results] == ["new", "exists", "refused", "new", "refused"]
    assert answer["queued"] == 2
    assert results[1]["id"] == known
    assert "to: Field required" in results[2]["error"]
    assert "300" in results[4]["error"]
    assert (await api.queue.stats("other")).delayed == 1


async def test_a_batch_with_a_wrong_item_names_it_and_queues_nothing(api: Api) -> None:
    problem = await api.refused("invalid-request", "POST", "/jobs/batch", json={"jobs": [{"type": "a"}, {"typ": "a"}]})

    assert problem["errors"][0]["loc"] == ["body", "jobs", 1, "type"]
    assert await api.queue.queues() == []


async def test_a_batch_with_an_idempotency_key_is_answered_again(api: Api) -> None:
    body, key = {"jobs": [{"type": "a"}, {"type": "a"}]}, {"Idempotency-Key": "b-1"}

    first = await api.post("/jobs/batch", body, headers=key)
    again = await api.post("/jobs/batch", body, headers=key)

    assert first == again
    assert (await api.queue.stats("default")).live == 2


async def test_batches_are_bounded(api: Api) -> None:
    await api.refused("invalid-request", "POST", "/jobs/batch", json={"jobs": [{"type": "a"}] * 501})
    await api.refused("invalid-request", "POST", "/jobs/batch", json={"jobs": []})
    assert (await api.post("/jobs/batch", {"jobs": [{"type": "a"}] * 500}))["queued"] == 500


async def test_secrets_in_payloads_are_not_shown(api: Api) -> None:
    payload = {"password": "hunter2", "to": [{"Api_Key": "hunter2", "name": "ada"}]}

    made = await api.expect(201, "POST", "/jobs", json={"type": "a", "payload": payload})
    found = await api.get(f"/jobs/{made['id']}")
    listed = await api.get("/jobs")

    shown = {"password": "***", "to": [{"Api_Key": "***", "name": "ada"}]}
    assert made["payload"] == found["payload"] == listed["items"][0]["payload"] == shown
    assert (await api.queue.get(made["id"])).payload == payload  # type: ignore[union-attr]


async def test_a_waiting_job_is_cancelled_once(api: Api) -> None:
    made = await api.expect(201, "POST", "/jobs", json={"type": "a"})

    assert await api.expect(200, "DELETE", f"/jobs/{made['id']}") == {"id": made["id"], "state": "cancelled"}
    problem = await api.refused("conflict", "DELETE", f"/jobs/{made['id']}")

    assert "is cancelled" in problem["detail"]
    await api.refused("not-found", "DELETE", f"/jobs/{uuid.uuid4()}")


async def test_a_delayed_job_is_let_run_now(api: Api) -> None:
    made = await api.expect(201, "POST", "/jobs", json={"type": "a", "delay": "1h"})

    assert (await api.get(f"/jobs/{made['id']}"))["can"] == ["cancel", "retry"]
    assert (await api.post(f"/jobs/{made['id']}/retry"))["state"] == "queued"
    assert (await api.queue.stats("default")).depth == 1


async def test_many_are_cancelled_by_filter_after_a_dry_run(api: Api) -> None:
    await api.post("/jobs/batch", {"jobs": [{"type": "a"}] * 5 + [{"type": "b"}] * 2})
    action = {"filter": {"type": "a"}, "limit": 3}

    counted = await api.post("/jobs/cancel", {**action, "dry_run": True})
    first = await api.post("/jobs/cancel", action)
    rest = await api.post("/jobs/cancel", action)

    assert (counted["matched"], counted["done"]) == (5, 0)
    assert (first["done"], first["remaining"], rest["done"], rest["remaining"]) == (3, 2, 2, 0)
    assert (await api.queue.stats("default")).live == 2


async def test_many_are_let_run_by_filter(api: Api) -> None:
    await api.post("/jobs/batch", {"jobs": [{"type": "a", "delay": "1h"}] * 3})

    await api.refused("invalid-request", "POST", "/jobs/retry", json={"filter": {}})
    done = await api.post("/jobs/retry", {"filter": {"state": "scheduled"}})

    assert done["done"] == 3
    assert (await api.queue.stats("default")).depth == 3


async def test_pages_go_on_where_the_one_before_ended(api: Api) -> None:
    made = await api.post("/jobs/batch", {"jobs": [{"type": "a"}] * 7})
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(10):
        page = await api.get("/jobs", params={"limit": "3", "type": "a", **cursor})
        seen += [each["id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert seen == [each["id"] for each in made["results"]]


async def test_a_cursor_of_another_filter_or_list_is_refused(api: Api) -> None:
    await api.post("/jobs/batch", {"jobs": [{"type": "a"}] * 3})
    cursor = (await api.get("/jobs", params={"limit": "1", "type": "a"}))["next_cursor"]

    assert await api.get("/jobs", params={"limit": "2", "type": "a", "cursor": cursor})
    for path, params in (("/jobs", {"type": "b"}), ("/jobs", {}), ("/dlq", {}), ("/executions", {"type": "a"})):
        problem = await api.refused("invalid-request", "GET", path, params={**params, "cursor": cursor})
        assert problem["errors"][0]["loc"] == ["query", "cursor"]
    await api.refused("invalid-request", "GET", "/jobs", params={"cursor": "AAAA"})


@pytest.mark.parametrize(
    "query", ["limit=1000000000", "limit=0", "limit=-1", "limit=x", "limit=5&limit=6", "offset=5", "state=lost", "q="]
)
async def test_queries_are_as_strict_as_bodies(bare_api: Api, query: str) -> None:
    await bare_api.refused("invalid-request", "GET", f"/jobs?{query}")


async def test_a_job_is_followed_to_its_end_with_every_attempt(api: Api, registry: Registry) -> None:
    failures = iter([True, False])

    @registry.task("flaky", retry=RetryPolicy(base=HOUR, max_delay=HOUR, jitter="none"))  # until it is asked for
    async def flaky(token: str) -> dict[str, str]:
        if next(failures):
            raise ValueError("not yet")
        return {"token": token, "sent": "yes"}

    body = {"type": "flaky", "payload": {"token": "hunter2"}, "result_ttl": "1h"}
    made = await api.expect(201, "POST", "/jobs", json=body)
    working = asyncio.create_task(Worker(api.queue, registry, queues=["default"]).run())
    try:

        async def retrying() -> bool:
            found = await api.get(f"/jobs/{made['id']}")
            return bool(found["state"] == "retrying" and found["last_error"] == "ValueError")

        await eventually(retrying, within_s=30)
        assert (await api.post(f"/jobs/{made['id']}/retry"))["state"] == "queued"

        async def completed() -> bool:
            found = await api.get(f"/jobs/{made['id']}")
            return bool(found["state"] == "completed" and len(found["attempts"]) == 2)

        await eventually(completed, within_s=30)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    found = await api.get(f"/jobs/{made['id']}")
    assert found["result"] == {"token": "***", "sent": "yes"}
    assert [each["outcome"] for each in found["attempts"]] == ["retrying", "completed"]
    assert "ValueError: not yet" in found["attempts"][0]["traceback"]
    assert found["can"] == []


async def test_without_postgres_ended_jobs_are_said_not_to_be_known(bare_queue: JobQueue, serve: Serve) -> None:
    api: Api = await serve(bare_queue, require_keys=False)
    made = await api.expect(201, "POST", "/jobs", json={"type": "a"})

    assert (await api.get("/jobs"))["items"][0]["id"] == made["id"]
    problem = await api.refused("not-configured", "GET", "/jobs?state=completed")
    await api.refused("not-configured", "GET", "/executions")

    assert "Postgres" in problem["detail"]
