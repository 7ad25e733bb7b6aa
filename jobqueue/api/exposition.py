"""The metrics in Prometheus' text format.

Queues belong to no process. What Redis knows of them is told by the API alone, from its sampler; a worker tells what
it has done itself, and a scheduler how its loops do. Several API processes tell the same of the queues: scrape one of
them, or take the `max`, never the `sum`.

Labels are bounded: queues up to 1 000 (the sampler's limit), types to those that a worker has registered and `other`.
No payloads, no ids of jobs or keys.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from jobqueue.api.live import Live, Sample
from jobqueue.errors import JobQueueError
from jobqueue.loop import Heartbeat
from jobqueue.middleware.metrics import BOUNDS_S, Histogram, Metrics
from jobqueue.repository.schedules import ScheduleStore
from jobqueue.schedule import ScheduleState

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_PATIENCE_S: Final = 2.0
_SETTLED: Final = ["queue", "type", "outcome"]
_LE: Final = [*(str(bound) for bound in BOUNDS_S), "+Inf"]


class _Told:
    """A collector of what is given to it."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(families: Iterable[Metric]) -> bytes:
    """The text of these, and of this process: its memory, its CPU seconds, its files."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(families))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


async def api_exposition(live: Live, schedules: ScheduleStore) -> bytes:
    """What the API tells at `/metrics`: queues and schedules. While Redis is away, that it is, and nothing old."""
    sample = await live.scraped()
    found = [] if sample.error is not None else await schedule_families(schedules)
    return exposition([*queue_families(sample), *found])


async def schedule_families(store: ScheduleStore) -> list[Metric]:
    """How many schedules are in which state; nothing where that cannot be told in time."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            states = Counter(definition.state for definition in await store.list())
    except (JobQueueError, TimeoutError):
        return []
    family = GaugeMetricFamily("jobqueue_schedules", "Schedules that are kept", labels=["state"])
    for state in (ScheduleState.ACTIVE, ScheduleState.PAUSED, ScheduleState.RETIRED):
        family.add_metric([state.value], states[state])
    return [family]


def queue_families(sample: Sample) -> Iterator[Metric]:
    """Of every queue: how full, how old, who serves it, what has come of it."""
    yield GaugeMetricFamily("jobqueue_redis_up", "Whether Redis answers", value=sample.error is None)
    if sample.error is not None:
        return
    if sample.postgres != "none":
        yield GaugeMetricFamily("jobqueue_postgres_up", "Whether Postgres answers", value=sample.postgres == "up")
    yield from _gauges(sample)
    yield from _counters(sample)


def _gauges(sample: Sample) -> Iterator[Metric]:
    depth = GaugeMetricFamily("jobqueue_queue_depth", "Jobs ready to run", labels=["queue", "priority"])
    running = _gauge("jobqueue_queue_running", "Jobs that are run now")
    delayed = _gauge("jobqueue_queue_delayed", "Jobs that are not due yet")
    paused = _gauge("jobqueue_queue_paused", "1 while the queue is paused")
    oldest = _gauge("jobqueue_queue_oldest_seconds", "Age of the oldest ready job; 0 when none is ready")
    dead = _gauge("jobqueue_dead_letters", "Jobs that will not be tried again by themselves")
    workers = _gauge("jobqueue_workers", "Live workers that serve the queue")
    drift = _gauge("jobqueue_conservation_drift", "Jobs that are unaccounted for; must be 0")
    for name, queue in sample.queues.items():
        for priority, jobs in queue.depth.items():
            depth.add_metric([name, priority], jobs)
        running.add_metric([name], queue.running)
        delayed.add_metric([name], queue.delayed)
        paused.add_metric([name], queue.paused)
        oldest.add_metric([name], (queue.oldest_ready_ms or 0) / 1000)
        dead.add_metric([name], queue.dead)
        workers.add_metric([name], queue.workers)
        drift.add_metric([name], queue.drift)
    yield from (depth, running, delayed, paused, oldest, dead, workers, drift)


def _counters(sample: Sample) -> Iterator[Metric]:
    enqueued = CounterMetricFamily("jobqueue_jobs_enqueued", "Jobs that came in, by whomever", labels=["queue"])
    ended = CounterMetricFamily("jobqueue_jobs_ended", "Jobs that came to an end", labels=["queue", "outcome"])
    for name, queue in sample.queues.items():
        enqueued.add_metric([name], queue.enqueued)
        ended.add_metric([name, "completed"], queue.completed)
        ended.add_metric([name, "dead"], queue.died)
        ended.add_metric([name, "cancelled"], queue.cancelled)
        ended.add_metric([name, "expired"], queue.expired)
    yield enqueued
    yield ended
    yield CounterMetricFamily(
        "jobqueue_journal_dropped",
        "Batches of history dropped because Postgres was away for too long",
        value=sample.journal_dropped,
    )


def worker_families(metrics: Metrics, *, busy: int, slots: int) -> Iterator[Metric]:
    """What one worker has done since it began."""
    settled = CounterMetricFamily("jobqueue_jobs_settled", "Attempts by what came of them", labels=_SETTLED)
    for (queue, task, outcome), n in metrics.settled.items():
        settled.add_metric([queue, task, outcome], n)
    duration = HistogramMetricFamily("jobqueue_job_duration_seconds", "Time in handlers", labels=["queue", "type"])
    for (queue, task), times in metrics.durations.items():
        _add(duration, [queue, task], times)
    wait = HistogramMetricFamily("jobqueue_job_wait_seconds", "From being ready to being started", labels=["queue"])
    for queue, times in metrics.waits.items():
        _add(wait, [queue], times)
    state = GaugeMetricFamily("jobqueue_worker_slots", "Jobs that this process may run at once", labels=["state"])
    state.add_metric(["busy"], busy)
    state.add_metric(["free"], max(slots - busy, 0))
    yield from (settled, duration, wait, state)
    yield CounterMetricFamily("jobqueue_leases_lost", "Leases that ran out under this process", metrics.leases_lost)
    yield CounterMetricFamily(
        "jobqueue_handlers_left_behind", "Handlers that ignored their cancellation", metrics.leaked_handlers
    )


def loop_families(loops: Iterable[Heartbeat]) -> Iterator[Metric]:
    """How the loops of a process do; those of all queues together."""
    failures: Mapping[str, int] = {}
    for each in loops:
        name = each.name.partition(":")[0]
        failures = {**failures, name: failures.get(name, 0) + each.failures}
    family = CounterMetricFamily("jobqueue_loop_failures", "Rounds of a loop that failed", labels=["loop"])
    for name, n in failures.items():
        family.add_metric([name], n)
    yield family


def _gauge(name: str, what: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, labels=["queue"])


def _add(family: HistogramMetricFamily, labels: list[str], times: Histogram) -> None:
    buckets = list(zip(_LE, accumulate(times.counts), strict=True))
    family.add_metric(labels, buckets, sum_value=times.sum_ms / 1000)
