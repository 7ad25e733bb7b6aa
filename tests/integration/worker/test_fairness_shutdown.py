"""A worker that is told to end keeps nothing that another could start, while it waits for what it runs."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from jobqueue.broker.base import Delivery
from jobqueue.worker.incarnation import Incarnation
from tests.integration.worker.crew import LONG_LEASE, WITHIN_S, Crew, inside, job, waiting
from tests.integration.worker.scene import Scene, Started
from testutil.eventually import eventually


@pytest.fixture
def crew(scene: Scene) -> Crew:
    return Crew(scene)


@dataclass
class Stopped:
    """Where the worker stood when it was told to stop."""

    ended: int = 0
    waiting: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)


def stop_at(crew: Crew, started: Callable[[], Started], tell: Callable[[Started], None]) -> Stopped:
    """Tell the worker named "first" to stop when jobs wait in its buffer; what then runs is long."""
    stopped = Stopped()

    def long(who: str, _n: int) -> bool:
        if who == "first" and not stopped.told.is_set() and waiting(started()) >= 8:
            stopped.waiting = waiting(started())
            tell(started())
            stopped.told.set()
        return who == "first" and stopped.told.is_set()

    crew.long = long
    return stopped


@pytest.mark.parametrize("slots", [1, 20])
async def test_a_worker_told_to_stop_gives_back_at_once_what_it_has_read_ahead(
    crew: Crew, scene: Scene, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Incarnation, "_release_stuck", lambda *_: None)  # the watch would do it too, a little later
    queue = scene.queue(lease=LONG_LEASE)
    stopped = stop_at(crew, lambda: first, lambda started: started.worker.stop())
    await queue.enqueue_many([job(n) for n in range(3_000)])
    async with crew.working("first", concurrency=slots, lease=LONG_LEASE) as first:
        await asyncio.wait_for(stopped.told.wait(), WITHIN_S)

        async def given_back() -> bool:
            stats = await queue.stats("default")
            return (stats.running, stats.depth) == (first.worker.running, 3_000 - len(crew.began["first"]))

        await eventually(given_back, within_s=WITHIN_S)
        assert first.worker.running >= 1  # it goes on, and keeps nothing but what runs
        assert first.outcomes().count("Released") >= stopped.waiting
        async with crew.working("second", lease=LONG_LEASE):
            await eventually(lambda: len(crew.ended) == 3_000 - first.worker.running, within_s=WITHIN_S)
            crew.go_on.set()
            await scene.ended(queue, 3_000)

    crew.each_ran_once(3_000)


async def test_a_worker_told_to_stop_gives_back_at_once_what_a_fetch_under_way_brings(crew: Crew, scene: Scene) -> None:
    """The fetch is cut off; what it had taken was held until the last running job had ended."""
    queue = scene.queue(lease=LONG_LEASE)
    crew.long = lambda who, _n: who == "first"
    async with crew.working("first", concurrency=30, lease=LONG_LEASE) as first:
        await queue.enqueue_many([job(0)])
        await eventually(lambda: first.worker.running == 1)
        consumer = inside(first).consumer
        fetch = consumer.fetch

        async def cut_off(want: int, **options: Any) -> Sequence[Delivery]:
            taken = await fetch(want, **options)
            if taken:
                first.worker.stop()
                await asyncio.Event().wait()  # the reply does not come
            return taken

        consumer.fetch = cut_off  # type: ignore[method-assign,assignment]
        # The fetch that is under way brings one job; the next is cut off.
        await queue.enqueue_many([job(n) for n in range(1, 101)])

        async with crew.working("second", lease=LONG_LEASE):
            await eventually(lambda: len(crew.ended) == 101 - first.worker.running, within_s=WITHIN_S)
            assert first.worker.running >= 1
            crew.go_on.set()
            await scene.ended(queue, 101)

    crew.each_ran_once(101)


async def test_a_hurried_worker_gives_back_what_runs_and_what_it_has_read_ahead(crew: Crew, scene: Scene) -> None:
    queue = scene.queue(lease=LONG_LEASE)
    stopped = stop_at(crew, lambda: first, lambda started: started.worker.hurry())
    await queue.enqueue_many([job(n) for n in range(3_000)])
    async with crew.working("first", concurrency=20, lease=LONG_LEASE, shutdown_timeout=LONG_LEASE) as first:
        await asyncio.wait_for(stopped.told.wait(), WITHIN_S)
        await asyncio.wait_for(first.work, WITHIN_S)
        stats = await queue.stats("default")
        assert (stats.running, stats.depth, stats.workers) == (0, 3_000 - len(crew.ended), 0)
        assert first.outcomes().count("Released") >= stopped.waiting + 1

        async with crew.working("second", lease=LONG_LEASE):
            await scene.ended(queue, 3_000, within_s=WITHIN_S)

    assert crew.ended == Counter(range(3_000))
    assert crew.attempts == {1}
