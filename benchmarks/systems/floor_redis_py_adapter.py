"""A floor, not a queue: the least that an at-least-once job on Streams costs with redis-py. No features."""

import asyncio
import json
import signal
import sys
import time

import redis.asyncio
import tally
import uvloop
from redis.exceptions import ResponseError

STREAM = "floor"
GROUP = "workers"
READ = 500
READ_AHEAD = 100
GATHERED = 100
PIPELINED = 100
BLOCK_MS = 1000
WARM_UP = 10


async def noop(n: int, text: str) -> None:
    tally.ran(n)


async def io(n: int, text: str) -> None:
    await asyncio.sleep(0.010)
    tally.ran(n)


def describe() -> dict:
    return {
        "name": f"floor: Streams on redis-py {tally.version('redis')}",
        "modes": ["one", "gathered", "bulk"],
        "results": False,
        "delayed": False,
        "crash_safe": False,
        "settings": f"XADD, pipelines of {PIPELINED} in bulk; XREADGROUP of {READ}; no-ops awaited in the read loop, "
        "other jobs in slots; XACK and XDEL in one pipeline; JSON of the standard library; hiredis, uvloop",
    }


def fields(task: str, n: int) -> dict:
    """As little as says which job it is, of what type, with what arguments."""
    body = json.dumps({"type": task, "payload": {"n": n, "text": tally.text(n)}}, separators=(",", ":"))
    return {"id": f"{n:036d}", "body": body}


async def produce(options: dict) -> dict:
    if options.get("tally"):
        tally.open(options["tally"], options["capacity"])
    enqueue = {"one": enqueue_one, "gathered": enqueue_gathered, "bulk": enqueue_bulk}[options["mode"]]
    async with redis.asyncio.Redis.from_url(options["url"]) as client:
        for _ in range(WARM_UP):
            await client.xadd(STREAM, fields("noop", -1))
        task, numbers = options["task"], range(options["first"], options["first"] + options["jobs"])
        started, cpu_started = time.perf_counter(), time.process_time()
        if options.get("interval_s"):
            await enqueue_steadily(client, task, numbers, options["interval_s"])
        else:
            await enqueue(client, task, numbers)
        return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}


async def enqueue_one(client: redis.asyncio.Redis, task: str, numbers: range) -> None:
    for n in numbers:
        await client.xadd(STREAM, fields(task, n))


async def enqueue_gathered(client: redis.asyncio.Redis, task: str, numbers: range) -> None:
    for start in range(0, len(numbers), GATHERED):
        await asyncio.gather(*(client.xadd(STREAM, fields(task, n)) for n in numbers[start : start + GATHERED]))


async def enqueue_bulk(client: redis.asyncio.Redis, task: str, numbers: range) -> None:
    for start in range(0, len(numbers), PIPELINED):
        pipeline = client.pipeline(transaction=False)
        for n in numbers[start : start + PIPELINED]:
            pipeline.xadd(STREAM, fields(task, n))
        await pipeline.execute()


async def enqueue_steadily(client: redis.asyncio.Redis, task: str, numbers: range, interval_s: float) -> None:
    for n in numbers:
        tally.sent(n)
        await client.xadd(STREAM, fields(task, n))
        await asyncio.sleep(interval_s)


async def work(options: dict) -> None:
    tally.open(options["tally"], options["capacity"])
    async with redis.asyncio.Redis.from_url(options["url"], socket_timeout=10) as client:
        try:
            await client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        await Worker(client, options["concurrency"]).run()


class Worker:
    """Reads batches; slots take their jobs one by one from a small buffer; what is done is acknowledged together."""

    def __init__(self, client: redis.asyncio.Redis, concurrency: int) -> None:
        self._client = client
        self._concurrency = concurrency
        self._buffer: asyncio.Queue = asyncio.Queue()
        self._taken = asyncio.Event()
        self._done: list = []
        self._settling: asyncio.Task | None = None
        self._stopping = False

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)
        slots = [asyncio.create_task(self._slot()) for _ in range(self._concurrency)]
        name = f"worker-{time.time_ns()}"
        while not self._stopping:
            reply = await self._client.xreadgroup(GROUP, name, {STREAM: ">"}, count=READ, block=BLOCK_MS)
            if reply:
                await self._take(reply[0][1])
        await self._buffer.join()
        for slot in slots:
            slot.cancel()
        await self._settled()

    def _stop(self) -> None:
        self._stopping = True

    async def _take(self, entries: list) -> None:
        for entry_id, entry in entries:
            job = json.loads(entry[b"body"])
            if job["type"] == "noop":
                await noop(**job["payload"])
                self._done.append(entry_id)
            else:
                self._buffer.put_nowait((entry_id, job["payload"]))
        if self._done:
            self._settle_soon()
            await self._settled()
        while self._buffer.qsize() > READ_AHEAD:
            self._taken.clear()
            await self._taken.wait()

    async def _slot(self) -> None:
        while True:
            entry_id, payload = await self._buffer.get()
            self._taken.set()
            await io(**payload)
            self._done.append(entry_id)
            self._buffer.task_done()
            self._settle_soon()

    def _settle_soon(self) -> None:
        if self._settling is None:
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        while self._done:
            done, self._done = self._done, []
            pipeline = self._client.pipeline(transaction=False)
            pipeline.xack(STREAM, GROUP, *done)
            pipeline.xdel(STREAM, *done)
            await pipeline.execute()
        self._settling = None

    async def _settled(self) -> None:
        if self._settling is not None:
            await self._settling


def main() -> None:
    command, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if command == "describe":
        print(json.dumps(describe()))
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(produce(options) if command == "produce" else work(options))
        if result is not None:
            print(json.dumps(result))


if __name__ == "__main__":
    main()
