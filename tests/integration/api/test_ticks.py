"""Ticks over HTTP: what comes, what was decided, jobs made now and for ticks of the past."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from jobqueue.access.scope import Scope
from jobqueue.app import JobQueue
from jobqueue.cron import CronSchedule, TickPreview
from jobqueue.job import Job
from tests.integration.api.conftest import Api, make_key
from testutil.eventually import eventually

pytestmark = pytest.mark.timeout(90)

HOURLY = {"name": "hourly", "expression": "0 * * * *", "type": "report.build", "queue": "reports"}
SPAN = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T06:00:00Z"}


@pytest.fixture
async def hourly(api: Api) -> Api:
    await api.expect(201, "POST", "/schedules", json=HOURLY)
    return api


@pytest.fixture
async def bare_hourly(bare_api: Api) -> Api:
    """Without Postgres, where a scheduler brings the record to be."""
    await bare_api.expect(201, "POST", "/schedules", json=HOURLY)
    return bare_api


@pytest.fixture
async def every_second(queue: JobQueue, api: Api) -> AsyncIterator[Api]:
    """A schedule that fires, and a scheduler."""
    await queue.schedules.upsert("tick", "* * * * * *", Job("report.build", queue="reports"), seconds=True)
    scheduling = asyncio.create_task(queue.scheduler().run())
    yield api
    scheduling.cancel()
    await asyncio.wait([scheduling])


async def test_coming_ticks_are_told_in_utc_and_in_the_zone_with_a_note_where_the_clock_is_set(api: Api) -> None:
    asked = {"expression": "30 2 * * *", "timezone": "Europe/Berlin", "after": "2026-03-28T00:00:00Z", "count": 3}

    told = await api.get("/cron", params=asked)

    assert told["description"] == "at 02:30, every day, Europe/Berlin"
    assert [(each["at"], each["local"]) for each in told["ticks"]] == [
        ("2026-03-28T01:30:00Z", "2026-03-28T02:30:00+01:00"),
        ("2026-03-29T01:00:00Z", "2026-03-29T03:00:00+02:00"),
        ("2026-03-30T00:30:00Z", "2026-03-30T02:30:00+02:00"),
    ]
    assert [each["note"] is not None for each in told["ticks"]] == [False, True, False]


@pytest.mark.parametrize(
    ("asked", "slug"),
    [
        ({"expression": "a b c"}, "invalid-schedule"),
        ({"expression": "* * * * * *"}, "invalid-schedule"),
        ({"expression": "* * * * *", "timezone": "Mars/Olympus"}, "invalid-schedule"),
        ({"expression": "* * * * *", "count": 101}, "invalid-request"),
        ({"expression": "* * * * *", "seconds": "1"}, "invalid-request"),
        ({}, "invalid-request"),
    ],
)
async def test_an_expression_that_is_none_is_refused(api: Api, asked: dict[str, Any], slug: str) -> None:
    assert (await api.refused(slug, "GET", "/cron", params=asked))["status"] == 422


async def test_an_expression_with_seconds_is_looked_at_when_asked(api: Api) -> None:
    told = await api.get("/cron", params={"expression": "*/10 * * * * *", "seconds": "true", "count": 2})

    assert len(told["ticks"]) == 2


NEVER = {"expression": "*/10 2 * 3 sunL", "timezone": "Europe/Berlin"}  # the hour that the clock leaves out


async def test_an_expression_that_never_comes_is_told_as_such(api: Api) -> None:
    looked_at = await api.get("/cron", params=NEVER)
    sometimes = await api.get("/cron", params={**NEVER, "timezone": "UTC"})
    made = await api.expect(201, "POST", "/schedules", json={"name": "lost", "type": "report.build", **NEVER})
    following = await api.get("/schedules/lost/next")
    paused = await api.post("/schedules/lost/pause")

    assert (looked_at["ticks"], looked_at["never"], sometimes["never"]) == ([], True, False)
    assert (made["next_at"], made["never"], paused["never"]) == (None, True, False)
    assert following == {"items": [], "never": True}
    assert (await api.get("/schedules/lost/next")) == {"items": [], "never": False}


async def test_ticks_are_worked_out_beside_the_server_loop(hourly: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_loop: list[bool] = []
    preview = CronSchedule.preview

    def watched(cron: CronSchedule, after: datetime, count: int) -> list[TickPreview]:
        in_the_loop.append(threading.current_thread() is threading.main_thread())
        return preview(cron, after, count)

    monkeypatch.setattr(CronSchedule, "preview", watched)
    await hourly.get("/cron", params={"expression": "0 0 29 2 mon", "count": 100})
    await hourly.get("/schedules/hourly/next")

    assert in_the_loop == [False, False]


async def test_the_next_ticks_of_a_schedule_begin_with_its_next_one(hourly: Api) -> None:
    items = (await hourly.get("/schedules/hourly/next?count=3"))["items"]

    assert len(items) == 3
    assert items[0]["at"] == (await hourly.get("/schedules/hourly"))["next_at"]
    await hourly.refused("invalid-request", "GET", "/schedules/hourly/next?count=0")


async def test_a_tick_that_fired_is_in_the_record_and_its_job_tells_where_it_is_from(
    queue: JobQueue, every_second: Api
) -> None:
    async def fired() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await every_second.get("/schedules/tick/ticks?decision=fired"))["items"]
        return found

    tick = (await eventually(fired, within_s=30))[-1]

    assert (tick["name"], tick["queue"], tick["count"]) == ("tick", "reports", 1)
    job = await every_second.get(f"/jobs/{tick['job_id']}")
    assert job["made_by"] == {"schedule": "tick", "tick": tick["at"]}
    assert tick["job_id"] in [each["job_id"] for each in (await every_second.get("/ticks?limit=200"))["items"]]


async def test_a_job_that_ended_still_tells_its_tick(hourly: Api, queue: JobQueue) -> None:
    done = await hourly.post("/schedules/hourly/backfill", {**SPAN, "limit": 1})
    job_id = done["ticks"][0]["job_id"]
    await queue.cancel(job_id, queue="reports")

    async def shown() -> Any:
        job = await hourly.get(f"/jobs/{job_id}")
        return job["state"] == "cancelled" and job["made_by"]

    scheduling = asyncio.create_task(queue.scheduler().run())
    assert await eventually(shown, within_s=30) == {"schedule": "hourly", "tick": SPAN["from"]}
    scheduling.cancel()
    await asyncio.wait([scheduling])


async def test_a_job_that_was_asked_for_still_tells_its_schedule_when_it_has_ended(
    hourly: Api, queue: JobQueue
) -> None:
    made = await hourly.expect(201, "POST", "/schedules/hourly/run")
    assert await queue.cancel(made["id"], queue="reports") == "cancelled"

    job = await hourly.get(f"/jobs/{made['id']}")

    assert (job["state"], job["made_by"]) == ("cancelled", {"schedule": "hourly", "tick": None})


async def test_an_ordinary_job_was_made_by_no_schedule(api: Api, queue: JobQueue) -> None:
    made = await api.expect(201, "POST", "/jobs", json={"type": "a"})

    assert (await api.get(f"/jobs/{made['id']}"))["made_by"] is None
    await queue.cancel(made["id"])
    ended = await api.get(f"/jobs/{made['id']}")
    assert (ended["state"], ended["made_by"]) == ("cancelled", None)


async def test_who_may_not_read_schedules_is_not_told_which_made_a_job(guarded: Api) -> None:
    admin = guarded.holding(await make_key(guarded.queue))
    await admin.expect(201, "POST", "/schedules", json=HOURLY)
    job = await admin.expect(201, "POST", "/schedules/hourly/run")
    reader = guarded.holding(await make_key(guarded.queue, Scope.JOBS_READ))

    assert (await admin.get(f"/jobs/{job['id']}"))["made_by"] == {"schedule": "hourly", "tick": None}
    assert (await reader.get(f"/jobs/{job['id']}"))["made_by"] is None


async def test_run_queues_a_job_once_for_one_idempotency_key(bare_hourly: Api) -> None:
    options = {"headers": {"Idempotency-Key": "17"}}

    first = await bare_hourly.call("POST", "/api/v1/schedules/hourly/run", **options)
    again = await bare_hourly.call("POST", "/api/v1/schedules/hourly/run", **options)

    assert (first.status, again.status) == (201, 201)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await again.json() == await first.json()
    assert first.headers["Location"] == again.headers["Location"] == f"/api/v1/jobs/{(await first.json())['id']}"
    assert (await bare_hourly.queue.stats("reports")).depth == 1
    (row,) = (await bare_hourly.get("/schedules/hourly/ticks"))["items"]
    assert (row["decision"], row["reason"], row["job_id"]) == ("run", "asked", (await first.json())["id"])


async def test_a_backfill_queues_each_job_once_in_steps(bare_hourly: Api) -> None:
    counted = await bare_hourly.post("/schedules/hourly/backfill", {**SPAN, "dry_run": True})
    assert (len(counted["ticks"]), counted["new"], counted["next_from"]) == (6, 6, None)
    assert (await bare_hourly.queue.queues()) in ([], ["reports"])

    first = await bare_hourly.post("/schedules/hourly/backfill", {**SPAN, "limit": 4})
    assert (first["new"], first["next_from"]) == (4, "2026-01-01T03:00:01Z")
    second = await bare_hourly.post("/schedules/hourly/backfill", {**SPAN, "from": first["next_from"], "limit": 4})
    assert (second["new"], second["next_from"]) == (2, None)
    again = await bare_hourly.post("/schedules/hourly/backfill", SPAN)

    assert (again["new"], len(again["ticks"])) == (0, 6)
    assert (await bare_hourly.queue.stats("reports")).depth == 6
    record = (await bare_hourly.get("/schedules/hourly/ticks?decision=backfilled"))["items"]
    assert sorted(each["at"] for each in record) == [f"2026-01-01T0{hour}:00:00Z" for hour in range(6)]


@pytest.mark.parametrize(
    ("span", "slug"),
    [
        ({"from": "2026-01-01T06:00:00Z", "to": "2026-01-01T00:00:00Z"}, "invalid-schedule"),
        ({"from": "2026-01-01T06:00:00Z", "to": "2999-01-01T00:00:00Z"}, "invalid-schedule"),
        ({**SPAN, "limit": 1001}, "invalid-request"),
        ({"from": "2026-01-01T06:00:00Z"}, "invalid-request"),
        ({**SPAN, "since": "2026-01-01T00:00:00Z"}, "invalid-request"),
    ],
)
async def test_a_backfill_of_no_span_of_the_past_is_refused(hourly: Api, span: dict[str, Any], slug: str) -> None:
    await hourly.refused(slug, "POST", "/schedules/hourly/backfill", json=span)


async def test_the_record_is_paged_and_bounded_by_time_and_outlives_the_schedule(bare_hourly: Api) -> None:
    await bare_hourly.post("/schedules/hourly/backfill", SPAN)
    await bare_hourly.call("DELETE", "/api/v1/schedules/hourly")
    address = "/schedules/hourly/ticks"

    first = await bare_hourly.get(address, params={"limit": 4})
    second = await bare_hourly.get(address, params={"limit": 4, "cursor": first["next_cursor"]})
    between = await bare_hourly.get(address, params={"since": "2026-01-01T02:00:00Z", "until": "2026-01-01T04:00:00Z"})

    assert len({each["at"] for each in (*first["items"], *second["items"])}) == 6
    assert second["next_cursor"] is None
    assert {each["at"] for each in between["items"]} == {"2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z"}
    await bare_hourly.refused("not-found", "GET", "/schedules/nobodys/ticks")


async def test_the_newest_decisions_are_with_the_schedule(bare_hourly: Api) -> None:
    await bare_hourly.expect(201, "POST", "/schedules/hourly/run")
    await bare_hourly.post("/schedules/hourly/backfill", SPAN)

    shown = await bare_hourly.get("/schedules/hourly")

    assert [each["decision"] for each in shown["ticks"]] == [*["backfilled"] * 6, "run"]
    assert shown["last"] == shown["ticks"][0]
