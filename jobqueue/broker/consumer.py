"""One incarnation of one worker in Redis: fetch, settle, adopt, beat."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog
from redis.exceptions import ResponseError

from jobqueue.broker import entry, scripts, settle
from jobqueue.broker.base import Beat, Delivery, Settlement
from jobqueue.broker.connection import BlockingLine, Dialer, refused
from jobqueue.broker.keys import GROUP, QueueKeys
from jobqueue.broker.scripts import Value
from jobqueue.broker.submit import declare
from jobqueue.errors import LeaseLost

BLOCK_MS = 2_000
_READ_GRACE_S = 3.0
_MANY = 16
_PAUSE_AFTER_NOGROUP_S = 0.1

_log = structlog.get_logger("jobqueue.broker")


class _ServerClock:
    """The server's wall clock, carried on by the local monotonic one."""

    def __init__(self, now_ms: int) -> None:
        self.heard(now_ms)

    def heard(self, now_ms: int) -> None:
        self._offset_ms = now_ms - time.monotonic() * 1000

    def now_ms(self) -> int:
        return int(time.monotonic() * 1000 + self._offset_ms)


class RedisConsumer:
    """A consumer on one Redis; made by `RedisStreamsBroker.join`. See `jobqueue.broker.base.Consumer`."""

    def __init__(
        self,
        dialer: Dialer,
        *,
        namespace: str,
        queues: Sequence[str],
        name: str,
        lease_ms: int,
        server_ms: int,
        history: bool,
        journal_max: int,
    ) -> None:
        self.name = name
        self.queues = tuple(queues)
        self.groups_recreated = 0
        self._namespace = namespace
        self._keys = {queue: QueueKeys.of(namespace, queue) for queue in queues}
        self._lease_ms = lease_ms
        self._history = history
        self._journal_max = journal_max
        self._clock = _ServerClock(server_ms)
        self._dialer = dialer
        # Reads block, so nothing else may wait behind them.
        self._reader = dialer.line()
        self._writer = dialer.line()
        self._streams = [
            (queue, rank, stream) for queue in queues for rank, stream in enumerate(self._keys[queue].streams)
        ]
        self._place = {stream.encode(): (queue, rank) for queue, rank, stream in self._streams}
        self._hot = 0

    async def fetch(self, want: int, *, skip: Collection[str] = (), wait: bool = True) -> list[Delivery]:
        open_streams = [stream for queue, _, stream in self._streams if queue not in skip]
        if not open_streams:
            await asyncio.sleep(BLOCK_MS / 1000 if wait else 0)
            return []
        taken: list[Delivery] = []
        if self._hot == 1 or (self._hot and want >= _MANY):
            # Half the cost of the script. A read names no more streams than yielded last time.
            taken = await self._read(want, open_streams[: self._hot])
        if not taken:
            taken = await self._read_in_order(want, open_streams)
        if not taken and wait:
            # Of each stream that fills at the same instant: one is enough to wake up.
            taken = await self._read(1, open_streams, block=True)
        return taken

    async def _read(self, want: int, streams: list[str], *, block: bool = False) -> list[Delivery]:
        """A plain read. Its COUNT counts per stream: lower ones may give what the higher ones had room for."""
        command: list[Value] = ["XREADGROUP", "GROUP", GROUP, self.name, "COUNT", want]
        if block:
            command += ["BLOCK", BLOCK_MS]
        command += ["STREAMS", *streams, *[">"] * len(streams)]
        timeout_s = BLOCK_MS / 1000 + _READ_GRACE_S if block else None
        return await self._exchange_read(command, want, streams, timeout_s)

    async def _read_in_order(self, want: int, streams: list[str]) -> list[Delivery]:
        """A read that never takes from a lower stream what a higher one could give."""
        command: list[Value] = ["EVALSHA", scripts.FETCH.sha, len(streams), *streams, self.name, want]
        return await self._exchange_read(command, want, streams, None)

    async def _exchange_read(
        self, command: list[Value], want: int, streams: list[str], timeout_s: float | None
    ) -> list[Delivery]:
        (reply,) = await self._reader.exchange((command,), timeout_s=timeout_s)
        if isinstance(reply, ResponseError):
            await self._recover(reply)
            return []
        taken = self._deliveries(reply)
        self._hot = _reach(want, streams, reply) if taken else 0
        return taken

    def _deliveries(self, reply: Any) -> list[Delivery]:
        """A reply of XREADGROUP. An entry deleted under us has no fields any more: there is no job to run."""
        return [
            entry.delivery(*self._place[stream], entry_id, fields)
            for stream, entries in reply or ()
            for entry_id, fields in entries
            if fields
        ]

    async def _recover(self, refusal: ResponseError) -> None:
        """Make a lost group again, from the beginning: a job may run twice, none is skipped."""
        if not str(refusal).startswith("NOGROUP"):
            raise refused(refusal) from refusal
        self.groups_recreated += 1
        _log.error("group.recreated", queues=self.queues, error=str(refusal))
        await declare(self._writer, self._namespace, self.queues)
        await asyncio.sleep(_PAUSE_AFTER_NOGROUP_S)

    async def adopt(self) -> list[Delivery]:
        streams = [stream for _, _, stream in self._streams]
        mine: list[Delivery] = []
        after = [b"0"] * len(streams)
        while streams:
            command: list[Value] = ["XREADGROUP", "GROUP", GROUP, self.name, "COUNT", 200]
            command += ["STREAMS", *streams, *after]
            (reply,) = await self._writer.exchange((command,))
            if isinstance(reply, ResponseError):
                await self._recover(reply)
                return []
            mine += self._deliveries(reply)
            pages = [(stream.decode(), entries[-1][0]) for stream, entries in reply or () if entries]
            streams, after = [stream for stream, _ in pages], [last for _, last in pages]
        return mine

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        commands = [
            settle.command(
                self._keys[queue],
                batch,
                consumer=self.name,
                fence="alive",
                history=self._history,
                journal_max=self._journal_max,
            )
            for queue, of_queue in _by_queue(settlements).items()
            for batch in settle.batches(of_queue)
        ]
        replies = await self._writer.exchange(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise refused(reply) from reply
        if any(reply[0] == 0 for reply in replies):
            raise LeaseLost(f"{self.name} was reaped; its jobs were given to others and its settlement refused")
        for reply in replies:
            if reply[0] == 2:
                _log.warning("settlement.repeated", consumer=self.name, entries=len(reply) - 1)

    def heartbeat(self) -> "RedisHeartbeat":
        line = self._dialer.blocking_line(self._lease_ms / 3000)
        return RedisHeartbeat(line, self.name, self._keys, self._lease_ms, self._clock)

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def leave(self) -> None:
        await self._writer.exchange(
            [scripts.FORGET.command(keys, consumer=self.name, leaving=1) for keys in self._keys.values()]
        )

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()


class RedisHeartbeat:
    """Renews a lease from a thread of its own."""

    def __init__(
        self, line: BlockingLine, name: str, keys: Mapping[str, QueueKeys], lease_ms: int, clock: _ServerClock
    ) -> None:
        self._line = line
        self._name = name
        self._keys = keys
        self._lease_ms = lease_ms
        self._clock = clock

    def beat(self, progress: Mapping[str, Mapping[str, bytes]]) -> list[Beat]:
        commands = [
            scripts.BEAT.command(
                keys,
                consumer=self._name,
                lease_ms=self._lease_ms,
                more_args=[part for pair in progress.get(queue, {}).items() for part in pair],
            )
            for queue, keys in self._keys.items()
        ]
        replies = self._line.exchange(commands)
        return [self._heard(queue, reply) for queue, reply in zip(self._keys, replies, strict=True)]

    def _heard(self, queue: str, reply: list[Any]) -> Beat:
        if reply[0] == 0:
            return Beat(queue=queue, alive=False)
        self._clock.heard(int(reply[2]))
        return Beat(
            queue=queue, alive=True, paused=bool(reply[1]), cancel=frozenset(job_id.decode() for job_id in reply[3:])
        )

    def close(self) -> None:
        self._line.close()


def _reach(want: int, streams: list[str], reply: Any) -> int:
    """How many streams, from the top, it took to get *want*; all that yielded where it was less."""
    taken, lowest = 0, b""
    for stream, entries in reply:
        taken, lowest = taken + len(entries), stream
        if taken >= want:
            break
    return 1 + streams.index(lowest.decode())


def _by_queue(settlements: Sequence[Settlement]) -> dict[str, list[Settlement]]:
    by_queue: dict[str, list[Settlement]] = {}
    for settlement in settlements:
        by_queue.setdefault(settlement.delivery.queue, []).append(settlement)
    return by_queue
