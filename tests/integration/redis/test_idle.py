"""What nobody asks for while nothing happens, and who is woken when something does."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from jobqueue.broker import consumer, reader
from jobqueue.broker.base import Delivery
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.scheduler.ship import ship_queue
from tests.contract.scene import Q, enqueue, job
from tests.integration.redis.conftest import MakeBroker
from testutil.eventually import eventually

SOON = timedelta(seconds=2)


class Listener:
    """A promoter that waits; *heard* are the queues that it was woken for."""

    def __init__(self, broker: RedisStreamsBroker) -> None:
        self.heard: list[str] = []
        self._work = asyncio.create_task(broker.listen([Q, "other"], self.heard.append, wait=timedelta(seconds=60)))

    async def close(self) -> None:
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)


@pytest.fixture
async def listeners(make_broker: MakeBroker, raw: "redis.asyncio.Redis") -> AsyncIterator[list[Listener]]:
    made = [Listener(make_broker()) for _ in range(3)]

    async def blocked() -> bool:
        return (await raw.info("clients"))["blocked_clients"] == 3

    await eventually(blocked)
    yield made
    for each in made:
        await each.close()


def heard(listeners: list[Listener]) -> list[str]:
    return sorted(queue for each in listeners for queue in each.heard)


async def test_a_job_that_is_due_first_and_soon_wakes_one_promoter(
    broker: RedisStreamsBroker, listeners: list[Listener]
) -> None:
    await enqueue(broker, job(), delay=SOON * 4)

    await eventually(lambda: heard(listeners) == [Q])
    await enqueue(broker, job(), delay=SOON * 4.5)
    await enqueue(broker, job(), delay=SOON)
    await eventually(lambda: heard(listeners) == [Q, Q])


async def test_a_job_that_is_due_in_an_hour_wakes_nobody(broker: RedisStreamsBroker, listeners: list[Listener]) -> None:
    await enqueue(broker, job(), delay=timedelta(hours=1))
    await enqueue(broker, job())
    await enqueue(broker, job(), delay=SOON)

    await eventually(lambda: heard(listeners) == [Q])


async def test_a_bell_that_nobody_heard_rings_once_for_who_comes_later(
    broker: RedisStreamsBroker, make_broker: MakeBroker, raw: "redis.asyncio.Redis"
) -> None:
    for n in range(5, 0, -1):
        await enqueue(broker, job(), delay=SOON * n / 5)
    bell = broker.keys(Q).bell
    assert await raw.llen(bell) == 1
    listener = Listener(make_broker())

    await eventually(lambda: listener.heard == [Q])
    assert not await raw.exists(bell)
    await listener.close()


async def test_two_who_share_a_broker_listen_beside_each_other(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis"
) -> None:
    """A worker and a scheduler in one program: the second stood in line behind the first, and gave up each 5 s."""
    pair = [Listener(broker), Listener(broker)]

    async def blocked() -> bool:
        return (await raw.info("clients"))["blocked_clients"] == 2

    await eventually(blocked)
    for each in pair:
        await each.close()

    again = Listener(broker)
    await enqueue(broker, job(), delay=SOON)
    await eventually(lambda: again.heard == [Q])
    await again.close()


async def test_a_bell_of_a_wrong_type_keeps_no_job_out(broker: RedisStreamsBroker, raw: "redis.asyncio.Redis") -> None:
    await raw.set(broker.keys(Q).bell, "no list")

    await enqueue(broker, job(), delay=SOON)

    assert (await broker.stats(Q)).delayed == 1


async def test_a_worker_that_found_nothing_sleeps_on_without_another_look(
    broker: RedisStreamsBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look = reader.Reader._read_in_order

    async def counted(self: reader.Reader, *args: Any) -> list[Delivery]:
        nonlocal looks
        looks += 1
        return await look(self, *args)

    monkeypatch.setattr(reader.Reader, "_read_in_order", counted)
    monkeypatch.setattr(consumer, "_QUIET_S", 60.0)
    worker = await broker.join([Q])
    for _ in range(5):
        assert await worker.fetch(5) == []
    assert looks == 1

    worker._quiet_until = 0.0  # type: ignore[attr-defined] # for longer nothing cannot come unseen
    ranks = ["low", "critical", "low", "critical"]
    for rank in ranks:
        await enqueue(broker, job(priority=rank))
    assert [each.rank for each in await worker.fetch(3)] == [0, 0, 3]
    await worker.leave()
    await worker.close()


async def test_a_shipper_with_nothing_to_ship_leaves_postgres_alone(broker: RedisStreamsBroker) -> None:
    worker = await broker.join([Q])

    class NoArchive:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} of an archive that is not needed")

    archive: Any = NoArchive()
    assert await ship_queue(broker.journal, archive, Q) == 0
    await worker.leave()
    await worker.close()
