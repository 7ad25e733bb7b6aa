"""One incarnation of one worker in Redis: fetch, settle, adopt, beat."""

import asyncio
import time
from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any

import structlog
from redis.exceptions import ResponseError

from jobqueue.broker import scripts, settle
from jobqueue.broker.base import Beat, Delivery, Receipt, Settlement
from jobqueue.broker.connection import BlockingLine, NoReply, refused
from jobqueue.broker.dialer import Dialer
from jobqueue.broker.keys import QueueKeys
from jobqueue.broker.reader import Reader
from jobqueue.broker.submit import declare
from jobqueue.errors import LeaseLost

BLOCK_MS = 5_000
_PAUSED_BLOCK_MS = 2_000
_QUIET_S = 0.05
_WAKE_LIMIT_S = 0.5
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
        keep_payload: int,
    ) -> None:
        self.name = name
        self.queues = tuple(queues)
        self.groups_recreated = 0
        self._namespace = namespace
        self._keys = {queue: QueueKeys.of(namespace, queue) for queue in queues}
        self._lease_ms = lease_ms
        self._history = history
        self._journal_max = journal_max
        self._keep_payload = keep_payload if history else 0
        self._clock = _ServerClock(server_ms)
        self.now_ms = self._clock.now_ms
        self._dialer = dialer
        self._writer = dialer.line()
        mine = list(self._keys.items())
        shares = [[each] for each in mine] if dialer.one_slot_reads else [mine]
        self._quiet_until = 0.0
        self._readers = [Reader(dialer.line(), name, share, self._recover) for share in shares]

    async def fetch(self, want: int, *, skip: Collection[str] = (), wait: bool = True) -> list[Delivery]:
        readers = [reader for reader in self._readers if reader.open(skip)]
        # A queue that is resumed meanwhile would not be read before the next call.
        block_ms = min(BLOCK_MS, _PAUSED_BLOCK_MS) if skip else BLOCK_MS
        if not readers:
            await asyncio.sleep(block_ms / 1000 if wait else 0)
            return []
        taken: list[Delivery] = []
        if not wait or time.monotonic() > self._quiet_until:
            for reader in readers:
                if len(taken) < want:
                    taken += await reader.take(want - len(taken), skip)
        if taken or not wait:
            return taken
        if len(readers) == 1:
            taken = await readers[0].block(skip, block_ms)
        else:
            taken = await self._block_on_all(readers, skip, block_ms)
        # What comes first after a read that found nothing comes to the next one: no look in the order of the streams
        # between the two.
        self._quiet_until = 0.0 if taken else time.monotonic() + _QUIET_S
        return taken

    async def _block_on_all(self, readers: Sequence[Reader], skip: Collection[str], block_ms: int) -> list[Delivery]:
        """A blocked read per queue; when one of them has something, the others are woken."""
        ids = [await reader.client_id() for reader in readers]
        reads = [asyncio.create_task(reader.block(skip, block_ms)) for reader in readers]
        try:
            await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
            blocked = [n for n, read in enumerate(reads) if not read.done()]
            for n in blocked:
                await self._writer.call(["CLIENT", "UNBLOCK", ids[n]], at=readers[n].key)
            if blocked:
                await asyncio.wait([reads[n] for n in blocked], timeout=_WAKE_LIMIT_S)
        finally:
            for read in reads:
                read.cancel()
            ended = await asyncio.gather(*reads, return_exceptions=True)
        for answer in ended:
            if isinstance(answer, asyncio.CancelledError):
                raise NoReply("a read had to be broken off; what it took comes back by adopt")
            if isinstance(answer, BaseException):
                raise answer
        return [delivery for answer in ended if not isinstance(answer, BaseException) for delivery in answer]

    async def _recover(self, refusal: ResponseError) -> None:
        """Make a lost group again, from the beginning: a job may run twice, none is skipped."""
        if not str(refusal).startswith("NOGROUP"):
            raise refused(refusal) from refusal
        self.groups_recreated += 1
        _log.error("group.recreated", queues=self.queues, error=str(refusal))
        await declare(self._writer, self._namespace, self.queues)
        await asyncio.sleep(_PAUSE_AFTER_NOGROUP_S)

    async def adopt(self, known: Container[Receipt] = ()) -> list[Delivery]:
        return [delivery for reader in self._readers for delivery in await reader.adopt(known)]

    @property
    def reopened(self) -> int:
        return self._writer.reopened + sum(reader.reopened for reader in self._readers)

    async def paused(self, queues: Collection[str]) -> frozenset[str]:
        replies = await self._writer.exchange([["HEXISTS", self._keys[queue].meta, "paused"] for queue in queues])
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise refused(reply) from reply
        return frozenset(queue for queue, paused in zip(queues, replies, strict=True) if paused)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        commands = [
            settle.command(
                self._keys[queue],
                batch,
                consumer=self.name,
                fence="alive",
                history=self._history,
                journal_max=self._journal_max,
                keep_payload=self._keep_payload,
            )
            for queue, of_queue in _by_queue(settlements).items()
            for batch in settle.batches(of_queue, keep_payload=self._keep_payload)
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

    async def leave(self) -> None:
        await self._writer.exchange(
            [scripts.FORGET.command(keys, consumer=self.name, leaving=1) for keys in self._keys.values()]
        )

    async def close(self) -> None:
        for reader in self._readers:
            await reader.close()
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
        replies = self._line.call_each(commands)
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


def _by_queue(settlements: Sequence[Settlement]) -> dict[str, list[Settlement]]:
    by_queue: dict[str, list[Settlement]] = {}
    for settlement in settlements:
        by_queue.setdefault(settlement.delivery.queue, []).append(settlement)
    return by_queue
