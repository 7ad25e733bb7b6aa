import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from jobqueue.broker.base import Beat
from jobqueue.clock import SystemClock
from jobqueue.errors import BrokerUnavailable
from jobqueue.worker.lease import LeaseKeeper
from testutil.eventually import eventually

LEASE_S = 0.3
PAUSE_S = LEASE_S / 7.5


class FakeHeartbeat:
    """Answers with what *answer* returns or raises. Called from the keeper's thread."""

    def __init__(self) -> None:
        self.answer: Callable[[], list[Beat]] = lambda: [Beat(queue="q", alive=True)]
        self.beats = 0
        self.progress: list[Mapping[str, Any]] = []
        self.closed = threading.Event()

    def beat(self, progress: Mapping[str, Mapping[str, bytes]]) -> list[Beat]:
        self.beats += 1
        self.progress.append(progress)
        return self.answer()

    def close(self) -> None:
        self.closed.set()


class Bench:
    def __init__(self) -> None:
        self.heartbeat = FakeHeartbeat()
        self.heard: list[list[Beat]] = []
        self.lost: list[str] = []
        self.awake = True
        self.turns_asleep = 0
        self.keeper: LeaseKeeper | None = None

    def is_awake(self) -> bool:
        self.turns_asleep += not self.awake
        return self.awake

    def start(self, *, lease_s: float = LEASE_S, max_block_s: float = 60.0) -> LeaseKeeper:
        self.keeper = LeaseKeeper(
            self.heartbeat,
            lease_s=lease_s,
            max_block_s=max_block_s,
            clock=SystemClock(),
            awake=self.is_awake,
            progress=lambda: {"q": {"id": b"1"}},
            heard=self.heard.append,
            lost=self.lost.append,
        )
        self.keeper.start()
        return self.keeper


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    if bench.keeper is not None:
        await bench.keeper.stop()


def block_until(true: Callable[[], bool]) -> None:
    """Hold the event loop up until something is true in a thread."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def unavailable() -> list[Beat]:
    raise BrokerUnavailable("away")


async def test_it_beats_at_once_and_goes_on(bench: Bench) -> None:
    bench.start()

    await eventually(lambda: len(bench.heard) >= 3)
    assert bench.heartbeat.progress[0] == {"q": {"id": b"1"}}
    assert bench.lost == []


async def test_a_fenced_worker_hears_it_once_and_beats_no_more(bench: Bench) -> None:
    bench.heartbeat.answer = lambda: [Beat(queue="q", alive=True), Beat(queue="r", alive=False)]
    bench.start()

    await eventually(lambda: bench.lost == ["the reaper took it"])
    assert bench.keeper is not None
    await eventually(lambda: not bench.keeper._thread.is_alive())  # type: ignore[union-attr]
    assert bench.heartbeat.beats == 1
    assert bench.heard == []


async def test_beats_that_fail_for_less_than_a_lease_lose_nothing(bench: Bench) -> None:
    failures = iter(range(2))

    def answer() -> list[Beat]:
        return unavailable() if next(failures, None) is not None else [Beat(queue="q", alive=True)]

    bench.heartbeat.answer = answer
    bench.start(lease_s=5 * LEASE_S)

    await eventually(lambda: bench.heard)
    assert bench.lost == []


async def test_a_lease_that_nobody_confirms_is_lost_before_the_broker_gives_it_away(bench: Bench) -> None:
    began = time.monotonic()
    bench.heartbeat.answer = unavailable
    bench.start()

    await eventually(lambda: bench.lost == ["the broker did not confirm it in time"])
    assert time.monotonic() - began > LEASE_S * 0.8


async def test_an_error_that_nobody_foresaw_counts_as_a_failed_beat(bench: Bench) -> None:
    """The thread ended, and the lease with it, while the worker went on."""
    errors = iter([RuntimeError("unforeseen")])

    def answer() -> list[Beat]:
        for error in errors:
            raise error
        return [Beat(queue="q", alive=True)]

    bench.heartbeat.answer = answer
    bench.start()

    await eventually(lambda: bench.heard)


async def test_a_beat_that_hangs_does_not_hide_that_its_time_is_over(bench: Bench) -> None:
    hung = threading.Event()
    answers = iter([unavailable])

    def answer() -> list[Beat]:
        for each in answers:
            return each()
        hung.set()
        bench.heartbeat.closed.wait(30)
        return unavailable()

    bench.heartbeat.answer = answer
    keeper = bench.start()

    await eventually(lambda: hung.is_set())
    await eventually(lambda: keeper.overdue(time.monotonic()))


async def test_a_process_that_was_stopped_asks_before_it_gives_up(bench: Bench) -> None:
    keeper = bench.start()
    await eventually(lambda: bench.heard)

    assert not keeper.overdue(time.monotonic() + 100 * LEASE_S)


async def test_a_blocked_event_loop_keeps_its_lease(bench: Bench) -> None:
    bench.start()
    await eventually(lambda: bench.heard)
    before = bench.heartbeat.beats

    block_until(lambda: bench.heartbeat.beats > before + LEASE_S / PAUSE_S)

    await asyncio.sleep(0)
    assert bench.lost == []


async def test_a_loop_that_is_blocked_for_too_long_loses_its_lease(bench: Bench) -> None:
    keeper = bench.start(max_block_s=LEASE_S / 2)
    await eventually(lambda: bench.heard)

    block_until(lambda: keeper.gone)

    await eventually(lambda: bench.lost == ["the event loop was blocked for too long"])


async def test_a_broker_that_is_away_is_not_taken_for_a_blocked_loop(bench: Bench) -> None:
    """The loop was believed to turn only when a beat was answered."""
    loop = asyncio.get_running_loop()

    def answer() -> list[Beat]:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(30)  # it turns, however busy the machine is
        return unavailable()

    bench.heartbeat.answer = answer
    bench.start(max_block_s=LEASE_S / 3)

    await eventually(lambda: bench.lost)
    assert bench.lost == ["the broker did not confirm it in time"]


async def test_stopping_cuts_short_a_beat_that_hangs(bench: Bench) -> None:
    def answer() -> list[Beat]:
        bench.heartbeat.closed.wait(30)
        return unavailable()

    bench.heartbeat.answer = answer
    keeper = bench.start()
    await eventually(lambda: bench.heartbeat.beats)

    await asyncio.wait_for(keeper.stop(), 30)

    assert not keeper._thread.is_alive()
    assert bench.lost == []


async def test_while_nothing_runs_it_beats_in_every_second_turn(bench: Bench) -> None:
    bench.awake = False
    bench.start()
    await eventually(lambda: bench.turns_asleep >= 3)

    bench.awake = True
    beats = bench.heartbeat.beats
    await eventually(lambda: bench.heartbeat.beats > beats)
    turns = bench.turns_asleep
    await eventually(lambda: bench.heartbeat.beats > beats + 4)
    assert bench.turns_asleep == turns


async def test_what_was_heard_grows_old_while_it_sleeps(bench: Bench) -> None:
    bench.awake = False
    keeper = bench.start()
    await eventually(lambda: bench.heard)

    await eventually(lambda: not keeper.is_old(), poll_s=PAUSE_S / 10)
    await eventually(keeper.is_old, poll_s=PAUSE_S / 10)
