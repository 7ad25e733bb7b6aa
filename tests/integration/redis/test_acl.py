"""The Redis user of docs/how-to/restrict-redis-user.md is enough for everything, and for nothing else."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
import redis.asyncio
from redis.exceptions import NoPermissionError

import jobqueue.broker
from jobqueue.broker.base import Place
from jobqueue.broker.dead_letters import RedisDeadLetters
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.embedded import RedisServer, find_redis_server, start_redis
from jobqueue.errors import BrokerError
from jobqueue.job import PRIORITIES
from jobqueue.outcome import COMPLETED, RELEASED
from jobqueue.schedule import Schedule
from jobqueue.tick import Reason, Step
from tests.contract.scene import DEAD, RETRY_NOW, Q, enqueue, job, settle, settlement, take
from testutil.acl import ACL_FILE, PASSWORD, USER, acl_args, restricted

HOW_TO = ACL_FILE.parent.parent / "how-to" / "restrict-redis-user.md"
BY_THE_CLIENT = {"select", "client|setname"}
BY_SETTING = {"waitaof", "config|get"}
CALL_IN_LUA = re.compile(r"call\('([A-Z]+)'(?:, '([A-Z]+)')?")
COMMAND_IN_PYTHON = re.compile(r'\[\s*"([A-Z]{3,})"(?:,\s*"([A-Z]+)")?')
WITH_SUBCOMMAND = {"XGROUP", "XINFO", "CLIENT", "CLUSTER", "CONFIG"}
BY_VARIABLE = {"hscan", "zscan", "srem"}
NO_COMMAND = {"STREAMS", "BLOCK"}
FORBIDDEN = [
    ["XTRIM", "{jq:mail}:stream:medium", "MAXLEN", "0"],
    ["DEL", "{jq:mail}:jobs"],
    ["RENAME", "{jq:mail}:jobs", "{jq:mail}:gone"],
    ["EXPIRE", "{jq:mail}:jobs", "1"],
    ["XGROUP", "DESTROY", "{jq:mail}:stream:medium", "workers"],
    ["XAUTOCLAIM", "{jq:mail}:stream:medium", "workers", "me", "0", "0"],
    ["FLUSHALL"],
    ["FLUSHDB"],
    ["KEYS", "*"],
    ["SCAN", "0"],
    ["CONFIG", "GET", "*"],
    ["CONFIG", "SET", "maxmemory", "1mb"],
    ["SCRIPT", "FLUSH"],
    ["ACL", "LIST"],
    ["CLIENT", "LIST"],
    ["CLIENT", "KILL", "TYPE", "normal"],
    ["SHUTDOWN", "NOSAVE"],
    ["MONITOR"],
    ["REPLICAOF", "NO", "ONE"],
    ["SUBSCRIBE", "news"],
    ["PUBLISH", "news", "x"],
    ["GET", "somebody:else"],
    ["SMEMBERS", "other:queues"],
    ["HGETALL", "{other:mail}:jobs"],
    ["EVAL", "return redis.call('GET', KEYS[1])", "1", "somebody:else"],
    ["EVAL", "return redis.call('GET', 'somebody:else')", "0"],
    ["EVAL", "return redis.call('FLUSHALL')", "0"],
]


@pytest.fixture(scope="module", params=["valkey", "redis-server"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that has loaded the file as it is shipped."""
    binary: Literal["valkey", "redis-server"] = request.param
    if binary == "redis-server" and find_redis_server() is None:
        pytest.skip("no redis-server on PATH")
    args = acl_args(tmp_path_factory.mktemp("acl"), namespace="jq")
    with start_redis(binary=binary, appendonly=False, extra_args=args) as server:
        yield server


@pytest.fixture
async def user(server: RedisServer) -> AsyncIterator["redis.asyncio.Redis"]:
    host, port = "127.0.0.1", server.port
    async with redis.asyncio.Redis(host=host, port=port, username=USER, password=PASSWORD) as client:
        yield client


async def test_the_user_may_do_all_that_a_queue_needs(server: RedisServer) -> None:
    broker = RedisStreamsBroker(restricted(server.url), history=True)
    letters = RedisDeadLetters(broker)
    worker = await broker.join([Q])
    await enqueue(broker, job(1, unique_key="u"), idempotency_key="k")
    await enqueue(broker, job(2), job(3), job(4))
    later = job(5)
    await enqueue(broker, later, run_at_ms=worker.now_ms() + 3_600_000)

    one, two, three, four = await take(worker, 4)
    heartbeat = worker.heartbeat()
    assert heartbeat.beat({Q: {one.job_id: b"1"}})[0].alive
    heartbeat.close()
    assert await broker.cancel(Q, four.job_id) == "running"
    await worker.settle([settlement(one, COMPLETED, result_ttl_ms=1_000), settlement(two, DEAD)])
    await settle(worker, RETRY_NOW, three)
    await settle(worker, RELEASED, four)
    assert await broker.result(Q, one.job_id)
    assert await broker.promote(Q)
    assert await broker.locate(Q, later.id)
    hastened = job(6)
    await enqueue(broker, hastened, run_at_ms=worker.now_ms() + 3_600_000)
    assert [len((await broker.jobs(Q, place, limit=9))[0]) for place in Place] == [1, 0, 2]
    assert await broker.hasten(Q, hastened.id) == "queued"
    assert await broker.cancel(Q, hastened.id) == "cancelled"
    await broker.reap(Q)
    assert await letters.requeue(two.job_id)
    running = await take(worker, 2)
    assert len(await worker.adopt()) == 2
    await broker.pause(Q)
    await broker.resume(Q)
    page = await broker.journal.read(Q, "journal", after="0-0", count=10)
    assert page is not None
    await broker.journal.trim(Q, "journal", upto=page.last, primary=page.primary)
    assert [each.name for each in await broker.workers(Q)] == [worker.name]
    assert await broker.queues() == [Q]
    assert (await broker.server()).version
    await settle(worker, DEAD, *running)
    await _live_of_a_schedule(broker, worker.now_ms())
    assert await broker.purge(Q, PRIORITIES, delayed=True) == 3
    assert await letters.delete(two.job_id)
    await worker.leave()

    assert await check_queue(broker, Q) == []
    await worker.close()
    await broker.close()


async def _live_of_a_schedule(broker: RedisStreamsBroker, now_ms: int) -> None:
    """Leaves two jobs, one of them delayed."""
    jitter = timedelta(days=1)
    each_hour = Schedule.of("s", "@hourly", job(7), jitter=jitter)
    tick_ms = next(n for n in range(now_ms - 1_000, now_ms) if each_hour.due_ms(n) > now_ms + 3_600_000)
    steps = [Step(fires=True, reason=Reason.ON_TIME, tick_ms=each, first_ms=each) for each in (2_000, tick_ms)]
    timetable = broker.timetable
    standing = await timetable.begin(Q, "s", version=1, at_ms=1_000)
    fired = await timetable.fire(each_hour, standing, steps)
    assert fired.done
    assert (await timetable.look(Q, ["s"])).standings["s"].busy
    await timetable.note(fired.records)
    assert len((await timetable.records(Q, limit=9))[0]) == 4
    page = await broker.journal.read(Q, "ticks", after="0-0", count=9)
    assert page is not None
    await broker.journal.trim(Q, "ticks", upto=page.last, primary=page.primary)
    await timetable.drop(Q, "s", version=1)
    await timetable.end(Q, "s", version=2)


@pytest.mark.parametrize("command", FORBIDDEN, ids=" ".join)
async def test_the_user_may_do_nothing_else(user: "redis.asyncio.Redis", command: list[str]) -> None:
    with pytest.raises(Exception) as refusal:
        await user.execute_command(*command)

    in_script = "ACL failure in script" in str(refusal.value) or "user executing the script can't" in str(refusal.value)
    assert isinstance(refusal.value, NoPermissionError) or in_script


async def test_a_refusal_names_the_command(server: RedisServer) -> None:
    broker = RedisStreamsBroker(restricted(server.url))

    with pytest.raises(BrokerError, match=r"refuses us: .*xtrim"):
        await broker.call(["XTRIM", "{jq:mail}:stream:medium", "MAXLEN", "0"])
    await broker.close()


def test_the_user_has_the_commands_that_the_code_uses_and_no_other() -> None:
    assert granted() == used() - BY_SETTING | BY_VARIABLE | BY_THE_CLIENT


def test_the_page_explains_every_command() -> None:
    page = HOW_TO.read_text()

    rows = [row.replace("\\|", "|").split(" | ")[0] for row in page.splitlines() if row.startswith("| `")]
    explained = set(re.findall(r"`([a-z|]+)`", "".join(rows)))
    assert explained == granted()
    assert all(f"`+{name}`" in page for name in BY_SETTING)


def granted() -> set[str]:
    return set(re.findall(r"\+(\S+)", ACL_FILE.read_text()))


def used() -> set[str]:
    """By the scripts, and by the modules that speak to Redis."""
    package = Path(jobqueue.broker.__path__[0])
    found: list[tuple[str, str]] = []
    for path in package.glob("lua/*.lua"):
        found += CALL_IN_LUA.findall(path.read_text())
    for path in [*package.rglob("*.py"), *package.parent.glob("cli/*.py")]:
        found += COMMAND_IN_PYTHON.findall(path.read_text())
    return {
        f"{word}|{sub}".lower() if word in WITH_SUBCOMMAND else word.lower()
        for word, sub in found
        if word not in NO_COMMAND
    }
