"""Queues, dead letters, history, workers, tasks, keys and the audit log, on the whole stack."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from jobqueue.access.gate import Gate
from jobqueue.access.scope import Scope
from jobqueue.app import JobQueue
from jobqueue.config import ApiSettings
from jobqueue.errors import BrokerUnavailable
from jobqueue.job import Job
from jobqueue.outcome import COMPLETED
from jobqueue.registry import Registry
from jobqueue.runner import Worker
from tests.integration.api.conftest import Api, Serve, make_key
from tests.integration.search.scene import DEAD, ended, job
from testutil.eventually import eventually

pytestmark = pytest.mark.timeout(90)

INJECTIONS = [
    "'; DROP TABLE jobqueue.executions; --",
    "' OR '1'='1",
    "\\'; SELECT pg_sleep(60); --",
    "%' UNION SELECT digest FROM jobqueue.api_keys --",
    "$9",
    "%s%n",
    "a' || (SELECT version()) || '",
    "*) AND 1=1 --",
    "_%",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "*",
]


TEXTS = {
    "/jobs": ("q", "type", "queue", "state", "cursor"),
    "/dlq": ("error", "type", "queue", "reason", "before", "cursor"),
    "/dlq/groups": ("error", "reason"),
    "/executions": ("q", "type", "queue", "outcome", "since", "cursor"),
    "/executions/errors": ("queue", "since"),
    "/audit": ("actor", "action", "target", "cursor"),
}


async def test_queues_tell_how_they_do(api: Api) -> None:
    await api.post(
        "/jobs/batch", {"jobs": [{"type": "a"}, {"type": "a", "priority": "high"}, {"type": "a", "delay": "1h"}]}
    )

    stats = await api.get("/queues/default/stats")
    depth = await api.get("/queues/default/depth")

    assert (stats["ready"], stats["delayed"], stats["enqueued"], stats["drift"]) == (2, 1, 3, 0)
    assert depth["depth"] == {"critical": 0, "high": 1, "medium": 1, "low": 0}
    await api.refused("not-found", "GET", "/queues/nope/stats")
    await api.refused("invalid-request", "GET", "/queues/a%20b/stats")

    async def listed() -> bool:
        return [each["name"] for each in (await api.get("/queues"))["items"]] == ["default"]

    await eventually(listed, within_s=30)


async def test_a_queue_is_paused_resumed_and_purged_by_name_only(api: Api) -> None:
    await api.post("/jobs/batch", {"jobs": [{"type": "a"}, {"type": "a", "delay": "1h"}]})

    assert (await api.post("/queues/default/pause"))["paused"] is True
    assert (await api.post("/queues/default/resume"))["paused"] is False
    problem = await api.refused("conflict", "POST", "/queues/default/purge", json={"confirm": "Default"})
    await api.refused("invalid-request", "POST", "/queues/default/purge", json={})
    assert (await api.post("/queues/default/purge", {"confirm": "default", "delayed": False})) == {"cancelled": 1}

    assert "confirm" in problem["detail"]
    assert (await api.queue.stats("default")).delayed == 1


async def test_a_dead_letter_is_shown_edited_and_queued_again(api: Api) -> None:
    dead = await ended(api.queue, Job("email.send", {"to": "nobody", "password": "hunter2"}, queue="mail"), DEAD)

    letter = await api.get(f"/dlq/{dead}")
    listed = await api.get("/dlq", params={"queue": "mail", "type": "email.send", "error": "address"})
    assert letter == listed["items"][0]
    assert letter["payload"] == {"to": "nobody", "password": "***"}
    assert (await api.get(f"/jobs/{dead}"))["can"] == ["retry", "edit"]
    bad = {"payload": {"to": 5}}
    await api.refused("invalid-job", "POST", f"/dlq/{dead}/retry", json=bad)


async def test_an_edited_payload_keeps_what_was_masked(api: Api) -> None:
    dead = await ended(api.queue, Job("a", {"to": "nobody", "password": "hunter2"}, queue="mail"), DEAD)

    await api.refused("invalid-job", "POST", f"/dlq/{dead}/retry", json={"payload": {"token": "***"}})
    await api.post(f"/dlq/{dead}/retry", {"payload": {"to": "ada", "password": "***"}})

    status = await api.queue.get(dead)
    assert status is not None
    assert status.payload == {"to": "ada", "password": "hunter2"}
    assert status.state == "queued"
    await api.refused("conflict", "POST", f"/dlq/{dead}/retry")


async def test_dead_letters_are_grouped_and_acted_on_by_filter(api: Api) -> None:
    for _ in range(3):
        await ended(api.queue, job("email.send"), DEAD)
    await ended(api.queue, job("report.build"), DEAD)

    groups = (await api.get("/dlq/groups"))["items"]
    counted = await api.post("/dlq/retry", {"filter": {"type": "email.send"}, "dry_run": True})
    retried = await api.post("/dlq/retry", {"filter": {"type": "email.send"}, "limit": 2})
    deleted = await api.post("/dlq/delete", {"filter": {"type": "report.build"}})

    assert [(each["type"], each["error_class"], each["count"]) for each in groups] == [
        ("email.send", "ValueError", 3),
        ("report.build", "ValueError", 1),
    ]
    assert (counted["matched"], counted["done"]) == (3, 0)
    assert (retried["done"], retried["remaining"]) == (2, 1)
    assert deleted["done"] == 1
    assert (await api.queue.stats("mail")).depth == 2


async def test_a_dead_letter_is_deleted_once(api: Api) -> None:
    dead = await ended(api.queue, job(), DEAD)

    await api.expect(204, "DELETE", f"/dlq/{dead}")
    await api.refused("not-found", "DELETE", f"/dlq/{dead}")


async def test_history_is_listed_counted_and_grouped(api: Api) -> None:
    done = await ended(api.queue, Job("a", {"city": "Zürich"}, queue="mail"), COMPLETED)
    await ended(api.queue, job(), DEAD)
    await api.queue.get(done)  # what has ended is shipped

    everything = await api.get("/executions")
    found = await api.get("/executions", params={"q": "zürich", "outcome": "completed"})
    stats = await api.get("/executions/stats", params={"bucket": "1m"})
    errors = await api.get("/executions/errors")

    assert len(everything["items"]) == 2
    assert [each["id"] for each in found["items"]] == [done]
    assert stats["outcomes"] == {"completed": 1, "dead": 1}
    assert sum(each["completed"] for each in stats["buckets"]) == 1
    assert [each["error_class"] for each in errors["items"]] == ["ValueError"]
    await api.refused("invalid-request", "GET", "/executions/stats?bucket=1s")
    await api.refused("invalid-request", "GET", "/executions/stats?bucket=30s")
    shortly = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await api.get("/executions/stats", params={"bucket": "1s", "since": shortly}))["outcomes"] == stats[
        "outcomes"
    ]
    future = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await api.get("/executions/stats", params={"since": future}))["buckets"] == []


async def test_texts_that_are_none_are_refused_or_found_nowhere(api: Api) -> None:
    for path in ("/jobs", "/executions"):
        for query in ("q=%ff", "q=%ed%a0%80", "q=%00", "q=%e2%80%ae", "type=%ff", "%ff=1", "cursor=%ff"):
            url = URL(f"{api.client.make_url(f'/api/v1{path}')}?{query}", encoded=True)
            async with api.client.session.get(url) as response:
                assert response.status in (200, 422), url


async def test_texts_of_callers_are_data(api: Api) -> None:
    done = await ended(api.queue, job(), DEAD)
    await api.queue.get(done)

    for text in INJECTIONS:
        for path, names in TEXTS.items():
            for name in names:
                response = await api.call("GET", f"/api/v1{path}", params={name: text})
                told = await response.json(content_type=None)
                assert response.status in (200, 422), (path, name, told)
                assert response.status == 422 or told["items"] == [], (path, name, text)
    assert len((await api.get("/executions"))["items"]) == 1


async def test_workers_are_shown_with_what_they_run(api: Api, registry: Registry) -> None:
    may_end = asyncio.Event()

    @registry.task("slow", queue="mail")
    async def slow() -> None:
        await may_end.wait()

    made = await api.expect(201, "POST", "/jobs", json={"type": "slow"})
    working = asyncio.create_task(Worker(api.queue, registry, queues=["mail"], concurrency=3).run())
    try:

        async def shown() -> bool:
            workers = (await api.get("/workers"))["items"]
            assert len(workers) == 1
            worker = workers[0]
            assert (worker["queues"], worker["slots"], worker["alive"]) == (["mail"], 3, True)
            return [each["id"] for each in worker["jobs"]] == [made["id"]]

        await eventually(shown, within_s=30)
        assert (await api.get(f"/jobs/{made['id']}"))["state"] == "running"
        await api.refused("conflict", "POST", f"/jobs/{made['id']}/retry")
    finally:
        may_end.set()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_tasks_come_with_the_schema_of_their_payload(api: Api, bare_queue: JobQueue, serve: Serve) -> None:
    (task,) = (await api.get("/tasks"))["items"]

    assert (task["name"], task["queue"], task["priority"]) == ("email.send", "mail", "high")
    assert task["parameters"]["required"] == ["to"]
    without: Api = await serve(bare_queue, require_keys=False)
    assert (await without.get("/tasks"))["items"] == []


async def test_metrics_are_told_to_who_may_see_all(guarded: Api) -> None:
    await guarded.queue.enqueue(job())
    response = await guarded.holding(await make_key(guarded.queue, Scope.METRICS_READ)).call("GET", "/metrics")

    assert response.status == 200
    assert "jobqueue_queue_depth" in await response.text()


async def test_an_overlap_beyond_all_dates_is_refused_before_a_key_is_made(guarded: Api) -> None:
    admin = guarded.holding(await make_key(guarded.queue))
    (key,) = (await admin.get("/keys"))["items"]

    for overlap in ("3651d", "99999999d"):
        await admin.refused("invalid-request", "POST", f"/keys/{key['id']}/rotate", json={"overlap": overlap})

    assert (await admin.get("/keys"))["items"][0]["revoked_at"] is None
    assert len((await admin.get("/keys"))["items"]) == 1


async def test_a_key_has_no_rate_that_cannot_be_counted(guarded: Api) -> None:
    admin = guarded.holding(await make_key(guarded.queue))

    for rate in (1e-320, 1e-9, 0, 100_001):
        await admin.refused("invalid-request", "POST", "/keys", json={"name": "x", "rate": rate})

    made = await admin.expect(201, "POST", "/keys", json={"name": "x", "rate": 0.001})
    slow = guarded.holding(made["secret"])
    await slow.get("/jobs")
    await slow.refused("too-many-requests", "GET", "/jobs")


async def test_a_key_is_made_listed_rotated_and_revoked(guarded: Api) -> None:
    admin = guarded.holding(await make_key(guarded.queue))
    body = {
        "name": "shop",
        "scopes": ["jobs:enqueue", "jobs:read"],
        "queues": ["mail.*"],
        "expires": "30d",
        "rate": 100.0,
    }

    made = await admin.expect(201, "POST", "/keys", json=body)
    rotated = await admin.expect(201, "POST", f"/keys/{made['id']}/rotate", json={"overlap": "1h"})
    listed = (await admin.get("/keys"))["items"]

    assert (made["scopes"], made["queues"], made["kind"]) == (["jobs:enqueue", "jobs:read"], ["mail.*"], "client")
    assert made["secret"] not in str(listed)
    assert {made["id"], rotated["id"]} <= {each["id"] for each in listed}
    for secret in (made["secret"], rotated["secret"]):
        await guarded.holding(secret).get("/jobs")
    await admin.expect(204, "DELETE", f"/keys/{made['id']}")
    await guarded.holding(made["secret"]).refused("unauthenticated", "GET", "/jobs")
    await guarded.holding(rotated["secret"]).get("/jobs")
    await admin.refused("not-found", "DELETE", "/keys/zzzzzzzz")
    for wrong in (
        {"name": ""},
        {"name": "x", "scopes": ["all"]},
        {"name": "x", "queues": ["*x"]},
        {"name": "x", "rate": 0},
    ):
        await admin.refused("invalid-request", "POST", "/keys", json=wrong)


async def test_each_change_leaves_one_row_in_the_audit_log(guarded: Api) -> None:
    admin = guarded.holding(await make_key(guarded.queue))
    queue = guarded.queue
    dead = [await ended(queue, job(), DEAD) for _ in range(5)]
    waiting = [(await queue.enqueue(Job("a", queue="mail"), delay=timedelta(hours=1))).id for _ in range(2)]
    key = (await admin.expect(201, "POST", "/keys", json={"name": "x"}))["id"]
    key2 = (await admin.expect(201, "POST", f"/keys/{key}/rotate"))["id"]
    changes: list[tuple[str, str, Any, str]] = [
        ("POST", f"/jobs/{waiting[0]}/retry", None, "job.retry"),
        ("DELETE", f"/jobs/{waiting[1]}", None, "job.cancel"),
        ("POST", "/queues/mail/pause", None, "queue.pause"),
        ("POST", "/queues/mail/resume", None, "queue.resume"),
        ("POST", f"/dlq/{dead[0]}/retry", None, "dlq.retry"),
        ("DELETE", f"/dlq/{dead[1]}", None, "dlq.delete"),
        ("POST", "/dlq/retry", {"filter": {}, "limit": 1}, "dlq.retry_many"),
        ("POST", "/dlq/delete", {"filter": {}, "limit": 1}, "dlq.delete_many"),
        ("POST", "/jobs/retry", {"filter": {"state": "dead"}}, "job.retry_many"),
        ("POST", "/jobs/cancel", {"filter": {}, "limit": 1}, "job.cancel_many"),
        ("POST", "/queues/mail/purge", {"confirm": "mail"}, "queue.purge"),
        ("DELETE", f"/keys/{key2}", None, "key.revoke"),
    ]
    for method, path, body, action in changes:
        response = await admin.call(method, f"/api/v1{path}", json=body, headers={"X-Request-ID": f"r-{action}"})
        assert response.status in (200, 204), await response.text()
    await admin.post("/jobs/cancel", {"filter": {}, "dry_run": True})
    await admin.refused("not-found", "POST", "/queues/nope/pause")

    rows = (await admin.get("/audit"))["items"]

    expected = ["key.create", "key.rotate", *(action for *_, action in changes)]
    assert [each["action"] for each in reversed(rows)] == expected
    assert {each["address"] for each in rows} == {"127.0.0.1"}
    assert [each["request_id"] for each in rows[:12]] == [f"r-{action}" for *_, action in reversed(changes)]
    assert len({each["actor"] for each in rows}) == 1
    (purge,) = (await admin.get("/audit", params={"action": "queue.purge"}))["items"]
    assert purge["target"] == "mail"
    assert purge["detail"]["cancelled"] >= 1


async def test_a_change_that_fails_half_way_leaves_a_row_too(
    queue: JobQueue, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows were written after a good end only: a pause whose answer failed had none, nor had a purge out of time."""
    guarded = await serve(queue)
    hurried = await serve(queue, settings=ApiSettings(timeout=timedelta(seconds=2)))
    secret = await make_key(queue)
    admin = guarded.holding(secret)
    await queue.enqueue(Job("a", queue="mail"))

    async def away(*_: object, **__: object) -> None:
        raise BrokerUnavailable("redis is away")

    async def hangs(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("jobqueue.api.endpoint.queues._look", away)
        assert (await admin.call("POST", "/api/v1/queues/mail/pause")).status == 503
    for fails in (hangs, broken, away):
        with monkeypatch.context() as patch:
            patch.setattr(queue, "purge", fails)
            caller = hurried.holding(secret) if fails is hangs else admin
            response = await caller.call("POST", "/api/v1/queues/mail/purge", json={"confirm": "mail"})
            assert response.status >= 500
    await admin.refused("conflict", "POST", "/queues/mail/purge", json={"confirm": "other"})
    with monkeypatch.context() as patch:
        patch.setattr(Gate, "authenticate", away)
        assert (await guarded.call("POST", "/api/v1/session", json={"key": "x"})).status == 503

    rows = (await admin.get("/audit"))["items"]
    assert [(each["action"], each["target"], each["detail"].get("unfinished")) for each in reversed(rows)] == [
        ("queue.pause", "mail", None),
        ("queue.purge", "mail", "CancelledError"),
        ("queue.purge", "mail", "RuntimeError"),
        ("queue.purge", "mail", "BrokerUnavailable"),
    ]


async def test_the_session_tells_what_may_be_shown(api: Api, bare_queue: JobQueue, serve: Serve) -> None:
    session = await api.get("/session")
    bare: Api = await serve(bare_queue, require_keys=False)

    assert (session["open"], session["signed_in"], session["history"], session["key"]) == (True, False, True, None)
    assert set(session["scopes"]) == {each.value for each in Scope}
    assert (await bare.get("/session"))["history"] is False


async def test_events_tell_of_a_job_until_its_end(api: Api) -> None:
    made = await api.expect(201, "POST", "/jobs", json={"type": "a"})
    response = await api.call("GET", f"/api/v1/events?job={made['id']}")
    assert response.content_type == "text/event-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    await api.expect(200, "DELETE", f"/jobs/{made['id']}")

    async with asyncio.timeout(30):
        text = (await response.content.read()).decode()

    assert "event: job" in text
    assert '"state":"cancelled"' in text
    assert "event: end" in text
