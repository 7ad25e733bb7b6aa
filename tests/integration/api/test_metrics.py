"""What is exposed to Prometheus, and the probe of a worker and a scheduler, as a scraper reads them."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from jobqueue import Job, JobQueue, Registry, Worker
from jobqueue.api.exposition import api_exposition, exposition, loop_families, queue_families, worker_families
from jobqueue.api.health import Readiness, health
from jobqueue.api.live import Live
from jobqueue.api.probe import probing
from jobqueue.cli.probe import scheduler_probe, worker_probe
from jobqueue.clock import SystemClock
from jobqueue.config import ProbeSettings, Settings
from jobqueue.errors import BrokerUnavailable, ConfigError, RepositoryUnavailable
from jobqueue.loop import Heartbeat
from jobqueue.middleware.metrics import Metrics
from jobqueue.schedule import Definition
from jobqueue.testing import ManualClock
from jobqueue.testing.queue import memory_queue
from testutil.eventually import eventually

pytestmark = pytest.mark.timeout(60)

registry = Registry()


@registry.task("email.send", queue="mail")
async def send(to: str) -> None: ...


@registry.task("slow", queue="mail")
async def slow() -> None:
    await asyncio.sleep(60)


Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: bytes) -> Samples:
    """Name and labels → value, as Prometheus would read it; each at most once."""
    samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def nothing_to_check() -> Mapping[str, bool]:
    return {}


def live_view(queue: JobQueue) -> Live:
    return Live(queue, Readiness(nothing_to_check))


async def told_by_api(queue: JobQueue) -> bytes:
    return await api_exposition(live_view(queue), queue.parts.schedules)


async def test_the_api_counts_schedules_by_state_and_is_silent_when_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = memory_queue()
    for name in ("a", "b", "c", "d"):
        await queue.schedules.upsert(name, "@daily", Job("email.send", {"to": "a"}))
    await queue.schedules.pause("b")
    await queue.schedules.remove("c")

    samples = read(await told_by_api(queue))

    assert [value(samples, "jobqueue_schedules", state=each) for each in ("active", "paused", "retired")] == [2, 1, 0]

    async def unreachable() -> list[Definition]:
        raise RepositoryUnavailable("away")

    monkeypatch.setattr(queue.parts.schedules, "list", unreachable)
    assert not [name for name, _ in read(await told_by_api(queue)) if name.startswith("jobqueue_schedules")]


async def test_the_api_tells_of_every_queue() -> None:
    queue = memory_queue()
    await queue.enqueue_many(Job("email.send", {"to": "a"}).replace(queue="mail", priority="high") for _ in range(3))
    await queue.enqueue(Job("email.send", {"to": "a"}), queue="mail", delay=timedelta(hours=1))
    await queue.pause("mail")

    samples = read(await told_by_api(queue))

    assert value(samples, "jobqueue_redis_up") == 1
    assert value(samples, "jobqueue_queue_depth", queue="mail", priority="high") == 3
    assert value(samples, "jobqueue_queue_depth", queue="mail", priority="low") == 0
    assert value(samples, "jobqueue_queue_delayed", queue="mail") == 1
    assert value(samples, "jobqueue_queue_paused", queue="mail") == 1
    assert value(samples, "jobqueue_queue_oldest_seconds", queue="mail") >= 0
    assert value(samples, "jobqueue_dead_letters", queue="mail") == 0
    assert value(samples, "jobqueue_workers", queue="mail") == 0
    assert value(samples, "jobqueue_conservation_drift", queue="mail") == 0
    assert value(samples, "jobqueue_jobs_enqueued_total", queue="mail") == 4
    assert value(samples, "jobqueue_jobs_ended_total", queue="mail", outcome="completed") == 0
    assert value(samples, "jobqueue_journal_dropped_total") == 0


async def test_with_redis_away_nothing_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = memory_queue()
    await queue.enqueue(Job("email.send", {"to": "a"}))
    live = live_view(queue)
    await live.overview()

    async def unreachable() -> list[str]:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(queue, "queues", unreachable)
    await live._look_once()

    samples = read(await api_exposition(live, queue.parts.schedules))

    assert value(samples, "jobqueue_redis_up") == 0
    assert not [name for name, _ in samples if name.startswith("jobqueue_queue")]


@asynccontextmanager
async def working(queue: JobQueue) -> AsyncIterator[Worker]:
    worker = Worker(queue, registry, queues=["mail"], concurrency=4)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.hurry()
        with suppress(asyncio.CancelledError):
            await running


def probed(queue: JobQueue) -> JobQueue:
    """The same queue, with a probe on a free port."""
    settings = replace(Settings(), probe=ProbeSettings(port=0))
    return JobQueue(replace(queue.parts, settings=settings), registry)


async def test_a_worker_tells_what_it_has_done() -> None:
    queue = probed(memory_queue(clock=SystemClock()))
    metrics = Metrics()
    async with working(queue) as worker, worker_probe(worker, queue):
        await queue.enqueue_many(send.job(to="a") for _ in range(10))
        await queue.enqueue(slow.job())
        await eventually(lambda: worker.running == 1 and worker.metrics.settled.total() == 10)
        metrics = worker.metrics

        samples = read(exposition(worker_families(metrics, busy=worker.running, slots=worker.slots)))

    assert value(samples, "jobqueue_jobs_settled_total", queue="mail", type="email.send", outcome="completed") == 10
    assert value(samples, "jobqueue_job_duration_seconds_count", queue="mail", type="email.send") == 10
    assert value(samples, "jobqueue_job_duration_seconds_bucket", queue="mail", type="email.send", le="+Inf") == 10
    assert value(samples, "jobqueue_job_wait_seconds_count", queue="mail") == 10
    assert value(samples, "jobqueue_worker_slots", state="busy") == 1
    assert value(samples, "jobqueue_worker_slots", state="free") == 3
    assert value(samples, "jobqueue_leases_lost_total") == 0


async def test_without_a_probe_no_times_are_counted() -> None:
    queue = memory_queue(registry, clock=SystemClock())
    async with working(queue) as worker, worker_probe(worker, queue):
        await queue.enqueue(send.job(to="a"))
        await eventually(lambda: worker.metrics.settled.total() == 1)

    assert worker.metrics.durations == {}


async def test_ten_thousand_made_up_names_are_one_label() -> None:
    queue = probed(memory_queue(clock=SystemClock()))
    async with working(queue) as worker, worker_probe(worker, queue):
        await queue.enqueue_many(Job(f"made.up.{n}", {}).replace(queue="mail") for n in range(10_000))
        await eventually(lambda: worker.metrics.settled.total() >= 10_000, within_s=40)
        text = exposition(worker_families(worker.metrics, busy=0, slots=1))

    assert b"made.up" not in text
    assert {dict(labels).get("type") for name, labels in read(text) if name == "jobqueue_jobs_settled_total"} == {
        "other"
    }


async def test_no_payload_and_no_id_is_exposed() -> None:
    queue = probed(memory_queue(clock=SystemClock()))
    async with working(queue) as worker, worker_probe(worker, queue):
        handle = await queue.enqueue(send.job(to="a-secret-payload"), idempotency_key="a-secret-key")
        await eventually(lambda: worker.metrics.settled.total() == 1)
        text = exposition(worker_families(worker.metrics, busy=0, slots=1)) + await api_exposition(
            live_view(queue), queue.parts.schedules
        )

    assert handle.id.encode() not in text
    assert b"secret" not in text


def test_histograms_count_every_value_below_its_bound() -> None:
    metrics = Metrics(timed=True)
    metrics.duration_of("mail", "send").add([0.5, 1.0, 1.5, 4_000.0, 9e9])
    metrics.duration_of("mail", "send").add([-3])

    samples = read(exposition(worker_families(metrics, busy=0, slots=1)))

    def upto(le: str) -> float:
        return value(samples, "jobqueue_job_duration_seconds_bucket", queue="mail", type="send", le=le)

    assert (upto("0.001"), upto("0.0025"), upto("2.5"), upto("5.0"), upto("1800.0"), upto("+Inf")) == (3, 4, 4, 5, 5, 6)
    total = value(samples, "jobqueue_job_duration_seconds_sum", queue="mail", type="send")
    assert total == pytest.approx((0.5 + 1.0 + 1.5 + 4_000.0 + 9e9) / 1000)


async def test_promtool_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    queue = memory_queue()
    await queue.enqueue(Job("email.send", {"to": "a"}))
    live = live_view(queue)
    await live.overview()
    metrics = Metrics(timed=True)
    metrics.count("mail", "send", "completed", 1.0)
    metrics.duration_of("mail", "send").add([1.0])
    metrics.wait_of("mail").add([1])
    beat = Heartbeat(name="reap:mail", period=timedelta(seconds=5), last_tick=0.0)
    families = [*queue_families(live.sample), *worker_families(metrics, busy=1, slots=2), *loop_families([beat])]

    checked = subprocess.run(  # noqa: ASYNC221
        [promtool, "check", "metrics"], input=exposition(families), capture_output=True, timeout=30
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_a_loop_that_stands_still_makes_a_process_ill_and_queues_are_not_named() -> None:
    clock = ManualClock()
    loops = [
        Heartbeat(name="reap:mail", period=timedelta(seconds=5), last_tick=0.0),
        Heartbeat(name="reap:video", period=timedelta(seconds=5), last_tick=0.0),
        Heartbeat(name="promote:mail", period=timedelta(seconds=60), last_tick=0.0),
    ]
    assert health(loops, clock).status == "ok"

    clock.advance(timedelta(seconds=30 + 12))
    loops[1].last_tick = clock.monotonic()
    assert health(loops, clock).status == "ok"
    clock.advance(timedelta(seconds=4))

    found = health(loops, clock)
    assert found.status == "unready"
    assert found.checks == {"reap": "failed", "promote": "ok"}


async def test_readiness_is_looked_for_once_however_many_ask() -> None:
    clock, looks = ManualClock(), 0

    async def look() -> Mapping[str, bool]:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return {"redis": looks > 1}

    readiness = Readiness(look, clock)
    first = await asyncio.gather(*(readiness.ready() for _ in range(100)))
    clock.advance(timedelta(seconds=3))
    second = await readiness.ready()

    assert looks == 2
    assert {each.status for each in first} == {"unready"}
    assert second.status == "ready"


async def test_the_probe_answers_and_says_what_is_missing() -> None:
    up = True

    async def look() -> Mapping[str, bool]:
        return {"redis": up}

    clock = ManualClock()
    beat = Heartbeat(name="reap:mail", period=timedelta(seconds=5), last_tick=0.0)
    async with (
        probing(
            ProbeSettings(port=0),
            loops=lambda: [beat],
            readiness=Readiness(look, clock),
            families=lambda: loop_families([beat]),
            clock=clock,
        ) as url,
        ClientSession() as client,
    ):
        assert await asked(client, f"{url}/health") == (200, {"status": "ok", "checks": {"reap": "ok"}})
        assert await asked(client, f"{url}/ready") == (200, {"status": "ready", "checks": {"redis": "ok"}})
        async with client.get(f"{url}/metrics") as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert value(read(await response.read()), "jobqueue_loop_failures_total", loop="reap") == 0

        up = False
        clock.advance(timedelta(minutes=2))

        assert await asked(client, f"{url}/health") == (503, {"status": "unready", "checks": {"reap": "failed"}})
        assert await asked(client, f"{url}/ready") == (503, {"status": "unready", "checks": {"redis": "failed"}})
        async with client.get(f"{url}/") as response:
            assert response.status == 404


async def asked(client: ClientSession, url: str) -> tuple[int, object]:
    async with client.get(url) as response:
        return response.status, json.loads(await response.text())


async def test_a_probe_whose_port_is_taken_says_so() -> None:
    queue = probed(memory_queue())
    async with probing(ProbeSettings(port=0), loops=list, readiness=Readiness(nothing_to_check), families=list) as url:
        taken = replace(queue.settings, probe=ProbeSettings(port=int(url.rpartition(":")[2])))
        other = JobQueue(replace(queue.parts, settings=taken))
        with pytest.raises(ConfigError, match="cannot listen on"):
            async with scheduler_probe(other.scheduler(), other):
                pass
