"""Idle: what a worker and a scheduler cost with nothing to do, in a minute."""

import time
from collections.abc import Iterator, Sequence

import psutil
import uvloop

from benchmarks.scale.crew import jobqueue
from benchmarks.scale.lab import Lab, queue_at
from benchmarks.scale.row import Row, rows_of

_CASES: dict[str, Sequence[str]] = {
    "worker, 1 queue": ("worker", "-A", "benchmarks.scale.app", "-q", "default"),
    "worker, 3 queues": ("worker", "-A", "benchmarks.scale.app", "-q", "critical,default,low"),
    "scheduler, 3 queues": ("scheduler",),
}
_WARM_UP_S = 5.0
_WATCHED_S = 60.0
_END_LIMIT_S = 30.0


def measure(lab: Lab) -> Iterator[Row]:
    """Each watched for a minute, alone with a server, with default settings."""
    for name, arguments in _CASES.items():
        lab.say(f"idle: {name}")
        yield from rows_of(name, _watch(lab, arguments))


def _watch(lab: Lab, arguments: Sequence[str]) -> dict[str, tuple[float, str]]:
    """Commands a minute as clients send them, and with those inside scripts, which the network does not see."""
    seconds = lab.seconds(_WATCHED_S)
    with lab.server() as (server, probe):
        uvloop.run(_make_queues(server.url))
        process = jobqueue(arguments, server)
        try:
            time.sleep(_WARM_UP_S)
            watched = psutil.Process(process.pid)
            before, cpu = probe.read(), sum(watched.cpu_times()[:2])
            with probe.listen() as sent:
                time.sleep(seconds)
            spent, cpu = probe.read().since(before), sum(watched.cpu_times()[:2]) - cpu
            resident = watched.memory_info().rss
        finally:
            process.terminate()
            process.wait(_END_LIMIT_S)
    return {
        "idle_sent_per_minute": (sent.commands * 60 / seconds, "sent by clients"),
        "idle_commands_per_minute": (spent.commands * 60 / seconds, "with calls in scripts"),
        "idle_process_percent": (cpu / seconds * 100, "% of a core"),
        "idle_redis_percent": (spent.cpu_us / seconds / 1e4, "% of a core"),
        "idle_rss_mb": (resident / 2**20, "MB"),
    }


async def _make_queues(url: str) -> None:
    async with queue_at(url) as queue:
        consumer = await queue.parts.broker.join(("critical", "default", "low"))
        await consumer.leave()
        await consumer.close()
