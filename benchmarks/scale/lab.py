"""Where a figure is measured: a fresh server for every case, and jobs to put on it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.scale.app import filling
from benchmarks.scale.probe import Probe
from jobqueue import JobQueue, Settings
from jobqueue.broker.base import Delivery, Settlement
from jobqueue.broker.keys import QueueKeys
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.outcome import COMPLETED

QUEUE = "default"
KEYS = QueueKeys.of("jq", QUEUE)
_PORTION = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """How to measure: which server, and how much. *quick* is for a look at whether it works."""

    binary: str = "valkey"
    quick: bool = False

    def many(self, jobs: int) -> int:
        """So many jobs, or a twentieth."""
        return max(jobs // 20, 1) if self.quick else jobs

    def seconds(self, seconds: float) -> float:
        """So long, or a tenth."""
        return seconds / 10 if self.quick else seconds

    @contextmanager
    def server(self) -> Iterator[tuple[RedisServer, Probe]]:
        """A private server that keeps nothing on disk."""
        with start_redis(binary=self.binary, appendonly=False) as server, Probe(server.url) as probe:  # type: ignore[arg-type]
            yield server, probe

    def say(self, what: str) -> None:
        """Progress, on stderr."""
        print(what, file=sys.stderr, flush=True)


def queue_at(url: str, **settings: str) -> JobQueue:
    """A queue with default settings but for those given: no environment, no file."""
    return JobQueue.from_settings(Settings.load({}, overrides={"REDIS_URL": url, **settings}))


async def fill(queue: JobQueue, jobs: int, **options: object) -> None:
    """Queue so many jobs of 100 bytes."""
    for first in range(0, jobs, _PORTION):
        await queue.enqueue_many(filling(min(_PORTION, jobs - first)), **options)  # type: ignore[arg-type]


def completed(deliveries: list[Delivery], now_ms: int) -> list[Settlement]:
    """The settlements of jobs that went well."""
    return [Settlement(delivery=each, outcome=COMPLETED, type="noop", started_ms=now_ms) for each in deliveries]
