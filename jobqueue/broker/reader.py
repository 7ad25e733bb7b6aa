"""Reading the streams of a worker's queues, in order.

Where Redis is one server, one reader has all queues and one blocked read wakes for any of them. In a
cluster a read may name the streams of one queue only: a reader each.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from redis.exceptions import ResponseError

from jobqueue.broker import entry, scripts
from jobqueue.broker.base import Delivery
from jobqueue.broker.connection import Line
from jobqueue.broker.keys import GROUP, QueueKeys
from jobqueue.broker.scripts import Value

READ_GRACE_S = 3.0
_MANY = 16


class Reader:
    """Takes jobs from the streams of some queues for one consumer, on a line of its own: reads block.

    *recover* is called with what Redis refused; it raises, or mends it.
    """

    def __init__(
        self,
        line: Line,
        consumer: str,
        queues: Sequence[tuple[str, QueueKeys]],
        recover: Callable[[ResponseError], Awaitable[None]],
    ) -> None:
        self._line = line
        self._consumer = consumer
        self._streams = [(queue, stream) for queue, keys in queues for stream in keys.streams]
        self._place = {
            stream.encode(): (queue, rank) for queue, keys in queues for rank, stream in enumerate(keys.streams)
        }
        self._recover = recover
        self._hot = 0

    def open(self, skip: Collection[str]) -> bool:
        """Whether any of its queues is not in *skip*."""
        return any(queue not in skip for queue, _ in self._streams)

    async def take(self, want: int, skip: Collection[str]) -> list[Delivery]:
        """Up to *want* jobs that are ready, highest first."""
        streams = self._open_streams(skip)
        taken: list[Delivery] = []
        if self._hot == 1 or (self._hot and want >= _MANY):
            # Half the cost of the script. A read names no more streams than yielded last time.
            taken = await self._read(want, streams[: self._hot])
        return taken or await self._read_in_order(want, streams)

    async def block(self, skip: Collection[str], block_ms: int) -> list[Delivery]:
        """Wait for a job, at most *block_ms*. Of each stream that fills at the same instant: one is enough."""
        taken = await self._read(1, self._open_streams(skip), block_ms=block_ms)
        self._hot = 0  # one job tells nothing of where there are more
        return taken

    async def client_id(self) -> int:
        """The server's name for this reader's connection."""
        return int(await self._line.call(["CLIENT", "ID"], at=self.key))

    @property
    def key(self) -> str:
        """A key of its slot."""
        return self._streams[0][1]

    async def adopt(self) -> list[Delivery]:
        """Everything that is pending with the consumer."""
        streams = [stream for _, stream in self._streams]
        mine: list[Delivery] = []
        after = [b"0"] * len(streams)
        while streams:
            command: list[Value] = ["XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", 200]
            command += ["STREAMS", *streams, *after]
            (reply,) = await self._line.exchange((command,))
            if isinstance(reply, ResponseError):
                await self._recover(reply)
                return []
            mine += self._deliveries(reply)
            pages = [(stream.decode(), entries[-1][0]) for stream, entries in reply or () if entries]
            streams, after = [stream for stream, _ in pages], [last for _, last in pages]
        return mine

    @property
    def reopened(self) -> int:
        """As of its line."""
        return self._line.reopened

    async def close(self) -> None:
        await self._line.close()

    def _open_streams(self, skip: Collection[str]) -> list[str]:
        return [stream for queue, stream in self._streams if queue not in skip]

    async def _read(self, want: int, streams: list[str], *, block_ms: int | None = None) -> list[Delivery]:
        """A plain read. Its COUNT counts per stream: lower ones may give what the higher ones had room for."""
        command: list[Value] = ["XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", want]
        if block_ms is not None:
            command += ["BLOCK", block_ms]
        command += ["STREAMS", *streams, *[">"] * len(streams)]
        timeout_s = None if block_ms is None else block_ms / 1000 + READ_GRACE_S
        return await self._exchange(command, want, streams, timeout_s)

    async def _read_in_order(self, want: int, streams: list[str]) -> list[Delivery]:
        """A read that never takes from a lower stream what a higher one could give."""
        command: list[Value] = ["EVALSHA", scripts.FETCH.sha, len(streams), *streams, self._consumer, want]
        return await self._exchange(command, want, streams, None)

    async def _exchange(
        self, command: list[Value], want: int, streams: list[str], timeout_s: float | None
    ) -> list[Delivery]:
        (reply,) = await self._line.exchange((command,), timeout_s=timeout_s)
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


def _reach(want: int, streams: list[str], reply: Any) -> int:
    """How many streams, from the top, it took to get *want*; all that yielded where it was less."""
    taken, lowest = 0, b""
    for stream, entries in reply:
        taken, lowest = taken + len(entries), stream
        if taken >= want:
            break
    return 1 + streams.index(lowest.decode())
