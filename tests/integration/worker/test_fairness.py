"""Fairness is not paid for speed: what is read ahead keeps no job from a worker that could start it.

The scenes are forced by what handlers see: a handler that finds jobs waiting behind it in its worker's buffer
becomes a long one. Time is counted in ticks of the watch, and order in events; no test measures seconds.
"""

import asyncio
import random
from functools import partial
from typing import Any

import pytest

from jobqueue.app import JobQueue
from jobqueue.context import JobContext
from jobqueue.job import PRIORITIES
from jobqueue.registry import Registry
from jobqueue.worker import incarnation
from jobqueue.worker.incarnation import Incarnation
from jobqueue.worker.lease import LeaseKeeper
from tests.integration.worker.crew import LONG_LEASE, WITHIN_S, Crew, Fetches, Ticks, inside, job, waiting
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually

# Held at the first tick, seen again at the second, given back at the third.
TICKS = 3


@pytest.fixture
def crew(scene: Scene) -> Crew:
    return Crew(scene)


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    ticks = Ticks()
    release_stuck = Incarnation._release_stuck

    def tick(self: Incarnation, *args: Any) -> None:
        release_stuck(self, *args)
        ticks.seen(self)

    monkeypatch.setattr(Incarnation, "_release_stuck", tick)
    return ticks


async def test_a_worker_full_of_long_jobs_takes_nothing_that_comes_while_another_is_idle(
    crew: Crew, scene: Scene
) -> None:
    crew.long = lambda who, _n: who == "busy"
    queue = scene.queue()
    async with crew.working("busy", concurrency=4) as busy:
        await queue.enqueue_many([job(n) for n in range(4)])
        await eventually(lambda: busy.worker.running == 4)
        async with crew.working("idle", concurrency=1) as idle:
            await idle.joined()
            for begin in range(4, 404, 100):
                await queue.enqueue_many([job(n, priority=PRIORITIES[n % 4]) for n in range(begin, begin + 100)])

            await eventually(lambda: len(crew.began["idle"]) == 400, within_s=WITHIN_S)
            assert busy.outcomes() == []  # not even taken and given back
            crew.go_on.set()
            await scene.ended(queue, 404)

    crew.each_ran_once(404)


@pytest.mark.parametrize("slots", [1, 20])
async def test_what_was_read_ahead_of_short_jobs_is_given_back_when_they_turn_out_long(
    crew: Crew, scene: Scene, ticks: Ticks, slots: int
) -> None:
    full = asyncio.Event()

    def turns_long(who: str, _n: int) -> bool:
        if who == "busy" and not full.is_set() and waiting(busy) >= 4:
            ticks.forget(busy)
            full.set()
        return who == "busy" and full.is_set()

    crew.long = turns_long
    queue = scene.queue(lease=LONG_LEASE)
    await queue.enqueue_many([job(n) for n in range(4_000)])
    async with crew.working("busy", concurrency=slots, lease=LONG_LEASE) as busy:
        await asyncio.wait_for(full.wait(), WITHIN_S)
        async with crew.working("idle", concurrency=2, lease=LONG_LEASE):
            await eventually(lambda: busy.worker.running == slots)
            await eventually(lambda: ticks.until_empty(busy) <= TICKS)

            # All but the long ones, what was given back included, while the busy one is busy still.
            await eventually(lambda: len(crew.ended) == 4_000 - slots, within_s=WITHIN_S)
            assert busy.outcomes().count("Released") >= 4
            crew.go_on.set()
            await scene.ended(queue, 4_000)

    crew.each_ran_once(4_000)


async def test_what_others_overtake_again_and_again_is_given_back(
    crew: Crew, scene: Scene, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of two queues held what it had read ahead of the second for as long as the first had jobs:
    every slot that fell free was filled, so it did not look stuck; and a worker of the second queue was idle.
    """
    # Ten times as long as usual, of jobs ten times as long: the next fetch is there before its turn comes.
    monkeypatch.setattr(incarnation, "_READ_AHEAD_S", 0.08)
    overtaken = asyncio.Event()

    def overtake(who: str, n: int) -> bool:
        if who == "both" and not overtaken.is_set() and waiting(both) >= 10:
            inside(both)._paused = frozenset()  # as the next beat will tell, too
            ticks.forget(both)
            overtaken.set()
        return False

    crew.long, crew.short_s = overtake, 0.002
    queue = scene.queue()
    # So many that it reads ahead at some time, though the machine stops again and again.
    await queue.enqueue_many([job(n, queue="second") for n in range(400)])
    await queue.enqueue_many([job(n, queue="first") for n in range(400, 2_400)])
    await queue.pause("first")
    async with crew.working("both", concurrency=1, queues=("first", "second"), lease=LONG_LEASE) as both:
        await asyncio.wait_for(overtaken.wait(), WITHIN_S)
        await queue.resume("first")
        async with crew.working("idle", concurrency=1, queues=("second",)):
            await eventually(lambda: set(range(400)) <= set(crew.ended), within_s=WITHIN_S)
            assert (await queue.stats("first")).depth > 0  # there was still enough to overtake with
            # The first ticks may come before anything has overtaken it; the first queue lasts for some eighty.
            await eventually(lambda: ticks.until_empty(both, "second") <= 10 * TICKS)
            await queue.purge("first")
            await scene.ended(queue, 2_000, name="first", within_s=WITHIN_S)

    assert set(crew.ended.values()) == crew.attempts == {1}


async def test_no_job_waits_while_a_slot_is_free_in_a_small_worker_beside_a_large_one(crew: Crew, scene: Scene) -> None:
    """Long jobs are let go round by round; in between, every short one ends and every long one runs."""
    rounds, longs, many = 6, 40, 400
    gates = [asyncio.Event() for _ in range(rounds)]
    rng = random.Random(4)
    numbers = list(range(rounds * many))
    long: set[int] = set()
    for begin in range(0, rounds * many, many):
        long |= set(rng.sample(range(begin, begin + many), longs))
    crew.long = lambda _who, n: n in long
    crew.gate = lambda n: gates[n // many]
    queue = scene.queue()
    async with crew.working("small", concurrency=1) as small, crew.working("large", concurrency=100) as large:
        await small.joined()
        await large.joined()
        for round_ in range(rounds):
            # Two rounds of long ones are 80 of 101 slots.
            if round_ >= 2:
                gates[round_ - 2].set()
            present = numbers[: (round_ + 1) * many]
            still = len([n for n in long if n in present and not crew.gate(n).is_set()])
            await queue.enqueue_many([job(n, priority=PRIORITIES[n % 4]) for n in present[-many:]])

            await eventually(partial(crew.is_quiet, ended=len(present) - still, running=still), within_s=WITHIN_S)
            assert (await queue.stats("default")).depth == 0
        for gate in gates:
            gate.set()
        await scene.ended(queue, rounds * many)

    assert min(len(began) for began in crew.began.values()) > rounds
    crew.each_ran_once(rounds * many)


@pytest.mark.parametrize("slots", [1, 10])
@pytest.mark.parametrize("by", ["priority", "queue"])
async def test_what_is_urgent_is_preceded_only_by_what_was_at_hand(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, by: str, slots: int
) -> None:
    """Before an urgent job may start what its worker had read ahead and what its fetch under way brings; and
    from when the worker may start it, only what has a slot already.

    All is counted in this one event loop: the bounds hold however late a turn of it comes. Two things that load
    brings about are forced or kept out. A worker whose last beat is old asks for pauses before it starts what a
    fetch has brought, and goes on with what it has; that was not counted. One that gets no processor for 100 ms
    would give back what waits, and others overtake that.
    """
    beat_is_old = False
    monkeypatch.setattr(LeaseKeeper, "is_old", lambda *_: beat_is_old)
    monkeypatch.setattr(incarnation, "_WATCH_S", 60.0)
    order: list[str] = []
    registry = Registry()

    @registry.task("t")
    async def handler(ctx: JobContext, n: int) -> None:
        order.append(ctx.job_id)
        await asyncio.sleep(0)

    names, low, high = {
        "priority": (("default",), {"priority": "low"}, {"priority": "critical"}),
        "queue": (("first", "second"), {"queue": "second"}, {"queue": "first"}),
    }[by]
    queue = scene.queue()
    await queue.enqueue_many([job(n, **low) for n in range(2_000)])
    urgent: list[str] = []
    # By urgent job, when it became visible: how many had begun, and how many more were at hand.
    visible: dict[str, tuple[int, int]] = {}
    async with scene.working(registry=registry, queues=names, concurrency=slots, lease=LONG_LEASE) as started:
        await started.joined()
        fetches = Fetches(started, lambda: len(order))
        fetches.watch()
        await eventually(lambda: len(order) > 100, poll_s=0.001)
        for turn, size in enumerate([1, 3, 30, 1, 120, 8] * 12):
            beat_is_old = turn % 12 < 6
            sent = [job(n, **high) for n in range(size)]
            await queue.enqueue_many(sent)
            urgent += [each.id for each in sent]
            visible.update((each.id, (len(order), fetches.at_hand())) for each in sent)
        lows_left = 2_000 - len(set(order) - visible.keys())
        for name in names:
            await eventually(partial(_is_empty, queue, name), within_s=WITHIN_S)

    place = {job_id: at for at, job_id in enumerate(order)}

    def lows_before(job_id: str, begin: int) -> int:
        return len(set(order[begin : place[job_id]]) - visible.keys())

    assert [each for each in urgent if lows_before(each, visible[each][0]) > visible[each][1]] == []
    assert [each for each in urgent if lows_before(each, fetches.had_at[each]) > slots] == []
    assert [each for each in fetches.asked if each[0] > slots + each[1]] == []
    assert [each for each in order if each in visible] == urgent
    assert (len(order), len(place)) == (2_000 + len(urgent), 2_000 + len(urgent))
    assert max(at_hand for _, at_hand in visible.values()) > 2 * slots
    assert lows_left > 0


async def _is_empty(queue: JobQueue, name: str) -> bool:
    return (await queue.stats(name)).live == 0
