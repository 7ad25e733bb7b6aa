"""Client calls cancelled at random moments: what the next caller reads is its own reply, and the cancelled end."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib.util import find_spec

import pytest
import redis.asyncio

from jobqueue.app import JobQueue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.job import Job, JobState
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually

CANCELLATIONS = 10_000
MOST_CALLS = 40_000
AT_ONCE = 16
SPARED = 0.2
LATEST_S = 0.002
HELD = {"three": 3, "five": 5}


class Callers:
    """Calls whose replies tell for whom they are. `crossed` are those that got another's."""

    def __init__(self, queue: JobQueue, rng: random.Random) -> None:
        broker = queue.parts.broker
        assert isinstance(broker, RedisStreamsBroker)
        self._queue, self._broker, self._rng = queue, broker, rng
        self.waiting: list[str] = []
        self.count: Counter[str] = Counter()
        self.crossed: list[object] = []

    async def prepare(self) -> None:
        for name, many in HELD.items():
            jobs = [Job("email.send", {"n": n}, queue=name) for n in range(many)]
            self.waiting += [job.id for job in jobs]
            await self._queue.enqueue_many(jobs, delay=timedelta(hours=1))

    async def exchange(self, n: int) -> None:
        words = [f"{n}.{i}".encode() for i in range(5)]
        reply = await self._broker.call_each([["PING", word] for word in words])
        self._compare("exchange", reply, words)

    async def enqueue(self, n: int) -> None:
        job = Job("email.send", {"n": n})
        self.count["sent"] += 1
        handle = await self._queue.enqueue(job)
        self._compare("enqueue", handle.id, job.id)

    async def get(self, n: int) -> None:
        job_id = self.waiting[n % len(self.waiting)]
        status = await self._queue.get(job_id)
        self._compare("get", status and (status.id, status.state), (job_id, JobState.SCHEDULED))

    async def stats(self, n: int) -> None:
        name = list(HELD)[n % len(HELD)]
        self._compare("stats", (await self._queue.stats(name)).delayed, HELD[name])

    def _compare(self, call: str, reply: object, expected: object) -> None:
        self.count[call] += 1
        if reply != expected:
            self.crossed.append((call, reply, expected))

    async def one(self, n: int) -> None:
        """A call that is cancelled unless it is quicker; nobody else's cancellation may end it."""
        calls: list[Callable[[int], Awaitable[None]]] = [self.exchange, self.enqueue, self.get, self.stats]
        task = asyncio.ensure_future(calls[n % len(calls)](n))
        if self._rng.random() < SPARED:
            await task
            return
        await asyncio.sleep(self._rng.random() * LATEST_S)
        asked = task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        self.count["cancelled"] += asked
        self.count["swallowed"] += asked and not task.cancelled()


def _loops() -> list[str]:
    return ["asyncio", *(["uvloop"] if find_spec("uvloop") else [])]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("loop", _loops())
def test_f03_random_cancellations_never_cross_replies(redis_url: str, namespace: str, loop: str) -> None:
    """Calls are cancelled at random moments: no other call reads their replies, and none goes on uncancelled."""
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        callers = runner.run(_cancelled_calls(redis_url, namespace))

    assert callers.crossed == []
    assert callers.count["swallowed"] == 0
    assert callers.count["cancelled"] >= CANCELLATIONS
    assert min(callers.count[call] for call in ("exchange", "enqueue", "get", "stats")) > CANCELLATIONS / 100


async def _cancelled_calls(redis_url: str, namespace: str) -> Callers:
    scene = Scene(redis_url, namespace)
    callers = Callers(scene.queue(), random.Random(3))
    await callers.prepare()
    for n in range(0, MOST_CALLS, AT_ONCE):
        if callers.count["cancelled"] >= CANCELLATIONS:
            break
        async with asyncio.timeout(60):
            await asyncio.gather(*(callers.one(n + i) for i in range(AT_ONCE)))
    await _left_nothing_behind(scene, callers, redis_url)
    await scene.close()
    return callers


async def _left_nothing_behind(scene: Scene, callers: Callers, redis_url: str) -> None:
    stats = await scene.queue().stats("default")
    assert callers.count["enqueue"] <= stats.enqueued <= callers.count["sent"]
    assert stats.drift == 0
    async with redis.asyncio.Redis.from_url(redis_url) as raw:

        async def few() -> bool:
            """Redis may not have heard yet of the last that were closed."""
            return sum(client["name"].startswith("jobqueue") for client in await raw.client_list()) < 20

        await eventually(few)
