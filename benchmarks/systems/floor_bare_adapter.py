"""A floor, not a queue: the least that an at-least-once job on Streams costs on a bare protocol. No features."""

import asyncio
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from urllib.parse import urlsplit

import hiredis
import tally
import uvloop

STREAM = b"floor"
GROUP = b"workers"
READ = 500
READ_AHEAD = 100
GATHERED = 100
BULK = 1000
BLOCK_MS = 1000
WARM_UP = 10


async def noop(n: int, text: str) -> None:
    tally.ran(n)


async def io(n: int, text: str) -> None:
    await asyncio.sleep(0.010)
    tally.ran(n)


class Connection(asyncio.Protocol):
    """One socket that many coroutines share: what they send in one turn of the loop is one write."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._unwritten: list[bytes] = []
        self._unanswered: deque = deque()  # the future of each call, how many replies it waits for, those it has
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, url: str) -> "Connection":
        address = urlsplit(url)
        _, connection = await asyncio.get_running_loop().create_connection(cls, address.hostname, address.port)
        return connection

    def call(self, *command: bytes | str | int) -> asyncio.Future:
        """Send one command; the future has its reply."""
        return self._send(hiredis.pack_command(command), None)

    def call_all(self, commands: Sequence[tuple]) -> asyncio.Future:
        """Send several commands; the future has the list of their replies."""
        return self._send(b"".join(map(hiredis.pack_command, commands)), len(commands))

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        for future, _, _ in self._unanswered:
            future.cancel()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            future, expected, replies = self._unanswered[0]
            replies.append(reply)
            if len(replies) == (expected or 1):
                self._unanswered.popleft()
                self._resolve(future, expected, replies)

    @staticmethod
    def _resolve(future: asyncio.Future, expected: int | None, replies: list) -> None:
        errors = [reply for reply in replies if isinstance(reply, hiredis.HiredisError)]
        if errors:
            future.set_exception(errors[0])
        else:
            future.set_result(replies[0] if expected is None else replies)

    def _send(self, packed: bytes, expected: int | None) -> asyncio.Future:
        future = self._loop.create_future()
        self._unanswered.append((future, expected, []))
        if not self._unwritten:
            self._loop.call_soon(self._write)
        self._unwritten.append(packed)
        return future

    def _write(self) -> None:
        self._transport.write(b"".join(self._unwritten))
        self._unwritten.clear()


def describe() -> dict:
    return {
        "name": f"floor: Streams on a bare protocol, hiredis {tally.version('hiredis')}",
        "modes": ["one", "gathered", "bulk"],
        "results": False,
        "delayed": False,
        "crash_safe": False,
        "settings": f"XADD, what is sent in one turn of the loop in one write; XREADGROUP of {READ}; no-ops awaited in "
        "the read loop, other jobs in slots; XACK and XDEL in one write; JSON of the standard library; hiredis, uvloop",
    }


def addition(task: str, n: int) -> tuple:
    """As little as says which job it is, of what type, with what arguments."""
    body = json.dumps({"type": task, "payload": {"n": n, "text": tally.text(n)}}, separators=(",", ":"))
    return (b"XADD", STREAM, b"*", b"id", f"{n:036d}", b"body", body)


async def produce(options: dict) -> dict:
    if options.get("tally"):
        tally.open(options["tally"], options["capacity"])
    enqueue = {"one": enqueue_one, "gathered": enqueue_gathered, "bulk": enqueue_bulk}[options["mode"]]
    connection = await Connection.open(options["url"])
    for _ in range(WARM_UP):
        await connection.call(*addition("noop", -1))
    task, numbers = options["task"], range(options["first"], options["first"] + options["jobs"])
    started, cpu_started = time.perf_counter(), time.process_time()
    if options.get("interval_s"):
        await enqueue_steadily(connection, task, numbers, options["interval_s"])
    else:
        await enqueue(connection, task, numbers)
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}
    connection.close()
    return took


async def enqueue_one(connection: Connection, task: str, numbers: range) -> None:
    for n in numbers:
        await connection.call(*addition(task, n))


async def enqueue_gathered(connection: Connection, task: str, numbers: range) -> None:
    async def enqueue(n: int) -> None:
        await connection.call(*addition(task, n))

    for start in range(0, len(numbers), GATHERED):
        await asyncio.gather(*(enqueue(n) for n in numbers[start : start + GATHERED]))


async def enqueue_bulk(connection: Connection, task: str, numbers: range) -> None:
    for start in range(0, len(numbers), BULK):
        await connection.call_all([addition(task, n) for n in numbers[start : start + BULK]])


async def enqueue_steadily(connection: Connection, task: str, numbers: range, interval_s: float) -> None:
    for n in numbers:
        tally.sent(n)
        await connection.call(*addition(task, n))
        await asyncio.sleep(interval_s)


async def work(options: dict) -> None:
    tally.open(options["tally"], options["capacity"])
    reading, settling = await Connection.open(options["url"]), await Connection.open(options["url"])
    try:
        await reading.call("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    except hiredis.HiredisError as error:
        if "BUSYGROUP" not in str(error):
            raise
    await Worker(reading, settling, options["concurrency"]).run()
    reading.close()
    settling.close()


class Worker:
    """Reads batches; slots take their jobs one by one from a small buffer; what is done is acknowledged together."""

    def __init__(self, reading: Connection, settling: Connection, concurrency: int) -> None:
        self._reading = reading
        self._settling = settling
        self._concurrency = concurrency
        self._buffer: asyncio.Queue = asyncio.Queue()
        self._taken = asyncio.Event()
        self._done: list = []
        self._settler: asyncio.Task | None = None
        self._stopping = False

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)
        slots = [asyncio.create_task(self._slot()) for _ in range(self._concurrency)]
        name = f"worker-{time.time_ns()}"
        read = ("XREADGROUP", "GROUP", GROUP, name, "COUNT", READ, "BLOCK", BLOCK_MS, "STREAMS", STREAM, ">")
        while not self._stopping:
            reply = await self._reading.call(*read)
            if reply:
                await self._take(reply[0][1])
        await self._buffer.join()
        for slot in slots:
            slot.cancel()
        if self._settler is not None:
            await self._settler

    def _stop(self) -> None:
        self._stopping = True

    async def _take(self, entries: list) -> None:
        for entry_id, (_, _, _, body) in entries:
            job = json.loads(body)
            if job["type"] == "noop":
                await noop(**job["payload"])
                self._done.append(entry_id)
            else:
                self._buffer.put_nowait((entry_id, job["payload"]))
        self._settle_soon()
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
        if self._done and self._settler is None:
            self._settler = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        while self._done:
            done, self._done = self._done, []
            await self._settling.call_all([(b"XACK", STREAM, GROUP, *done), (b"XDEL", STREAM, *done)])
        self._settler = None


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
