import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from jobqueue.loop import Heartbeat, run_every
from jobqueue.testing.clock import ManualClock

Step = Callable[[], Awaitable[timedelta | None]]
SECOND = timedelta(seconds=1)


class Enough(BaseException):
    """Ends a loop under test from outside of it, as a cancellation would."""


class Naps:
    """Stands in for `asyncio.sleep`: the manual clock moves instead, and after *limit* naps the loop is ended."""

    def __init__(self, clock: ManualClock, limit: int) -> None:
        self.clock = clock
        self.limit = limit
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if len(self.taken) >= self.limit:
            raise Enough
        self.clock.advance(timedelta(seconds=seconds))


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.clock = ManualClock()

    async def naps(self, step: Step, *, limit: int, period: timedelta = SECOND, jitter: float = 0.0) -> list[float]:
        naps = Naps(self.clock, limit)
        self.heartbeat = Heartbeat(name="test", period=period, last_tick=self.clock.monotonic())
        with self.monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", naps)
            with pytest.raises(Enough):
                await run_every(self.heartbeat, step, clock=self.clock, jitter=jitter)
        return naps.taken


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


async def content() -> None:
    return None


async def broken() -> None:
    raise RuntimeError("no luck")


async def test_a_loop_waits_its_period_between_steps(bench: Bench) -> None:
    assert await bench.naps(content, limit=3, period=timedelta(seconds=7)) == [7, 7, 7]
    assert bench.heartbeat.failures == 0


async def test_a_step_may_say_how_long_to_wait(bench: Bench) -> None:
    pauses = iter([timedelta(minutes=5), None, timedelta(0)])

    async def step() -> timedelta | None:
        return next(pauses)

    assert await bench.naps(step, limit=3) == [300, 1, 0]


async def test_f83_an_exception_is_counted_and_logged_and_the_loop_goes_on(bench: Bench) -> None:
    """An exception in a background loop is counted and logged, and the loop goes on."""
    calls = itertools.count()

    async def step() -> None:
        if next(calls) == 1:
            raise RuntimeError("no luck")

    with capture_logs() as logs:
        taken = await bench.naps(step, limit=4)

    assert len(taken) == 4
    assert bench.heartbeat.failures == 1
    assert logs == [
        {
            "event": "loop.failed",
            "loop": "test",
            "failures": 1,
            "error": "RuntimeError('no luck')",
            "log_level": "warning",
        }
    ]


async def test_f83_a_failing_step_is_tried_again_with_a_growing_pause(bench: Bench) -> None:
    """A failing step is tried again with a growing pause."""
    assert await bench.naps(broken, limit=8) == [1, 2, 4, 8, 16, 30, 30, 30]
    assert bench.heartbeat.failures == 8


async def test_a_long_period_is_not_shortened_by_the_backoff(bench: Bench) -> None:
    assert await bench.naps(broken, limit=3, period=timedelta(minutes=5)) == [300, 300, 300]


async def test_a_success_ends_the_backoff(bench: Bench) -> None:
    calls = itertools.count()

    async def step() -> None:
        if next(calls) in (0, 1, 3):
            raise RuntimeError("no luck")

    assert await bench.naps(step, limit=5) == [1, 2, 1, 1, 1]


async def test_f83_a_loop_outlives_two_thousand_failures(bench: Bench) -> None:
    """A loop outlives two thousand failures in a row; after 1 025, 2 ** 1024 overflowed once and ended it for good."""
    taken = await bench.naps(broken, limit=2000)

    assert len(taken) == 2000
    assert taken[-1] == 30


async def test_a_failing_loop_without_a_period_does_not_spin(bench: Bench) -> None:
    taken = await bench.naps(broken, limit=3, period=timedelta(0))

    assert taken == pytest.approx([0.1, 0.2, 0.4])


async def test_f83_an_error_that_cannot_be_shown_does_not_end_the_loop(bench: Bench) -> None:
    """An error whose own text cannot be made does not end the loop."""

    class Shy(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no repr either")

    async def step() -> None:
        raise Shy

    assert len(await bench.naps(step, limit=3)) == 3
    assert bench.heartbeat.failures == 3


async def test_jitter_spreads_the_pause_either_way(bench: Bench) -> None:
    taken = await bench.naps(content, limit=200, period=timedelta(seconds=10), jitter=0.2)

    assert all(8 <= nap <= 12 for nap in taken)
    assert min(taken) < 10 < max(taken)


async def test_a_loop_ends_by_cancellation_while_it_waits() -> None:
    heartbeat = Heartbeat(name="test", period=timedelta(hours=1), last_tick=0.0)
    task = asyncio.create_task(run_every(heartbeat, content, clock=ManualClock()))
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert heartbeat.failures == 0


async def test_a_loop_ends_by_cancellation_within_its_step() -> None:
    started = asyncio.Event()

    async def step() -> None:
        started.set()
        await asyncio.Event().wait()

    heartbeat = Heartbeat(name="test", period=SECOND, last_tick=0.0)
    task = asyncio.create_task(run_every(heartbeat, step, clock=ManualClock()))
    await started.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert heartbeat.failures == 0


async def test_a_heartbeat_notes_when_its_step_ended(bench: Bench) -> None:
    async def step() -> None:
        bench.clock.advance(timedelta(seconds=40))

    await bench.naps(step, limit=1)

    assert bench.heartbeat.last_tick == 40


@pytest.mark.parametrize(
    ("period", "silent_for", "healthy"),
    [
        (timedelta(seconds=10), 0, True),
        (timedelta(seconds=10), 30, True),
        (timedelta(seconds=10), 30.1, False),
        (timedelta(milliseconds=50), 3, True),  # a short period gets three seconds: the event loop may be busy
        (timedelta(milliseconds=50), 3.1, False),
    ],
)
def test_f83_a_loop_is_healthy_for_three_periods(period: timedelta, silent_for: float, healthy: bool) -> None:
    """A loop that has not ticked for three periods is unhealthy."""
    heartbeat = Heartbeat(name="test", period=period, last_tick=100.0)

    assert heartbeat.healthy(100.0 + silent_for) is healthy


async def test_a_loop_that_rests_as_long_as_its_step_asked_is_healthy(bench: Bench) -> None:
    """A step that asked for five minutes made the health probe fail after three seconds."""

    async def step() -> timedelta:
        return timedelta(minutes=5)

    await bench.naps(step, limit=1)

    assert bench.heartbeat.healthy(301.9)
    assert not bench.heartbeat.healthy(302.1)


async def test_a_loop_that_backs_off_is_alive_and_its_failures_are_told(bench: Bench) -> None:
    await bench.naps(broken, limit=7)

    assert bench.heartbeat.failures == 7
    assert bench.heartbeat.healthy(bench.heartbeat.last_tick + 30)
    assert not bench.heartbeat.healthy(bench.heartbeat.last_tick + 33)
