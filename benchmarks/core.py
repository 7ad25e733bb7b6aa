"""What a job costs, against two floors of the same run.

    python -m benchmarks.core [--rounds 5] [--jobs 50000] [--redis-server]

Floors, both on a fresh private server:
- *bare*: XADD / XREADGROUP / XACK / XDEL in batches of 100, pipelined, no features: what Streams cost Redis.
- *minimal*: a worker on redis-py that reads a batch, awaits each handler, acks the batch: no features.

Ours runs with everything on: leases, fencing, retries, deadlines, journal of every execution. Rounds are
interleaved; medians are shown. Redis CPU is used_cpu_user + used_cpu_sys of the server process.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import statistics
import time
from collections.abc import Awaitable, Callable

import redis.asyncio
import structlog
import uvloop

from jobqueue import JobQueue, Registry, Settings, Worker
from jobqueue.broker.base import Settlement
from jobqueue.embedded import RedisServer, start_redis
from jobqueue.outcome import Completed

BATCH = 100
WARM_UP = 100
PAYLOAD = {"text": "x" * 89}  # 100 bytes as JSON

registry = Registry()


@registry.task("noop")
async def noop(text: str) -> None: ...


async def cpu(client: "redis.asyncio.Redis") -> float:
    info = await client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def commands(client: "redis.asyncio.Redis") -> int:
    return int((await client.info("stats"))["total_commands_processed"])


async def memory(client: "redis.asyncio.Redis") -> int:
    return int((await client.info("memory"))["used_memory"])


async def kept(client: "redis.asyncio.Redis") -> int:
    """Bytes in keys, apart from buffers and scripts."""
    return sum([int(await client.memory_usage(key, samples=0) or 0) for key in await client.keys("*")])


async def bare(url: str, jobs: int) -> dict[str, float]:
    """Redis CPU of the untracked at-least-once job."""
    client = redis.asyncio.Redis.from_url(url)
    body = json.dumps({"v": 1, "type": "noop", "payload": PAYLOAD})
    await client.xgroup_create("s", "g", "0", mkstream=True)
    before, started = await cpu(client), time.perf_counter()
    for _ in range(jobs // BATCH):
        pipe = client.pipeline(transaction=False)
        for _ in range(BATCH):
            pipe.xadd("s", {"b": body})
        await pipe.execute()
    queued = time.perf_counter()
    while True:
        reply = await client.xreadgroup("g", "c", {"s": ">"}, count=BATCH)
        if not reply:
            break
        ids = [entry_id for entry_id, _ in reply[0][1]]
        pipe = client.pipeline(transaction=False)
        pipe.xack("s", "g", *ids)
        pipe.xdel("s", *ids)
        await pipe.execute()
    after, ended = await cpu(client), time.perf_counter()
    await client.aclose()
    return {
        "redis_us_per_job": (after - before) / jobs * 1e6,
        "enqueue_per_s": jobs / (queued - started),
        "drain_per_s": jobs / (ended - queued),
    }


async def minimal(url: str, jobs: int) -> dict[str, float]:
    """A worker with no features on redis-py: read, run, batched ack."""
    client = redis.asyncio.Redis.from_url(url)
    body = json.dumps({"v": 1, "type": "noop", "payload": PAYLOAD})
    await client.xgroup_create("s", "g", "0", mkstream=True)
    for _ in range(jobs // BATCH):
        pipe = client.pipeline(transaction=False)
        for _ in range(BATCH):
            pipe.xadd("s", {"b": body})
        await pipe.execute()
    started, cpu_before = time.perf_counter(), time.process_time()
    while True:
        reply = await client.xreadgroup("g", "c", {"s": ">"}, count=500)
        if not reply:
            break
        for _, fields in reply[0][1]:
            job = json.loads(fields[b"b"])
            await noop(**job["payload"])
        ids = [entry_id for entry_id, _ in reply[0][1]]
        pipe = client.pipeline(transaction=False)
        pipe.xack("s", "g", *ids)
        pipe.xdel("s", *ids)
        await pipe.execute()
    ended = time.perf_counter()
    await client.aclose()
    return {
        "drain_per_s": jobs / (ended - started),
        "python_us_per_job": (time.process_time() - cpu_before) / jobs * 1e6,
    }


async def ours(url: str, jobs: int) -> dict[str, float]:
    """One worker process with all guarantees on; history is journalled and dropped beyond its bound."""
    settings = Settings.load({}, overrides={"REDIS_URL": url})
    client = redis.asyncio.Redis.from_url(url)
    async with JobQueue.from_settings(settings) as queue:
        assert queue.parts.redis is not None
        queue.parts.redis.history = True
        await warm_up(queue)
        empty, empty_keys = await memory(client), await kept(client)
        before, enqueueing = await cpu(client), time.perf_counter()
        await queue.enqueue_many([noop.job(**PAYLOAD) for _ in range(jobs)])
        enqueued = time.perf_counter()
        full = await memory(client)
        queued_cpu, commands_before = await cpu(client), await commands(client)
        seen, done = 0, asyncio.Event()

        def count(settlement: Settlement) -> None:
            nonlocal seen
            seen += isinstance(settlement.outcome, Completed)
            if seen == jobs:
                done.set()

        worker = Worker(queue, registry, queues=["default"], observe=count)
        gc.collect()
        gc.freeze()
        threshold = gc.get_threshold()
        gc.set_threshold(100_000)
        running = asyncio.create_task(worker.run())
        started, cpu_before = time.perf_counter(), time.process_time()
        await done.wait()
        ended, python = time.perf_counter(), time.process_time() - cpu_before
        after, commands_after = await cpu(client), await commands(client)
        worker.stop()
        await running
        gc.set_threshold(*threshold)
        gc.unfreeze()
        stats = await queue.stats("default")
        assert stats.completed == jobs + WARM_UP, stats
        assert stats.drift == 0, stats
        await ship_nowhere(queue)
        left = await kept(client)
    await client.aclose()
    return {
        "redis_us_per_job": (after - before) / jobs * 1e6,
        "redis_enqueue_us": (queued_cpu - before) / jobs * 1e6,
        "redis_drain_us": (after - queued_cpu) / jobs * 1e6,
        "enqueue_per_s": jobs / (enqueued - enqueueing),
        "drain_per_s": jobs / (ended - started),
        "python_us_per_job": python / jobs * 1e6,
        "commands_per_job": (commands_after - commands_before) / jobs,
        "bytes_per_queued_job": (full - empty) / jobs,
        "bytes_left": left - empty_keys,
    }


async def warm_up(queue: JobQueue) -> None:
    """A first few jobs, so that scripts, groups and connections are there before anything is measured."""
    await queue.enqueue_many([noop.job(**PAYLOAD) for _ in range(WARM_UP)])
    await Worker(queue, registry, queues=["default"]).run(burst=True)
    await ship_nowhere(queue)


async def ship_nowhere(queue: JobQueue) -> None:
    """Empty the journal, as a shipper does."""
    journal = queue.parts.broker.journal
    while (page := await journal.read("default", "journal", after="0-0", count=100)) is not None:
        await journal.trim("default", "journal", upto=page.last)


async def latency(url: str, jobs: int) -> dict[str, float]:
    """One job at a time into an idle worker: enqueue awaited one by one, and the time until it was settled."""
    settled: asyncio.Queue[float] = asyncio.Queue()
    async with JobQueue.connect(url) as queue:
        worker = Worker(queue, registry, queues=["default"], observe=lambda _: settled.put_nowait(time.perf_counter()))
        running = asyncio.create_task(worker.run())
        waits, sends = [], []
        for _ in range(jobs):
            started = time.perf_counter()
            await queue.enqueue(noop.job(**PAYLOAD))
            sends.append(time.perf_counter() - started)
            waits.append(await settled.get() - started)
            await asyncio.sleep(0.005)
        worker.stop()
        await running
    return {
        "enqueue_one_ms_p50": statistics.median(sends) * 1000,
        "settled_ms_p50": statistics.median(waits) * 1000,
        "settled_ms_p99": statistics.quantiles(waits, n=100)[98] * 1000,
    }


def on_fresh_server(
    measure: Callable[[str, int], Awaitable[dict[str, float]]], jobs: int, binary: str
) -> dict[str, float]:
    server: RedisServer = start_redis(binary=binary, appendonly=False)  # type: ignore[arg-type]
    try:
        return asyncio.run(measure(server.url, jobs))  # type: ignore[arg-type]
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--redis-server", action="store_true", help="redis-server on PATH instead of Valkey")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    if os.environ.get("JOBQUEUE_BENCH_UVLOOP", "1") == "1":
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    binary = "redis-server" if options.redis_server else "valkey"
    results: dict[str, list[dict[str, float]]] = {"bare": [], "minimal": [], "ours": [], "latency": []}
    for _ in range(options.rounds):
        results["bare"].append(on_fresh_server(bare, options.jobs, binary))
        results["minimal"].append(on_fresh_server(minimal, options.jobs, binary))
        results["ours"].append(on_fresh_server(ours, options.jobs, binary))
        results["latency"].append(on_fresh_server(latency, 300, binary))
    medians = {
        name: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        for name, rounds in results.items()
    }
    for name, figures in medians.items():
        print(f"{name:8}", "  ".join(f"{key} {value:,.2f}" for key, value in figures.items()))
    redis_ratio = statistics.median(
        o["redis_us_per_job"] / b["redis_us_per_job"] for o, b in zip(results["ours"], results["bare"], strict=True)
    )
    drain_ratio = statistics.median(
        o["drain_per_s"] / m["drain_per_s"] for o, m in zip(results["ours"], results["minimal"], strict=True)
    )
    print(f"Redis CPU per job, ours / bare:        {redis_ratio:.2f}   (goal <= 1.7)")
    print(f"drain of no-ops, ours / minimal:       {drain_ratio:.2f}   (goal >= 0.4)")
    print(f"commands per drained job:              {medians['ours']['commands_per_job']:.3f}  (goal <= 0.15)")
    print(f"bytes per queued job:                  {medians['ours']['bytes_per_queued_job']:.0f}")
    print(f"bytes left after the drain:            {medians['ours']['bytes_left']:.0f}")


if __name__ == "__main__":
    main()
