"""The invariants I1 to I4, I6 and I7 of a queue, checked against Redis: after every scenario of the tests, and by
`jobqueue check`. It only reads, in pages, so it may run beside a live system: what looks wrong is looked at
again after a pause, and reported when it still is.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

from redis.exceptions import ResponseError

from jobqueue.broker.keys import GROUP, QueueKeys
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.broker.standing import is_sound, read_entry
from jobqueue.tick import Decision

_PAGE = 500
_PAUSE_S = 0.2
_MOST_NAMED = 5

Rule = Literal["I1", "I2", "I3", "I4", "I6", "I7"]
Suspicion = tuple[Rule, str, str]
"""The rule, what is wrong, and the id it is wrong with."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant; *message* names the ids."""

    rule: Rule
    message: str


class LettersAccount(Protocol):
    """Postgres's side of I2, read while nothing is being shipped and `T:dead` holds only what is not there."""

    @property
    def waiting(self) -> int:
        """Letters in Postgres that are not requeued."""
        ...

    @property
    def purged(self) -> int:
        """Letters deleted in Postgres by hand."""
        ...


async def check_queue(
    broker: RedisStreamsBroker, queue: str, *, letters: LettersAccount | None = None
) -> list[Violation]:
    """Every broken invariant of *queue*; empty when all is well.

    I5 is about what happened, not about what is there, and is checked where it happens; I7 is checked as far as the
    record of ticks goes back. A dead worker's entries break I4 only when reapers have been at work for a lease and
    left them there.

    Raises:
        BrokerUnavailable: Redis cannot be reached.
    """
    inspector = _Inspector(broker, queue)
    found = [*await inspector.counters(letters), *await inspector.keys_with_ttl()]
    suspects = await inspector.suspects()
    if suspects:
        await asyncio.sleep(_PAUSE_S)
        suspects &= await inspector.suspects()
    unreaped = await inspector.unreaped()
    if unreaped:
        # The reaper's tick is shorter than half a lease, so within one it comes twice.
        await asyncio.sleep(broker.lease.total_seconds())
        suspects |= unreaped & await inspector.unreaped()
    return found + _violations(suspects)


class _Inspector:
    def __init__(self, broker: RedisStreamsBroker, queue: str) -> None:
        self._broker = broker
        self._queue = queue
        self._keys = broker.keys(queue)

    async def counters(self, letters: LettersAccount | None) -> list[Violation]:
        """I1 and I2, from one atomic look."""
        stats = await self._broker.stats(self._queue)
        found = []
        if stats.drift or min(*stats.ready.values(), stats.running, stats.delayed) < 0:
            found.append(
                Violation(
                    "I1",
                    f"enqueued {stats.enqueued} - completed {stats.completed} - dead {stats.died} "
                    f"- cancelled {stats.cancelled} - expired {stats.expired}, live {stats.live} and "
                    f"ready {stats.ready} + running {stats.running} + delayed {stats.delayed} must be the same",
                )
            )
        waiting, purged = (letters.waiting, letters.purged) if letters else (0, 0)
        if stats.died - stats.requeued - stats.purged - purged != stats.dead + waiting:
            found.append(
                Violation(
                    "I2",
                    f"dead {stats.died} - requeued {stats.requeued} - purged {stats.purged} + {purged} in Postgres "
                    f"must be the {stats.dead} dead letters in Redis + {waiting} in Postgres",
                )
            )
        return found

    async def keys_with_ttl(self) -> list[Violation]:
        """I6: nothing live may vanish by itself."""
        live = [getattr(self._keys, field.name) for field in fields(QueueKeys) if field.name != "tag"]
        ttls = await self._each([["PTTL", key] for key in live])
        return [
            Violation("I6", f"{key} has a TTL of {ttl} ms") for key, ttl in zip(live, ttls, strict=True) if ttl >= 0
        ]

    async def suspects(self) -> set[Suspicion]:
        """I3 by id, and entries that nobody will ever be given."""
        found: set[Suspicion] = set()
        for rank, stream in enumerate(self._keys.streams):
            delivered = await self._delivered_upto(stream)
            async for page in self._entries(stream):
                found |= await self._check_entries(rank, page)
                found |= await self._check_delivered(stream, [each for each in page if _order(each[0]) <= delivered])
        async for ids in self._scan("ZSCAN", self._keys.delayed):
            found |= await self._check_delayed([ids[n] for n in range(0, len(ids), 2)])
        async for pairs in self._scan("HSCAN", self._keys.jobs):
            found |= await self._check_index([(pairs[n], pairs[n + 1]) for n in range(0, len(pairs), 2)])
        return found | await self._ticks()

    async def _ticks(self) -> set[Suspicion]:
        """I7: no tick fired twice, and what waits is in order."""
        found: set[Suspicion] = set()
        fired: set[tuple[str, int]] = set()
        async for page in self._entries(self._keys.ticks):
            for entry_id, told in page:
                record = read_entry(self._queue, entry_id, told)
                if record.decision is not Decision.FIRED:
                    continue
                tick = (record.name, record.tick_ms)
                if tick in fired:
                    found.add(("I7", "a tick that fired twice", f"{record.name} at {record.tick_ms}"))
                fired.add(tick)
        async for pairs in self._scan("HSCAN", self._keys.cron):
            for name, text in zip(pairs[::2], pairs[1::2], strict=True):
                if not is_sound(text):
                    found.add(("I7", "a schedule that stands where none can", f"{_text(name)}: {_text(text)}"))
        return found

    async def _check_entries(self, rank: int, page: Sequence[Any]) -> set[Suspicion]:
        places = await self._broker.call(["HMGET", self._keys.jobs, *(fields[1] for _, fields in page)])
        return {
            (
                "I3",
                f"an entry of stream {rank} whose id the index puts elsewhere or nowhere",
                _text(fields[1], entry_id),
            )
            for (entry_id, fields), place in zip(page, places, strict=True)
            if place != b"%d%b" % (rank, entry_id)
        }

    async def _check_delivered(self, stream: str, page: Sequence[Any]) -> set[Suspicion]:
        """I4: delivered, so never to be delivered again, but pending with nobody, so never to be reaped."""
        pending = await self._each([["XPENDING", stream, GROUP, entry_id, entry_id, 1] for entry_id, _ in page])
        return {
            ("I4", f"delivered in {stream} and pending with nobody", _text(fields[1], entry_id))
            for (entry_id, fields), rows in zip(page, pending, strict=True)
            if not rows
        }

    async def _check_delayed(self, ids: list[bytes]) -> set[Suspicion]:
        places = await self._broker.call(["HMGET", self._keys.jobs, *ids])
        return {
            ("I3", "a delayed id that the index puts elsewhere or nowhere", _text(job_id))
            for job_id, place in zip(ids, places, strict=True)
            if place is None or not place.startswith(b"d")
        }

    async def _check_index(self, pairs: list[tuple[bytes, bytes]]) -> set[Suspicion]:
        streams = self._keys.streams
        found = await self._each(
            [
                ["ZSCORE", self._keys.delayed, job_id]
                if place.startswith(b"d")
                else ["XRANGE", streams[int(place[:1])], place[1:], place[1:]]
                for job_id, place in pairs
            ]
        )
        return {
            ("I3", "an id in the index whose job is not where it says", _text(job_id))
            for (job_id, _), there in zip(pairs, found, strict=True)
            if not there
        }

    async def unreaped(self) -> set[Suspicion]:
        """I4: pending with a consumer that is dead, or a dead one on the roster, although reapers are at work and
        past any amnesty."""
        time, janitor, amnesty = await self._each(
            [["TIME"], ["HGET", self._keys.meta, "janitor_ms"], ["HGET", self._keys.meta, "amnesty_ms"]]
        )
        now_ms, lease_ms = int(time[0]) * 1000 + int(time[1]) // 1000, self._broker.lease.total_seconds() * 1000
        if now_ms - int(janitor or 0) > lease_ms / 2 or int(amnesty or 0) > now_ms - lease_ms:
            return set()
        found: set[Suspicion] = set()
        for stream in self._keys.streams:
            for consumer in await self._dead_consumers(stream, now_ms):
                rows = await self._broker.call(["XPENDING", stream, GROUP, "-", "+", _MOST_NAMED, consumer])
                what = f"pending in {stream} with {consumer.decode()}, which is dead and not reaped"
                found |= {("I4", what, row[0].decode()) for row in rows}
        async for pairs in self._scan("HSCAN", self._keys.roster):
            dead = await self._dead(pairs[::2], now_ms)
            found |= {("I4", "on the roster, dead and not reaped", name.decode()) for name in dead}
        return found

    async def _dead_consumers(self, stream: str, now_ms: int) -> list[bytes]:
        (consumers,) = await self._each([["XINFO", "CONSUMERS", stream, GROUP]])
        return await self._dead([consumer[1] for consumer in consumers or () if consumer[3]], now_ms)

    async def _dead(self, names: list[bytes], now_ms: int) -> list[bytes]:
        """Those without a lease ahead."""
        leases = await self._each([["ZSCORE", self._keys.workers, name] for name in names])
        return [name for name, lease in zip(names, leases, strict=True) if lease is None or float(lease) < now_ms]

    async def _delivered_upto(self, stream: str) -> tuple[int, int]:
        (groups,) = await self._each([["XINFO", "GROUPS", stream]])
        for group in groups or ():
            facts = dict(zip(group[::2], group[1::2], strict=True))
            if facts[b"name"] == GROUP.encode():
                return _order(facts[b"last-delivered-id"])
        return 0, 0

    async def _entries(self, stream: str) -> AsyncIterator[Sequence[Any]]:
        after = "-"
        while page := await self._broker.call(["XRANGE", stream, after, "+", "COUNT", _PAGE]):
            yield page
            after = f"({page[-1][0].decode()}"

    async def _scan(self, command: str, key: str) -> AsyncIterator[list[bytes]]:
        cursor = b"0"
        while True:
            cursor, page = await self._broker.call([command, key, cursor, "COUNT", _PAGE])
            if page:
                yield page
            if cursor == b"0":
                return

    async def _each(self, commands: list[list[Any]]) -> list[Any]:
        """The replies to many commands; None for what Redis refuses, such as a stream that is not there."""
        replies: list[Any] = []
        for n in range(0, len(commands), _PAGE):
            replies += await self._broker.call_each(commands[n : n + _PAGE])
        return [None if isinstance(reply, ResponseError) else reply for reply in replies]


def _violations(suspects: set[Suspicion]) -> list[Violation]:
    by_kind: dict[tuple[Rule, str], list[str]] = {}
    for rule, what, name in sorted(suspects):
        by_kind.setdefault((rule, what), []).append(name)
    return [
        Violation(
            rule,
            f"{what}: {', '.join(names[:_MOST_NAMED])}"
            + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""),
        )
        for (rule, what), names in by_kind.items()
    ]


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, n = entry_id.partition(b"-")
    return int(ms), int(n)


def _text(job_id: bytes, entry_id: bytes = b"") -> str:
    return job_id.decode(errors="replace") + (f" at {entry_id.decode()}" if entry_id else "")
