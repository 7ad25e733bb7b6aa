"""The plant and the checker together, on real servers: clean when workers are killed, not when jobs are stolen."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobqueue.embedded import Servers, start_servers
from jobqueue.repository.postgres.migrate import migrate_up
from testutil.chaos.check import check
from testutil.chaos.crew import QUEUES, Crew
from testutil.chaos.final import read_connections, read_final
from testutil.chaos.history import read_events
from testutil.chaos.sampler import sample
from testutil.chaos.verdict import Rules, Verdict
from testutil.eventually import eventually


@pytest.fixture
def servers() -> Iterator[Servers]:
    with start_servers() as servers:
        yield servers


async def run_plant(servers: Servers, folder: Path, during: Callable[[Crew], Awaitable[None]]) -> Verdict:
    """A small plant at work while *during* lasts, then drained and judged."""
    await migrate_up(servers.postgres.url)
    crew = Crew(
        servers.redis.url, servers.postgres.url, folder, 7, workers=2, producers=1, schedulers=1, rate=60, lease_s=3.0
    )
    crew.start()
    sampling = asyncio.create_task(sample(servers.redis.url, folder))
    try:
        await eventually(lambda: list(folder.glob("worker-*.jsonl")), within_s=30)
        await during(crew)
        crew.heal()
        await crew.finish_producing()
        drained = await crew.drain(60)
        final = await read_final(servers.postgres.url, [servers.redis.url], drained=drained)
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
        await crew.shut_down()
        await read_connections(final, [servers.redis.url])
    finally:
        sampling.cancel()
        crew.close()
    return check(folder, final, Rules(weak_ok=True))


@pytest.mark.long
async def test_killed_workers_leave_a_clean_record(servers: Servers, tmp_path: Path) -> None:
    async def kill_two(crew: Crew) -> None:
        for worker in crew.of("worker"):
            await asyncio.sleep(4)
            crew.kill(worker)
            await asyncio.sleep(0.5)
            crew.replace(worker)
        await asyncio.sleep(1)

    verdict = await run_plant(servers, tmp_path, kill_two)

    assert verdict.ok, verdict.details
    assert sum(event.what == "killed" for event in read_events(tmp_path)) == 2
    assert int(verdict.measures["jobs"] or 0) > 200
    assert int(verdict.measures["samples"] or 0) > 20


async def test_a_stolen_job_is_missed(servers: Servers, tmp_path: Path) -> None:
    stolen: list[str] = []

    async def steal(_crew: Crew) -> None:
        async with Redis.from_url(servers.redis.url, decode_responses=True) as redis:

            async def one() -> bool:
                queue = random.choice(QUEUES)
                keys = [f"{{chaos:{queue}}}:{name}" for name in ("delayed", "jobs", "meta")]
                stolen.extend(await redis.eval(_STEAL, len(keys), *keys))
                return len(stolen) == 3  # one in a hundred is enqueued again, and then runs

            await eventually(one)

    verdict = await run_plant(servers, tmp_path, steal)

    missed = [name for name in stolen if any(name in line for line in verdict.details)]
    assert verdict.failures["lost"] == len(missed) > 0, verdict.failures


# At one stroke, for it may fall due meanwhile; and one without any trace, as a careful thief would: the conservation
# law knows nothing of it.
_STEAL = """
local found = redis.call('ZREVRANGE', KEYS[1], 0, 0)
if found[1] then
  redis.call('ZREM', KEYS[1], found[1])
  redis.call('HDEL', KEYS[2], found[1])
  redis.call('HINCRBY', KEYS[3], 'enqueued', -1)
end
return found
"""
