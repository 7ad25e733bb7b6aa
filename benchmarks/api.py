"""Jobs enqueued through the HTTP API, beside the same by `enqueue` in a process of its own.

    python -m benchmarks.api [--rounds 3] [--connections 16] [--seconds 5] [--rate 1000]

Each round measures both, one after the other, on one fresh Redis: first as fast as they go, then the API at a fixed
rate. Every answer is compared with what is in Redis afterwards: nothing lost, nothing twice.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count

import aiohttp
import click
from rich.console import Console
from rich.table import Table

from jobqueue import Job, JobQueue
from jobqueue.embedded import start_redis

_TEXT = "x" * 80


@click.command()
@click.option("--rounds", type=click.IntRange(1, 50), default=3, show_default=True)
@click.option("--connections", type=click.IntRange(1, 1000), default=16, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5, 600), default=5.0, show_default=True, help="Of each measurement.")
@click.option("--rate", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Jobs/s, paced.")
@click.option("--redis-server", is_flag=True, help="On the redis-server of PATH, not on the embedded Valkey.")
def main(rounds: int, connections: int, seconds: float, rate: int, redis_server: bool) -> None:
    """Measure and print a table; exit 1 when a job is missing or doubled."""
    found = []
    for number in range(rounds):
        with start_redis(binary="redis-server" if redis_server else "valkey", appendonly=False) as server:
            found.append(_round(server.url, connections, seconds, rate))
        Console(stderr=True).print(f"round {number + 1} of {rounds}: {found[-1]}")
    _show(found, rate)
    sys.exit(any(each["lost"] or each["failed"] for each in found))


def _round(redis_url: str, connections: int, seconds: float, rate: int) -> dict[str, float]:
    with _served(redis_url) as base:
        return asyncio.run(_measure(redis_url, base, connections, seconds, rate))


@contextmanager
def _served(redis_url: str) -> Iterator[str]:
    """An API process on this Redis; gives its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jobqueue", "api", "--port", "0"],
        env={**os.environ, "REDIS_URL": redis_url, "DATABASE_URL": "", "LOG_FORMAT": "json", "LOG_LEVEL": "info"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield _address(process)
    finally:
        process.terminate()
        process.wait(10)


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    for line in process.stderr:
        told = json.loads(line) if line.startswith("{") else {}
        if told.get("event") == "api.started":
            return str(told["url"])
    raise click.ClickException("the API ended before it listened")


async def _measure(redis_url: str, base: str, connections: int, seconds: float, rate: int) -> dict[str, float]:
    async with JobQueue.connect(redis_url) as queue, aiohttp.ClientSession(base) as session:
        direct = await _drive(lambda n: _enqueue(queue, n), connections, seconds, None)
        fast = await _drive(lambda n: _post(session, n), connections, seconds, None)
        paced = await _drive(lambda n: _post(session, n), connections, seconds, rate)
        stats = await queue.stats("load")
    accepted = direct["accepted"] + fast["accepted"] + paced["accepted"]
    return {
        "direct_per_s": direct["per_s"],
        "api_per_s": fast["per_s"],
        "paced_per_s": paced["per_s"],
        "paced_p50_ms": paced["p50_ms"],
        "paced_p99_ms": paced["p99_ms"],
        "failed": direct["failed"] + fast["failed"] + paced["failed"],
        "lost": accepted - stats.depth,
    }


async def _enqueue(queue: JobQueue, number: int) -> bool:
    return (await queue.enqueue(Job("noop", {"n": number, "text": _TEXT}, queue="load"))).created


async def _post(session: aiohttp.ClientSession, number: int) -> bool:
    body = {"type": "noop", "payload": {"n": number, "text": _TEXT}, "queue": "load"}
    async with session.post("/api/v1/jobs", json=body) as response:
        await response.read()
        return response.status == 201


async def _drive(
    call: Callable[[int], Awaitable[bool]], connections: int, seconds: float, rate: int | None
) -> dict[str, float]:
    """*connections* callers, each one call at a time; with a *rate*, no faster than that in all."""
    numbers, took, accepted, failed = count(), list[float](), 0, 0
    began = time.perf_counter()

    async def caller() -> None:
        nonlocal accepted, failed
        while (now := time.perf_counter() - began) < seconds:
            number = next(numbers)
            if rate is not None and (due := number / rate) > now:
                await asyncio.sleep(due - now)
            sent = time.perf_counter()
            if await call(number):
                accepted += 1
            else:
                failed += 1
            took.append(time.perf_counter() - sent)

    await asyncio.gather(*(caller() for _ in range(connections)))
    spent = time.perf_counter() - began
    cuts = statistics.quantiles(took, n=100)
    return {
        "per_s": accepted / spent,
        "accepted": accepted,
        "failed": failed,
        "p50_ms": cuts[49] * 1000,
        "p99_ms": cuts[98] * 1000,
    }


def _show(found: list[dict[str, float]], rate: int) -> None:
    def median(name: str) -> float:
        return statistics.median(each[name] for each in found)

    ratio = statistics.median(each["api_per_s"] / each["direct_per_s"] for each in found)
    table = Table("figure", "median")
    table.add_row("enqueue in process, jobs/s", f"{median('direct_per_s'):.0f}")
    table.add_row("POST /jobs, jobs/s", f"{median('api_per_s'):.0f}")
    table.add_row("ratio, of one round", f"{ratio:.3f}")
    table.add_row(f"asked for {rate} jobs/s", f"{median('paced_per_s'):.0f}")
    table.add_row("p50 at that rate, ms", f"{median('paced_p50_ms'):.2f}")
    table.add_row("p99 at that rate, ms", f"{median('paced_p99_ms'):.2f}")
    table.add_row("refused or failed", f"{sum(each['failed'] for each in found):.0f}")
    table.add_row("accepted and not in Redis", f"{sum(each['lost'] for each in found):.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
