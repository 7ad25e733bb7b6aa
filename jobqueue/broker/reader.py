"""Reading the streams of a worker's queues, in order.

Where Redis is one server, one reader has all queues and one blocked read wakes for any of them. In a
cluster a read may name the streams of one queue only: a reader each.
"""

from collections.abc import Awaitable, Callable, Collection, Container, Sequence
from typing import Any

from redis.exceptions import ResponseError

from jobqueue.broker import entry, scripts
from jobqueue.broker.base import Delivery, Receipt
from jobqueue.broker.connection import Command, Line
from jobqueue.broker.keys import GROUP, QueueKeys
from jobqueue.broker.scripts import Value

READ_GRACE_S = 3.0
_MANY = 16
_PAGE = 200
_LAST_OF_A_MS = 2**64 - 1


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

    async def adopt(self, known: Container[Receipt]) -> list[Delivery]:
        """What is pending with the consumer, but for what is *known*.

        Only the unknown is read: an entry that is read again counts as taken now, and its body has to come once more.
        """
        mine: list[Delivery] = []
        pending = await self._pending()
        unknown = [(stream, each) for stream, each in pending if (*self._place[stream.encode()], each) not in known]
        for start in range(0, len(unknown), _PAGE):
            page = unknown[start : start + _PAGE]
            replies = await self._ask(
                [
                    ["XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", 1, "STREAMS", stream, _before(each)]
                    for stream, each in page
                ]
            )
            for (_, entry_id), reply in zip(page, replies, strict=False):
                # Of one that is gone meanwhile, its successor would come.
                mine += [delivery for delivery in self._deliveries(reply) if delivery.entry_id == entry_id]
        return mine

    async def _pending(self) -> list[tuple[str, bytes]]:
        """Streams and entries that are pending with the consumer, highest first."""
        found: dict[str, list[bytes]] = {stream: [] for _, stream in self._streams}
        after = dict.fromkeys(found, b"-")
        while after:
            replies = await self._ask(
                [["XPENDING", stream, GROUP, last, "+", _PAGE, self._consumer] for stream, last in after.items()]
            )
            pages = {stream: [row[0] for row in rows] for stream, rows in zip(after, replies, strict=False)}
            for stream, page in pages.items():
                found[stream] += page
            after = {stream: b"(" + page[-1] for stream, page in pages.items() if len(page) == _PAGE}
        return [(stream, each) for stream, entries in found.items() for each in entries]

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """Their replies; none at all when a group had to be made again."""
        replies = await self._line.exchange(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                await self._recover(reply)
                return []
        return replies

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


def _before(entry_id: bytes) -> str:
    """The entry id just below."""
    ms, n = map(int, entry_id.split(b"-"))
    return f"{ms}-{n - 1}" if n else f"{ms - 1}-{_LAST_OF_A_MS}"


def _reach(want: int, streams: list[str], reply: Any) -> int:
    """How many streams, from the top, it took to get *want*; all that yielded where it was less."""
    taken, lowest = 0, b""
    for stream, entries in reply:
        taken, lowest = taken + len(entries), stream
        if taken >= want:
            break
    return 1 + streams.index(lowest.decode())
