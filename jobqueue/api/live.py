"""The queues as they are now, with rates: one sampler for all who look.

Once a second while somebody looks, every ten seconds otherwise; a look never takes more than a fifth of the time.
Everything is bounded: a minute of counters, one sample, the queues of `choice`. Subscribers have no buffer: each
asks for the newest sample when it has room for it.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import structlog

from jobqueue.access.scope import covers
from jobqueue.api import view
from jobqueue.api.choice import MOST_QUEUES, Choice
from jobqueue.api.health import Readiness
from jobqueue.app import JobQueue
from jobqueue.broker.base import QueueStats, WorkerInfo
from jobqueue.clock import Clock, SystemClock, from_ms
from jobqueue.errors import BrokerError, BrokerUnavailable, RepositoryError
from jobqueue.job import PRIORITIES
from jobqueue.loop import Heartbeat, run_every
from jobqueue.repository.base import LetterFilter

_log = structlog.get_logger("jobqueue.api")

_WATCHED = timedelta(seconds=1)
_UNWATCHED = timedelta(seconds=10)
_LOOKED_AT_S = 10.0
_FRESH_S = 2.0
_BUSY = 4  # rest four times as long as a look took
_AT_ONCE = 8
_MINUTE_S = 60.0
_BETWEEN_POINTS_S = 2.0
_ASK_POSTGRES = timedelta(seconds=5)
_MOST_RENDERED = 64

EVERYTHING = ("*",)

_Found: TypeAlias = tuple[QueueStats, list[WorkerInfo]]
_Postgres: TypeAlias = Literal["up", "down", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The queues at one instant; or, with an *error*, why nothing is known.

    Numbers grow, also from one process to the next.
    """

    number: int
    taken: float
    queues: Mapping[str, view.Queue] = field(default_factory=dict)
    left_out: Sequence[str] = ()
    """Names of queues that were not looked at: there are too many."""
    workers: Sequence[WorkerInfo] = ()
    postgres: _Postgres = "none"
    journal_dropped: int = 0
    error: BrokerError | None = None


@dataclass(slots=True)
class _Trail:
    """Counters of a queue over the last minute: (when, enqueued, completed, died)."""

    points: deque[tuple[float, int, int, int]] = field(default_factory=deque)

    def add(self, now: float, stats: QueueStats) -> view.Rates:
        """Note them. The rates since the oldest point; zero until there are two."""
        counts = (stats.enqueued, stats.completed, stats.died)
        if self.points and any(new < old for new, old in zip(counts, self.points[-1][1:], strict=True)):
            self.points.clear()  # the data is another: flushed, or restored
        while len(self.points) > 1 and now - self.points[1][0] >= _MINUTE_S:
            self.points.popleft()
        rates = self._rates(now, counts)
        if not self.points or now - self.points[-1][0] >= _BETWEEN_POINTS_S:
            self.points.append((now, *counts))
        return rates

    def _rates(self, now: float, counts: tuple[int, int, int]) -> view.Rates:
        if not self.points or now - self.points[0][0] < 0.5:
            return view.Rates(enqueued=0.0, completed=0.0, failed=0.0)
        then, *before = self.points[0]
        enqueued, completed, failed = (
            round((new - old) / (now - then), 2) for new, old in zip(counts, before, strict=True)
        )
        return view.Rates(enqueued=enqueued, completed=completed, failed=failed)


class Live:
    """What the queues hold now. `run` belongs to whoever starts it; without it, every question is a look of its own.

    *patterns* leave out what a caller may not see.
    """

    def __init__(self, queue: JobQueue, readiness: Readiness, clock: Clock | None = None) -> None:
        self._queue = queue
        self._readiness = readiness
        self._clock = clock or SystemClock()
        self.heartbeat = Heartbeat(name="live", period=_UNWATCHED, last_tick=self._clock.monotonic())
        self.sample = Sample(number=0, taken=float("-inf"))
        """The newest."""
        self._choice = Choice()
        self._trails: dict[str, _Trail] = {}
        self._letters: dict[str, int] = {}
        self._postgres: _Postgres = "none"
        self._asked_postgres_at = float("-inf")
        self._rendered: dict[tuple[str, ...], view.Overview] = {}
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._watching = 0
        self._news = asyncio.Event()
        self._wake = asyncio.Event()
        self._told_away = False
        self._told_many = False

    async def run(self) -> None:
        """Look, until cancelled."""
        async with asyncio.TaskGroup() as loops:
            loops.create_task(run_every(self.heartbeat, self._step, clock=self._clock, wake=self._wake))
            if self._queue.settings.postgres.url is not None:
                asking = Heartbeat(name="live.postgres", period=_ASK_POSTGRES, last_tick=self._clock.monotonic())
                loops.create_task(run_every(asking, self._step_postgres, clock=self._clock))

    async def overview(self, patterns: Sequence[str] = EVERYTHING) -> view.Overview:
        """All at once, at most two seconds old.

        Raises:
            BrokerUnavailable: Redis cannot be reached.
        """
        await self._fresh(patterns)
        return self.shown(patterns)

    async def queues(self, patterns: Sequence[str] = EVERYTHING) -> list[view.Queue]:
        """Every queue, by name; as `overview`."""
        await self._fresh(patterns)
        return [each for name, each in sorted(self.sample.queues.items()) if covers(patterns, name)]

    async def queue(self, name: str) -> view.Queue | None:
        """One queue as it is at this moment; None: there is none.

        Raises:
            BrokerUnavailable: Redis cannot be reached.
        """
        if name not in await self._queue.queues():
            return None
        stats, workers = await asyncio.gather(self._queue.stats(name), self._queue.workers(name))
        shown = self._shown(stats, workers, self._clock.monotonic())
        if name in self.sample.queues:
            # Whoever has just changed something finds it in the next overview, too.
            self.sample = replace(self.sample, queues={**self.sample.queues, name: shown})
            self._rendered.clear()
        return shown

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Somebody looks, for as long as this lasts."""
        self._watching += 1
        self._wake.set()
        try:
            yield
        finally:
            self._watching -= 1

    async def newer(self, than: int, *, within_s: float) -> Sample | None:
        """The newest sample as soon as it is not the one numbered *than*; None: it still is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.sample.number <= than:
                    await self._news.wait()
        return self.sample if self.sample.number > than else None

    def shown(self, patterns: Sequence[str] = EVERYTHING) -> view.Overview:
        """The newest sample as it is sent.

        Raises:
            BrokerError: it could not be taken.
        """
        if self.sample.error is not None:
            raise self.sample.error
        key = tuple(patterns)
        self._choice.note(key, self._clock.monotonic())
        found = self._rendered.get(key)
        if found is None:
            if len(self._rendered) >= _MOST_RENDERED:
                self._rendered.clear()
            found = self._rendered[key] = _overview(self.sample, key)
        return found

    async def scraped(self) -> Sample:
        """The newest sample, for who comes by every now and then: this alone does not hasten the sampler."""
        if self._clock.monotonic() - self.sample.taken > _UNWATCHED.total_seconds() / 2 or self.sample.error:
            await self._look_once()
        return self.sample

    # Sampling

    async def _fresh(self, patterns: Sequence[str]) -> None:
        now = self._clock.monotonic()
        stale = self._choice.note(patterns, now) and bool(self.sample.left_out)
        if now - self._looked_at > _LOOKED_AT_S:
            self._wake.set()
        self._looked_at = now
        if stale or now - self.sample.taken > _FRESH_S or self.sample.error is not None:
            await self._look_once()
        if self.sample.error is not None:
            raise self.sample.error

    async def _step(self) -> timedelta:
        started = self._clock.monotonic()
        await self._look_once()
        now = self._clock.monotonic()
        return max(_WATCHED if self._is_watched() else _UNWATCHED, timedelta(seconds=(now - started) * _BUSY))

    async def _look_once(self) -> None:
        """Take a sample; whoever comes meanwhile has that one."""
        before = self.sample.number
        async with self._looking:
            if self.sample.number != before:
                return
            try:
                sample = await self._look()
            except BrokerError as error:
                sample = Sample(number=self._next_number(), taken=self._clock.monotonic(), error=error)
            self._tell_away(sample.error)
            self.sample = sample
            self._rendered.clear()
            news, self._news = self._news, asyncio.Event()
            news.set()

    def _next_number(self) -> int:
        return max(self._clock.now_ms(), self.sample.number + 1)

    async def _look(self) -> Sample:
        known = sorted(await self._queue.queues())
        names = self._choice.of(known, self._clock.monotonic())
        if len(known) > MOST_QUEUES and not self._told_many:
            _log.warning("queues.too_many", queues=len(known), shown=MOST_QUEUES)
            self._told_many = True
        if self._clock.monotonic() - self._asked_postgres_at > _MINUTE_S:
            await self._ask_postgres(names)  # at first, or when `run` does not
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def look_at(name: str) -> _Found:
            async with at_once:
                return await self._queue.stats(name), await self._queue.workers(name)

        found = await _all(look_at(name) for name in names)
        now = self._clock.monotonic()
        looked_at = frozenset(names)
        self._trails = {name: trail for name, trail in self._trails.items() if name in looked_at}
        return Sample(
            number=self._next_number(),
            taken=now,
            queues={stats.queue: self._shown(stats, workers, now) for stats, workers in found},
            left_out=[name for name in known if name not in looked_at],
            workers=[each for _, workers in found for each in workers if each.lease_ms > 0],
            postgres=self._postgres,
            journal_dropped=sum(stats.journal_dropped for stats, _ in found),
        )

    def _shown(self, stats: QueueStats, workers: Sequence[WorkerInfo], now: float) -> view.Queue:
        alive = [each for each in workers if each.lease_ms > 0]
        return view.Queue(
            name=stats.queue,
            paused=stats.paused,
            depth={each.name.lower(): stats.ready.get(each, 0) for each in PRIORITIES},  # type: ignore[misc]
            ready=stats.depth,
            running=stats.running,
            delayed=stats.delayed,
            dead=stats.dead + self._letters.get(stats.queue, 0),
            oldest_ready_ms=stats.oldest_ready_ms,
            next_due_ms=stats.next_due_ms,
            workers=len(alive),
            slots=_slots(alive),
            rates=self._trails.setdefault(stats.queue, _Trail()).add(now, stats),
            enqueued=stats.enqueued,
            completed=stats.completed,
            died=stats.died,
            cancelled=stats.cancelled,
            expired=stats.expired,
            drift=stats.drift,
        )

    async def _step_postgres(self) -> timedelta:
        """In a loop of its own: a Postgres that hangs must not hold up the rest."""
        started = self._clock.monotonic()
        if self._is_watched():
            await self._ask_postgres(list(self.sample.queues))
        took_s = self._clock.monotonic() - started
        return max(_ASK_POSTGRES, timedelta(seconds=took_s * _BUSY))

    async def _ask_postgres(self, names: Sequence[str]) -> None:
        """Whether it is there, and how many dead letters it has: the broker knows of those not shipped yet."""
        self._asked_postgres_at = self._clock.monotonic()
        shipping = self._queue.parts.shipping
        if shipping is None:
            return
        checks = await self._readiness.checks()
        self._postgres = "up" if checks.get("postgres") else "down"
        if self._postgres == "up":
            with suppress(RepositoryError):  # then the numbers known last
                counts = [await shipping.dead_letters.count(LetterFilter(queue=name)) for name in names]
                self._letters = dict(zip(names, counts, strict=True))

    def _is_watched(self) -> bool:
        return self._watching > 0 or self._clock.monotonic() - self._looked_at <= _LOOKED_AT_S

    def _tell_away(self, error: BrokerError | None) -> None:
        if error is not None and not self._told_away:
            _log.warning("live.broker_away", error=str(error))
        elif error is None and self._told_away:
            _log.info("live.broker_back")
        self._told_away = error is not None


async def _all(looks: Iterable[Coroutine[Any, Any, _Found]]) -> list[_Found]:
    """All of them; the first error ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(look) for look in looks]
    except* BrokerError as errors:
        first = errors.exceptions[0]
        raise first if isinstance(first, BrokerError) else BrokerUnavailable(str(first)) from None
    return [task.result() for task in tasks]


def _slots(workers: Sequence[WorkerInfo]) -> int | None:
    """Of each worker once; None where one does not tell."""
    slots: dict[str, int | None] = {each.name: each.slots for each in workers}
    known = [each for each in slots.values() if each is not None]
    return sum(known) if len(known) == len(slots) else None


def _overview(sample: Sample, patterns: Sequence[str]) -> view.Overview:
    queues = [each for name, each in sorted(sample.queues.items()) if covers(patterns, name)]
    workers = [each for each in sample.workers if covers(patterns, each.queue)]
    ages = [each.oldest_ready_ms for each in queues if each.oldest_ready_ms is not None]
    return view.Overview(
        at=from_ms(sample.number),
        queues=queues,
        left_out=sum(covers(patterns, name) for name in sample.left_out),
        ready=sum(each.ready for each in queues),
        running=sum(each.running for each in queues),
        delayed=sum(each.delayed for each in queues),
        dead=sum(each.dead for each in queues),
        oldest_ready_ms=max(ages, default=None),
        workers=len({each.name for each in workers}),
        slots=_slots(workers),
        rates=view.Rates(
            enqueued=round(sum(each.rates.enqueued for each in queues), 2),
            completed=round(sum(each.rates.completed for each in queues), 2),
            failed=round(sum(each.rates.failed for each in queues), 2),
        ),
        postgres=sample.postgres,
    )
