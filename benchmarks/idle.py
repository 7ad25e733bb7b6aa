"""What an idle worker and an idle scheduler cost: Redis commands and CPU in a minute.

    python -m benchmarks.idle --seconds 60

A private Valkey, no jobs, settings at their defaults. Commands inside scripts are counted apart: they
cost the server, not the network. CPU is the whole process's, of one core.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
import psutil
import redis

from jobqueue.app import JobQueue
from jobqueue.embedded import start_redis

_APP = "from jobqueue import Registry\nregistry = Registry()\n"
_CASES: dict[str, Sequence[str]] = {
    "worker, 1 queue": ("worker", "-A", "idle_app", "-q", "default"),
    "worker, 3 queues": ("worker", "-A", "idle_app", "-q", "critical,default,low"),
    "scheduler, 3 queues": ("scheduler",),
}
_WARM_UP_S = 5.0
_SENT = ("evalsha", "eval", "xreadgroup", "smembers", "ping", "time", "info")


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long each is watched.")
def main(seconds: float) -> None:
    """Print a row for each case."""
    print(f"{'':<22}{'sent/min':>10}{'in scripts/min':>16}{'CPU of process':>16}{'CPU of Redis':>14}")
    for name, arguments in _CASES.items():
        sent, inside, cpu, server_cpu = _watch(arguments, seconds)
        print(f"{name:<22}{sent:>10.0f}{inside:>16.0f}{cpu:>15.2%}{server_cpu:>13.2%}")


def _watch(arguments: Sequence[str], seconds: float) -> tuple[float, float, float, float]:
    """Commands sent and commands inside scripts a minute, CPU of the process and of the server as parts of a core."""
    with start_redis() as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        folder = server.data_dir / "app"
        folder.mkdir()
        Path(folder, "idle_app.py").write_text(_APP)
        environment = {
            **os.environ,
            "REDIS_URL": server.url,
            "LOG_LEVEL": "error",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        environment.pop("DATABASE_URL", None)
        asyncio.run(_make_queues(server.url))
        process = subprocess.Popen([sys.executable, "-m", "jobqueue", *arguments], cwd=folder, env=environment)
        try:
            time.sleep(_WARM_UP_S)
            watched, served = psutil.Process(process.pid), psutil.Process(server.pid)
            client.config_resetstat()
            before = sum(watched.cpu_times()[:2]), sum(served.cpu_times()[:2])
            time.sleep(seconds)
            after = sum(watched.cpu_times()[:2]), sum(served.cpu_times()[:2])
            calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in client.info("commandstats").items()}
        finally:
            process.terminate()
            process.wait(30)
    calls.pop("config|resetstat", None)
    calls.pop("info", None)
    sent = sum(count for name, count in calls.items() if name.split("|")[0] in _SENT)
    per_minute = 60 / seconds
    return (
        sent * per_minute,
        (sum(calls.values()) - sent) * per_minute,
        (after[0] - before[0]) / seconds,
        (after[1] - before[1]) / seconds,
    )


async def _make_queues(url: str) -> None:
    async with JobQueue.connect(url) as queue:
        consumer = await queue.parts.broker.join(("critical", "default", "low"))
        await consumer.leave()
        await consumer.close()


if __name__ == "__main__":
    main()
