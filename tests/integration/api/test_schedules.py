"""Schedules over HTTP: looked at, made, changed, paused, removed; and what a key may do with them."""

from datetime import timedelta
from typing import Any

import pytest

from jobqueue.access.scope import SCOPES_OF, Kind, Scope
from jobqueue.app import JobQueue
from jobqueue.config import ApiSettings
from jobqueue.job import Job
from jobqueue.schedule import Schedule
from tests.integration.api.conftest import Api, Serve, make_key

pytestmark = pytest.mark.timeout(90)

NIGHTLY = {"expression": "0 3 * * *", "timezone": "Europe/Madrid", "type": "report.build", "queue": "reports"}
READ, WRITE = Scope.SCHEDULES_READ, Scope.SCHEDULES_WRITE


@pytest.fixture(params=["Postgres", "Redis"])
def either(request: pytest.FixtureRequest) -> Api:
    """The API over each place where schedules are kept."""
    made: Api = request.getfixturevalue("api" if request.param == "Postgres" else "bare_api")
    return made


async def make(api: Api, name: str = "nightly", **changes: Any) -> Any:
    return await api.expect(201, "POST", "/schedules", json={"name": name, **NIGHTLY, **changes})


async def test_a_schedule_is_made_shown_changed_paused_resumed_and_removed(either: Api) -> None:
    made = await make(either, misfire="all", grace="90s")

    assert (made["state"], made["source"], made["version"]) == ("active", "runtime", 1)
    assert made["description"] == "at 03:00, every day, Europe/Madrid"
    assert made["definition"]["grace"] == "1m30s"
    assert made["can"] == ["run", "backfill", "pause", "change", "remove"]
    assert await either.get("/schedules/nightly") == made
    changed = await either.expect(200, "PUT", "/schedules/nightly", json={**NIGHTLY, "expression": "0 4 * * *"})
    assert (changed["version"], changed["definition"]["misfire"]) == (2, "once")
    assert changed["next_at"] != made["next_at"]
    paused = await either.post("/schedules/nightly/pause")
    assert (paused["state"], paused["next_at"]) == ("paused", None)
    assert (await either.get("/schedules/nightly/next"))["items"] == []
    assert (await either.post("/schedules/nightly/resume"))["state"] == "active"
    assert (await either.call("DELETE", "/api/v1/schedules/nightly")).status == 204
    await either.refused("not-found", "GET", "/schedules/nightly")
    await either.refused("not-found", "DELETE", "/schedules/nightly")
    assert (await either.get("/schedules"))["items"] == []
    assert [each["name"] for each in (await either.get("/schedules?state=removed"))["items"]] == ["nightly"]


async def test_what_is_shown_can_be_sent_again_and_changes_nothing(either: Api) -> None:
    options: dict[str, Any] = {
        "overlap": "queue",
        "jitter": "30s",
        "timeout": "5m",
        "max_retries": 2,
        "payload": {"of": [1, None]},
    }
    made = await make(either, **options)

    again = await either.expect(200, "PUT", "/schedules/nightly", json=without_nulls(made["definition"]))

    assert again == made


async def test_put_makes_what_is_not_there_and_the_audit_log_says_so(api: Api) -> None:
    made = await api.expect(200, "PUT", "/schedules/nightly", json=NIGHTLY)
    await api.expect(200, "PUT", "/schedules/nightly", json={**NIGHTLY, "queue": "mail"})
    await api.call("DELETE", "/api/v1/schedules/nightly")
    await api.expect(200, "PUT", "/schedules/nightly", json=NIGHTLY)

    rows = (await api.get("/audit?target=nightly"))["items"]
    assert made["version"] == 1
    assert [row["action"] for row in rows] == [f"schedule.{kind}" for kind in ("create", "remove", "change", "create")]


async def test_a_name_is_taken_once_and_free_again_after_its_removal(api: Api) -> None:
    await make(api)
    await api.refused("schedule-conflict", "POST", "/schedules", json={"name": "nightly", **NIGHTLY})
    await api.call("DELETE", "/api/v1/schedules/nightly")

    assert (await make(api))["version"] == 3


async def test_lists_are_paged_by_name_and_filtered(api: Api) -> None:
    for name in ("a", "b", "c", "D"):
        await make(api, name, queue="mail" if name == "b" else "reports")
    await api.post("/schedules/c/pause")

    first = await api.get("/schedules?limit=2")
    second = await api.get("/schedules", params={"limit": 2, "cursor": first["next_cursor"]})

    assert [each["name"] for each in (*first["items"], *second["items"])] == ["D", "a", "b", "c"]
    assert second["next_cursor"] is None
    assert [each["name"] for each in (await api.get("/schedules?queue=reports&state=active"))["items"]] == ["D", "a"]
    await api.refused("invalid-request", "GET", f"/schedules?state=paused&cursor={first['next_cursor']}")


@pytest.mark.parametrize(
    ("changes", "slug", "told"),
    [
        ({"expression": "61 * * * *"}, "invalid-schedule", "61"),
        ({"expression": "0 0 30 2 *"}, "invalid-schedule", "never comes"),
        ({"timezone": "Europe/Madrit"}, "invalid-schedule", "Europe/Madrid"),
        ({"grace": "2d"}, "invalid-schedule", "grace"),
        ({"timeout": "0s"}, "invalid-job", "timeout"),
        ({"misfire": "twice"}, "invalid-request", "body.misfire"),
        ({"unique_key": "k"}, "invalid-request", "body.unique_key"),
        ({"grace": 60}, "invalid-request", "such as 500ms"),
        ({"type": "email.send", "payload": {}}, "invalid-job", "to"),
        ({"payload": {"password": "***"}}, "invalid-job", "there is no schedule yet to take the value from"),
        ({"headers": {"tenant": 7}}, "invalid-request", "body.headers.tenant"),
        ({"headers": {"tenant": "7" * 10_000}}, "invalid-job", "headers hold"),
    ],
)
async def test_what_is_wrong_is_told_and_nothing_is_kept(
    api: Api, changes: dict[str, Any], slug: str, told: str
) -> None:
    problem = await api.refused(slug, "POST", "/schedules", json={"name": "nightly", **NIGHTLY, **changes})

    assert told in problem["detail"]
    assert problem["status"] == 422
    assert (await api.get("/schedules"))["items"] == []


async def test_what_is_left_out_is_as_the_task_says(api: Api) -> None:
    sent = {"name": "mail", "expression": "@daily", "type": "email.send", "payload": {"to": "ada@example.org"}}
    made = await api.expect(201, "POST", "/schedules", json=sent)

    assert (made["definition"]["queue"], made["definition"]["priority"]) == ("mail", "high")


async def test_a_masked_field_is_hidden_and_keeps_its_value(queue: JobQueue, serve: Serve) -> None:
    api: Api = await serve(queue, require_keys=False, settings=ApiSettings(mask_fields=("password",)))
    made = await make(api, payload={"password": "hunter2", "month": 1})
    assert made["definition"]["payload"] == {"password": "***", "month": 1}

    await api.expect(200, "PUT", "/schedules/nightly", json={**NIGHTLY, "payload": {"password": "***", "month": 2}})

    schedule = (await queue.schedules.get("nightly")).schedule
    assert schedule.job().payload == {"password": "hunter2", "month": 2}
    assert "hunter2" not in str(await api.get("/schedules"))


async def test_another_task_does_not_get_what_a_mask_hides(queue: JobQueue, serve: Serve) -> None:
    api: Api = await serve(queue, require_keys=False, settings=ApiSettings(mask_fields=("password",)))
    await make(api, payload={"password": "hunter2"})

    sent = {**NIGHTLY, "type": "echo", "payload": {"password": "***"}}
    problem = await api.refused("invalid-job", "PUT", "/schedules/nightly", json=sent)

    assert "with another type, no value is taken over; write the value" in problem["detail"]


async def test_headers_are_shown_kept_by_who_sends_them_again_and_taken_away_by_who_does_not(
    queue: JobQueue, api: Api
) -> None:
    await queue.schedules.upsert("nightly", "@daily", Job("report.build", queue="reports", headers={"tenant": "7"}))
    shown = (await api.get("/schedules/nightly"))["definition"]
    assert shown["headers"] == {"tenant": "7"}

    again = await api.expect(200, "PUT", "/schedules/nightly", json=without_nulls(shown))
    assert again["version"] == 1
    other = await api.expect(200, "PUT", "/schedules/nightly", json={**NIGHTLY, "headers": {"tenant": "8"}})
    assert other["definition"]["headers"] == {"tenant": "8"}
    assert (await queue.schedules.get("nightly")).schedule.headers == {"tenant": "8"}
    await api.expect(200, "PUT", "/schedules/nightly", json=NIGHTLY)
    assert (await queue.schedules.get("nightly")).schedule.headers == {}


async def test_a_masked_header_is_hidden_and_keeps_its_value(queue: JobQueue, serve: Serve) -> None:
    api: Api = await serve(queue, require_keys=False, settings=ApiSettings(mask_fields=("token",)))
    made = await make(api, headers={"token": "hunter2", "tenant": "7"})
    assert made["definition"]["headers"] == {"token": "***", "tenant": "7"}

    await api.expect(200, "PUT", "/schedules/nightly", json={**NIGHTLY, "headers": {"token": "***"}})

    assert (await queue.schedules.get("nightly")).schedule.headers == {"token": "hunter2"}
    problem = await api.refused("invalid-job", "PUT", "/schedules/other", json={**NIGHTLY, "headers": {"token": "***"}})
    assert problem["detail"].startswith("headers.token is '***', and there is no schedule yet")


async def test_one_of_the_code_is_paused_run_and_backfilled_but_not_changed_or_removed(
    queue: JobQueue, api: Api
) -> None:
    await queue.schedules.declare([Schedule.of("digest", "@daily", Job("digest.send"))], app="shop.jobs")
    shown = await api.get("/schedules/digest")

    assert (shown["source"], shown["app"]) == ("code", "shop.jobs")
    assert shown["can"] == ["run", "backfill", "pause"]
    problem = await api.refused("schedule-conflict", "PUT", "/schedules/digest", json=NIGHTLY)
    assert "shop.jobs" in problem["detail"]
    problem = await api.refused("schedule-conflict", "POST", "/schedules", json={"name": "digest", **NIGHTLY})
    assert problem["detail"].startswith("the name 'digest' is taken by a schedule that shop.jobs defines in code")
    await api.refused("schedule-conflict", "DELETE", "/schedules/digest")
    assert (await api.post("/schedules/digest/pause"))["can"] == ["run", "backfill", "resume"]
    await api.expect(201, "POST", "/schedules/digest/run")
    await queue.schedules.declare([], app="shop.jobs")
    assert (await api.get("/schedules/digest"))["can"] == ["run", "backfill", "remove"]
    await api.refused("schedule-conflict", "POST", "/schedules/digest/resume")
    assert (await api.call("DELETE", "/api/v1/schedules/digest")).status == 204


async def test_what_is_changed_leaves_an_audit_row_and_what_is_not_leaves_none(queue: JobQueue, api: Api) -> None:
    await make(api)
    await api.expect(200, "PUT", "/schedules/nightly", json=NIGHTLY)
    await api.expect(200, "PUT", "/schedules/nightly", json={**NIGHTLY, "queue": "mail"})
    for verb in ("pause", "resume", "run"):
        await api.call("POST", f"/api/v1/schedules/nightly/{verb}")
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
    await api.post("/schedules/nightly/backfill", {**span, "dry_run": True})
    await api.post("/schedules/nightly/backfill", span)
    await api.call("DELETE", "/api/v1/schedules/nightly")

    rows = (await api.get("/audit?target=nightly"))["items"]

    kinds = ["remove", "backfill", "run", "resume", "pause", "change", "create"]
    assert [row["action"] for row in rows] == [f"schedule.{kind}" for kind in kinds]
    assert rows[1]["detail"]["done"] == 2
    assert rows[5]["detail"]["former_queue"] == "reports"


async def test_a_client_key_does_nothing_with_schedules_and_an_admins_does_all() -> None:
    assert not {READ, WRITE} & SCOPES_OF[Kind.CLIENT]
    assert {READ, WRITE} <= SCOPES_OF[Kind.ADMIN]


async def test_who_may_only_read_is_offered_nothing(guarded: Api) -> None:
    await make(guarded.holding(await make_key(guarded.queue)))
    reader = guarded.holding(await make_key(guarded.queue, READ))

    assert (await reader.get("/schedules/nightly"))["can"] == []
    await reader.refused("forbidden", "POST", "/schedules/nightly/run")


async def test_to_write_schedules_is_enough_to_make_jobs_by_them(guarded: Api) -> None:
    writer = guarded.holding(await make_key(guarded.queue, WRITE))

    await make(writer)

    assert (await writer.expect(201, "POST", "/schedules/nightly/run"))["queue"] == "reports"


async def test_what_is_away_is_said(redis_url: str, namespace: str, database_url: str, serve: Serve) -> None:
    async with JobQueue.connect("redis://127.0.0.1:1", database_url=database_url) as away:
        away.parts.redis._enqueue_timeout_s = 0.2  # type: ignore[union-attr]
        api: Api = await serve(away, require_keys=False)
        await api.refused("broker-unavailable", "POST", "/schedules", json={"name": "nightly", **NIGHTLY})

    async with JobQueue.connect(redis_url, namespace=namespace, database_url="postgresql://127.0.0.1:1/x") as away:
        api = await serve(away, require_keys=False)
        for path in ("/schedules", "/schedules/nightly", "/ticks"):
            problem = await api.refused("repository-unavailable", "GET", path)
            assert "127.0.0.1" not in str(problem)


ADDRESSES = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("POST", "/run"),
    ("POST", "/backfill"),
    ("GET", "/next"),
    ("GET", "/ticks"),
]


@pytest.mark.parametrize(("method", "rest"), ADDRESSES)
async def test_schedules_of_foreign_queues_do_not_exist(guarded: Api, method: str, rest: str) -> None:
    admin = guarded.holding(await make_key(guarded.queue))
    await make(admin, "bank", queue="bank")
    await admin.expect(201, "POST", "/schedules/bank/run")
    limited = guarded.holding(await make_key(guarded.queue, *Scope, queues=("mail*",)))
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
    options = {"json": span} if rest == "/backfill" else {}
    told = set()
    for name in ("bank", "nobodys"):
        problem = await limited.refused("not-found", method, f"/schedules/{name}{rest}", **options)
        told.add(problem["detail"].replace(name, "NAME"))

    assert len(told) == 1, "foreign is told apart from unknown"
    assert (await admin.get("/schedules/bank"))["version"] == 1
    assert (await guarded.queue.stats("bank")).depth == 1


async def test_lists_leave_foreign_schedules_and_their_ticks_out(bare_queue: JobQueue, serve: Serve) -> None:
    guarded: Api = await serve(bare_queue)
    admin = guarded.holding(await make_key(guarded.queue))
    for name in ("bank", "mail"):
        await make(admin, name, queue=f"{name}.eu")
        await admin.expect(201, "POST", f"/schedules/{name}/run")
    limited = guarded.holding(await make_key(guarded.queue, READ, queues=("mail*",)))

    assert [each["name"] for each in (await limited.get("/schedules"))["items"]] == ["mail"]
    assert (await limited.get("/schedules?queue=bank.eu"))["items"] == []
    assert {each["name"] for each in (await limited.get("/ticks"))["items"]} == {"mail"}
    assert (await limited.get("/schedules/mail"))["ticks"] != []


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PUT", "/secret-app")])
async def test_a_foreign_name_is_taken_and_nothing_is_told_of_it(
    queue: JobQueue, guarded: Api, method: str, path: str
) -> None:
    await queue.schedules.declare(
        [Schedule.of("secret-app", "@daily", Job("pay", queue="bank"), grace=timedelta(hours=1))], app="bank.jobs"
    )
    limited = guarded.holding(await make_key(queue, *Scope, queues=("mail",)))

    sent = {**NIGHTLY, "queue": "mail"} | ({"name": "secret-app"} if method == "POST" else {})
    problem = await limited.refused("schedule-conflict", method, f"/schedules{path}", json=sent)

    assert problem["detail"] == "the name 'secret-app' is taken"
    assert (await queue.schedules.get("secret-app")).version == 1


async def test_a_schedule_moves_only_between_queues_of_the_key(guarded: Api) -> None:
    limited = guarded.holding(await make_key(guarded.queue, *Scope, queues=("mail*", "reports")))
    await make(limited)
    await limited.refused("forbidden", "PUT", "/schedules/nightly", json={**NIGHTLY, "queue": "bank"})
    await limited.refused("forbidden", "POST", "/schedules", json={"name": "b", **NIGHTLY, "queue": "bank"})

    moved = await limited.expect(200, "PUT", "/schedules/nightly", json={**NIGHTLY, "queue": "mail.eu"})

    assert moved["definition"]["queue"] == "mail.eu"


@pytest.mark.parametrize("way", ["moved", "removed"])
async def test_what_was_decided_in_a_foreign_queue_is_not_shown(guarded: Api, way: str) -> None:
    """The schedule was in that queue once, or another of its name was."""
    admin = guarded.holding(await make_key(guarded.queue))
    limited = guarded.holding(await make_key(guarded.queue, *Scope, queues=("mail",)))
    await make(admin, queue="bank")
    await admin.expect(201, "POST", "/schedules/nightly/run")
    if way == "moved":
        await admin.expect(200, "PUT", "/schedules/nightly", json={**NIGHTLY, "queue": "mail"})
    else:
        assert (await admin.call("DELETE", "/api/v1/schedules/nightly")).status == 204
        await make(limited, queue="mail")

    shown = await limited.get("/schedules/nightly")

    assert (shown["last"], shown["ticks"]) == (None, [])
    assert (await limited.get("/schedules"))["items"][0]["last"] is None
    assert (await admin.get("/schedules/nightly"))["last"]["queue"] == "bank"


def without_nulls(definition: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in definition.items() if value is not None}
