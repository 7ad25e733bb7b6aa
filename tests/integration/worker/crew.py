"""Workers beside each other, told apart, and what each of them has taken and not begun."""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from jobqueue.broker.base import Delivery
from jobqueue.context import JobContext
from jobqueue.job import Job
from jobqueue.registry import Registry
from jobqueue.worker import incarnation
from jobqueue.worker.incarnation import Incarnation
from tests.integration.worker.scene import Scene, Started, seconds

LONG_LEASE = seconds(60)
WITHIN_S = 30.0


def job(n: int, **options: Any) -> Job:
    return Job("t", {"n": n}, **options)


def inside(started: Started) -> Incarnation:
    its = started.worker._pool._incarnation
    assert its is not None
    return its


def waiting(started: Started) -> int:
    """How many jobs *started* has taken and not begun."""
    return len(inside(started)._buffer.waiting)


@dataclass
class Crew:
    """Workers told apart by name, and what they did with each job. Handlers end when they are let go."""

    scene: Scene
    began: dict[str, list[int]] = field(default_factory=dict)
    ended: Counter[int] = field(default_factory=Counter)
    attempts: set[int] = field(default_factory=set)
    long: Callable[[str, int], bool] = lambda _who, _n: False
    short_s: float = 0
    members: dict[str, Started] = field(default_factory=dict)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def gate(self, _n: int) -> asyncio.Event:
        return self.go_on

    def registry(self, who: str) -> Registry:
        registry = Registry()
        self.began[who] = []

        @registry.task("t")
        async def handler(ctx: JobContext, n: int) -> None:
            self.began[who].append(n)
            self.attempts.add(ctx.attempt)
            if self.long(who, n):
                await self.gate(n).wait()
            else:
                await asyncio.sleep(self.short_s)
            self.ended[n] += 1

        return registry

    @asynccontextmanager
    async def working(self, who: str, **options: Any) -> AsyncIterator[Started]:
        async with self.scene.working(registry=self.registry(who), **options) as started:
            self.members[who] = started
            yield started

    def is_quiet(self, *, ended: int, running: int) -> bool:
        """Whether so many have ended, so many run, and none waits for a slot in any worker."""
        at_work = self.members.values()
        assert (len(self.ended), sum(each.worker.running for each in at_work)) == (ended, running)
        return not any(waiting(each) for each in at_work)

    def each_ran_once(self, many: int) -> None:
        began = Counter(n for ns in self.began.values() for n in ns)
        assert began == self.ended == Counter(range(many))
        assert self.attempts == {1}


class Ticks:
    """What each worker still holds after each tick of its watch, by queue."""

    def __init__(self) -> None:
        self._held: dict[Incarnation, list[Counter[str]]] = defaultdict(list)

    def forget(self, started: Started) -> None:
        self._held[inside(started)].clear()

    def seen(self, worker: Incarnation) -> None:
        self._held[worker].append(Counter(each.queue for each in worker._buffer.waiting))

    def until_empty(self, started: Started, queue: str = "default") -> float:
        """How many ticks it took until nothing of *queue* was held; inf where it has not come to that."""
        held = [each[queue] for each in self._held[inside(started)]]
        return held.index(0) + 1 if 0 in held else math.inf


@dataclass
class Fetches:
    """What a worker asks for, and how many handlers had begun when it could start each job: *began* tells.

    What a fetch has brought is still on its way while the worker asks whether the queue has been paused: until it has
    been told, it goes on with what it has.
    """

    started: Started
    began: Callable[[], int]
    on_its_way: int = 0
    had_at: dict[str, int] = field(default_factory=dict)
    # With each fetch: what was at hand with it, and how many jobs beside those in slots may be, at the worker's rate.
    asked: list[tuple[int, float]] = field(default_factory=list)

    def watch(self) -> None:
        worker = inside(self.started)
        fetch, admit = worker.consumer.fetch, worker._admit

        async def watched_fetch(want: int, **options: Any) -> Sequence[Delivery]:
            self.on_its_way = want
            self.asked.append((self.at_hand(), worker._rate * incarnation._READ_AHEAD_S))
            taken = await fetch(want, **options)
            self.on_its_way = min(want, len(taken))  # of one priority: what is taken beyond it is given back
            return taken

        def watched_admit(deliveries: Sequence[Delivery], ahead: int) -> None:
            self.on_its_way = 0
            self.had_at.update((each.job_id, self.began()) for each in deliveries)
            admit(deliveries, ahead)

        worker.consumer.fetch = watched_fetch  # type: ignore[method-assign,assignment]
        worker._admit = watched_admit  # type: ignore[method-assign]

    def at_hand(self) -> int:
        """What may begin before a job that is enqueued now: what has a slot, what waits, and what is on its way."""
        return self.started.worker.running + waiting(self.started) + self.on_its_way
