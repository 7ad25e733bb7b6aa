"""A thousand queues are asked in one exchange of each kind: what a look costs does not grow with every queue."""

from typing import Any

import pytest

from jobqueue.app import JobQueue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.job import Job, new_id
from jobqueue.repository.base import LetterFilter
from tests.integration.search.scene import DEAD, ended

FEW, MANY = 10, 400


@pytest.fixture(params=["redis", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Exchanges:
    """Counts what an operator's line sends."""

    def __init__(self, queue: JobQueue, patch: pytest.MonkeyPatch) -> None:
        broker = queue.parts.broker
        assert isinstance(broker, RedisStreamsBroker)
        line = broker._operating
        exchange = line.exchange
        self.count = 0

        async def counted(*args: Any, **options: Any) -> list[Any]:
            self.count += 1
            return await exchange(*args, **options)

        patch.setattr(line, "exchange", counted)

    async def of_looks(self, queue: JobQueue) -> int:
        self.count = 0
        assert await queue.get(new_id()) is None
        await queue.dead_letters.list(LetterFilter(), limit=50)
        await queue.dead_letters.count(LetterFilter())
        await queue.dead_letters.groups(LetterFilter(), limit=5)
        return self.count


async def fill(queue: JobQueue, numbers: range) -> None:
    await queue.enqueue_many(Job("email.send", {"n": n}, queue=f"tenant.{n}") for n in numbers)


async def test_looking_costs_the_same_for_few_queues_and_for_many(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended(queue, Job("email.send", {"n": 1}, queue="mail"), DEAD)
    exchanges = Exchanges(queue, monkeypatch)
    await exchanges.of_looks(queue)  # which ships what waits

    await fill(queue, range(FEW))
    few = await exchanges.of_looks(queue)
    await fill(queue, range(FEW, MANY))

    assert await exchanges.of_looks(queue) == few


async def test_only_the_queues_of_the_filter_are_shipped(queue: JobQueue, kind: str) -> None:
    for name in ("mail", "bank"):
        await ended(queue, Job("email.send", {"n": 1}, queue=name), DEAD)

    assert await queue.dead_letters.count(LetterFilter(queue="mail")) == 1
    assert await queue.dead_letters.count(LetterFilter(queues=("mail", "nobody"))) == 1
    unshipped = (await queue.stats("bank")).dead

    assert (unshipped, (await queue.stats("mail")).dead) == ((1, 0) if kind == "postgres" else (1, 1))
    assert await queue.dead_letters.count(LetterFilter()) == 2
