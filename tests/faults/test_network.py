"""The network between a worker and Redis: cut, cut one way, and slow (F57 to F59)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from jobqueue.context import JobContext
from tests.integration.worker.scene import LEASE, Scene, Started, seconds
from testutil.eventually import eventually
from testutil.proxy import FaultProxy

THREE_LEASES_S = 3 * LEASE.total_seconds()
SLOW = 125_000
"""Bytes per second: 1 Mbit/s."""


@dataclass
class Runs:
    """What the attempts of one job did, in order."""

    events: list[str] = field(default_factory=list)
    deaf: bool = False
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def handler(self, ctx: JobContext) -> None:
        self.events.append(f"start {ctx.attempt}")
        if ctx.attempt == 1:
            await self._wait_to_be_stopped()
        self.events.append(f"end {ctx.attempt}")

    async def _wait_to_be_stopped(self) -> None:
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.events.append("stopped 1")
            if not self.deaf:
                raise
            while not self.go_on.is_set():
                with suppress(asyncio.CancelledError):
                    await self.go_on.wait()


@dataclass
class CutOff:
    """A job that runs on a worker behind a proxy; the others reach Redis directly."""

    scene: Scene
    proxy: FaultProxy
    worker: Started
    runs: Runs


@pytest.fixture
async def cut_off(own_scene: Scene, own_proxy: FaultProxy) -> AsyncIterator[CutOff]:
    runs = Runs()
    task = own_scene.registry.task("t")(runs.handler)
    await own_scene.queue().enqueue(task.job())
    async with own_scene.working(url=own_proxy.url) as worker:
        await eventually(lambda: runs.events == ["start 1"])
        yield CutOff(own_scene, own_proxy, worker, runs)
        own_proxy.heal()
        runs.go_on.set()


@pytest.mark.parametrize("how", ["half open", "stalled", "refused"])
async def test_f57_a_worker_cut_off_for_three_leases_stops_before_its_job_is_given_away(
    cut_off: CutOff, how: str
) -> None:
    """A living worker cut off for three leases: it stops its job by itself before another starts it, and comes back."""
    queue = cut_off.scene.queue()
    match how:
        case "half open":
            cut_off.proxy.half_open()
        case "stalled":
            cut_off.proxy.stall()
        case "refused":
            cut_off.proxy.refuse()
            cut_off.proxy.reset()
    async with cut_off.scene.working():
        stats = await cut_off.scene.ended(queue, 1)
    await asyncio.sleep(THREE_LEASES_S)
    first = cut_off.worker.name
    cut_off.proxy.heal()
    await eventually(lambda: cut_off.worker.name != first)

    assert cut_off.runs.events == ["start 1", "stopped 1", "start 2", "end 2"]
    assert (stats.completed, cut_off.worker.outcomes()) == (1, [])
    assert cut_off.worker.worker.metrics.leases_lost >= 1


async def test_f57_an_outcome_from_behind_the_cut_is_void(cut_off: CutOff) -> None:
    """A handler that ignores its cancellation ends behind the cut: its outcome is refused, the other's run counts."""
    cut_off.runs.deaf = True
    queue = cut_off.scene.queue()
    cut_off.proxy.half_open()
    async with cut_off.scene.working():
        await cut_off.scene.ended(queue, 1)
        cut_off.proxy.heal()
        cut_off.runs.go_on.set()
        await eventually(lambda: "end 1" in cut_off.runs.events)
        stats = await cut_off.scene.ended(queue, 1)

    assert cut_off.runs.events == ["start 1", "stopped 1", "start 2", "end 2", "end 1"]
    assert (stats.completed, cut_off.worker.outcomes()) == (1, [])


async def test_f58_replies_lost_for_three_leases_cost_one_run_at_most(cut_off: CutOff) -> None:
    """Requests arrive and replies do not: the worker stops at its deadline though its beats arrived; one more run."""
    queue = cut_off.scene.queue()
    cut_off.proxy.mute("replies")
    async with cut_off.scene.working():
        stats = await cut_off.scene.ended(queue, 1)
        cut_off.proxy.heal()

    assert cut_off.runs.events == ["start 1", "stopped 1", "start 2", "end 2"]
    assert stats.completed == 1
    assert cut_off.worker.outcomes() == []


async def test_f59_large_results_on_a_slow_network_cost_no_lease(own_scene: Scene, own_proxy: FaultProxy) -> None:
    """Large payloads and results at 1 Mbit/s: beats have a connection of their own, and each job runs once."""
    lease = seconds(2)  # a reply with all jobs takes twice as long
    runs: list[int] = []

    @own_scene.registry.task("t", result_ttl=seconds(60))
    async def handler(n: int, blob: str) -> str:
        runs.append(n)
        return blob

    queue = own_scene.queue(lease=lease)
    await queue.enqueue_many([handler.job(n, "x" * 60_000) for n in range(8)])
    own_proxy.throttle(SLOW)
    async with own_scene.working(url=own_proxy.url, lease=lease, concurrency=8) as started:
        stats = await own_scene.ended(queue, 8, within_s=80)
        own_proxy.heal()

    assert stats.completed == 8
    assert sorted(runs) == list(range(8))
    assert started.worker.metrics.leases_lost == 0
