import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, cast

import pytest

from jobqueue.broker.base import Consumer, Settlement
from jobqueue.errors import BrokerUnavailable, LeaseLost
from jobqueue.worker import settler as settler_module
from jobqueue.worker.settler import Settler
from tests.unit.worker.scene import numbers, settlement
from testutil.eventually import eventually


class FakeConsumer:
    """Answers when told; *errors* are raised first, in order."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.errors: list[Exception] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        self.sent.append(numbers(settlements))
        await self.answering.wait()
        if self.errors:
            raise self.errors.pop(0)


class Bench:
    def __init__(self) -> None:
        self.consumer = FakeConsumer()
        self.confirmed: list[int] = []
        self.settler = Settler(cast(Consumer, self.consumer), lambda batch: self.confirmed.extend(numbers(batch)))
        self.loop: asyncio.Task[Any] = asyncio.create_task(self.settler.run())

    def add(self, *ns: int) -> None:
        for n in ns:
            self.settler.add(settlement(n))


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(settler_module, "_FIRST_PAUSE_S", 0.001)
    bench = Bench()
    yield bench
    bench.loop.cancel()
    with suppress(asyncio.CancelledError, LeaseLost):
        await bench.loop


async def test_nothing_is_sent_before_it_is_wanted(bench: Bench) -> None:
    bench.add(1, 2)
    for _ in range(10):
        await asyncio.sleep(0)

    assert bench.consumer.sent == []
    assert bench.settler.unsettled == 2


async def test_what_waits_goes_out_in_one_batch(bench: Bench) -> None:
    bench.add(1, 2, 3)
    bench.settler.flush()
    await bench.settler.drained()

    assert bench.consumer.sent == [[1, 2, 3]]
    assert bench.confirmed == [1, 2, 3]


async def test_a_full_batch_goes_out_by_itself(bench: Bench) -> None:
    bench.add(*range(settler_module._FULL))

    await eventually(lambda: len(bench.confirmed) == settler_module._FULL)


async def test_what_comes_while_a_batch_is_under_way_goes_out_together_after_it(bench: Bench) -> None:
    bench.consumer.answering.clear()
    bench.add(1)
    bench.settler.flush()
    await eventually(lambda: bench.consumer.sent)
    for n in (2, 3):
        bench.add(n)
        bench.settler.flush()
    bench.consumer.answering.set()
    await bench.settler.drained()

    assert bench.consumer.sent == [[1], [2, 3]]


async def test_a_batch_is_repeated_until_it_is_confirmed(bench: Bench) -> None:
    bench.consumer.errors = [BrokerUnavailable("away"), BrokerUnavailable("away")]
    bench.add(1, 2)
    await bench.settler.drained()

    assert bench.consumer.sent == [[1, 2]] * 3
    assert bench.confirmed == [1, 2]


async def test_a_fenced_settler_ends_and_confirms_nothing(bench: Bench) -> None:
    bench.consumer.errors = [LeaseLost("reaped")]
    bench.add(1)
    bench.settler.flush()

    with pytest.raises(LeaseLost):
        await bench.loop
    assert bench.confirmed == []


async def test_drained_waits_for_the_batch_under_way(bench: Bench) -> None:
    bench.consumer.answering.clear()
    bench.add(1)
    bench.settler.flush()
    await eventually(lambda: bench.consumer.sent)
    drained = asyncio.create_task(bench.settler.drained())
    for _ in range(10):
        await asyncio.sleep(0)

    assert not drained.done()

    bench.consumer.answering.set()
    await drained
    assert bench.confirmed == [1]
