"""The scripts as such: what they touch, and that a broken key leaves no half-done change."""

import asyncio
import random
import re
import string
from collections.abc import Callable
from pathlib import Path

import pytest
import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import ResponseError

import jobqueue.broker
from jobqueue.broker import scripts
from jobqueue.broker.base import Place, Settlement
from jobqueue.broker.keys import QueueKeys
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.broker.scripts import Script, Value
from jobqueue.broker.settle import command as settle_command
from jobqueue.broker.timetable import Standing
from jobqueue.embedded import start_redis
from jobqueue.errors import InvalidJob
from jobqueue.job import PRIORITIES, Priority, new_id
from jobqueue.outcome import COMPLETED, RELEASED, Cancelled, Expired, Snoozed
from jobqueue.schedule import Schedule
from jobqueue.tick import Reason, Step
from tests.contract.scene import DEAD, RETRY_NOW, Q, enqueue, job, raised, run, settle, take, take_one
from tests.integration.redis.conftest import MakeBroker
from tests.integration.redis.dump import dump
from testutil.eventually import eventually

LUA = sorted(Path(jobqueue.broker.__path__[0], "lua").glob("*.lua"))
CALL = re.compile(r"\b(?:redis\.)?p?call\(\s*('[A-Z]+'|\w+)\s*(?:,\s*([^,)]*(?:\[[^]]*\])?))?(?:,\s*([^,)]*))?")
WITHOUT_KEY = {"'TIME'", "'INFO'", "'XREADGROUP'"}
LATE_KEY = re.compile(r"'STREAMS', ([^,]*), '>'\)")
WITH_SUBCOMMAND = {"'XGROUP'", "'XINFO'"}


@pytest.mark.parametrize("path", LUA, ids=lambda path: path.stem)
def test_a_script_takes_its_keys_from_keys_only(path: Path) -> None:
    source = path.read_text()
    calls = CALL.findall(source)
    keys = [
        third if command in WITH_SUBCOMMAND else second
        for command, second, third in calls
        if command not in WITHOUT_KEY
    ]
    keys += LATE_KEY.findall(source)

    assert keys
    assert [key for key in keys if "'" in key or '"' in key or ".." in key or not key] == []


@pytest.mark.parametrize("script", scripts.ALL.values(), ids=lambda script: script.name)
def test_the_keys_of_a_script_are_in_one_slot(script: Script) -> None:
    keys = QueueKeys.of("ns", "a.b:c")
    named = [getattr(keys, name, keys.dead) for name in script.keys]
    given = [each if isinstance(each, str) else each("p") for each in named]

    assert len({key_slot(key.encode()) for key in given}) <= 1


def test_every_script_file_is_known() -> None:
    assert {script.name for script in scripts.ALL.values()} == {path.stem for path in LUA}


def test_any_name_is_refused_or_keeps_all_keys_of_its_queue_in_one_slot() -> None:
    rng = random.Random(7)
    letters = string.ascii_letters + string.digits + "{}_.:-*\r\n \x00ä/"
    good = 0
    broker = RedisStreamsBroker("redis://127.0.0.1:1/0")
    for _ in range(5_000):
        name = "".join(rng.choices(letters, k=rng.choice([0, 1, 2, 3, 5, 64, 65])))
        key = "".join(rng.choices(letters, k=10))
        try:
            keys = broker.keys(name)
        except InvalidJob:
            assert not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", name)
            continue
        good += 1
        names = [*keys.streams, keys.jobs, keys.meta, keys.dedupe(key), keys.result(key), keys.producer(key)]
        assert len({key_slot(each.encode()) for each in names}) == 1
    assert good > 100


async def test_a_cluster_runs_every_script(make_broker: MakeBroker) -> None:
    with start_redis(appendonly=False, extra_args=("--cluster-enabled", "yes")) as server:
        async with redis.asyncio.Redis.from_url(server.url) as raw:
            await raw.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            broker = make_broker(server.url, history=True)

            async def whole_life() -> None:
                await enqueue(broker, job(1, unique_key="u"), idempotency_key="a{b}c", delay=None)
                await enqueue(broker, job(2), run_at_ms=1)
                worker = await broker.join([Q])
                one, two = await take(worker, 2)
                await settle(worker, COMPLETED, one, result_ttl_ms=600_000)
                await settle(worker, DEAD, two)
                worker.heartbeat().beat({Q: {one.job_id: b"1"}})
                await broker.promote(Q)
                await broker.reap(Q)
                await broker.cancel(Q, one.job_id)
                await broker.locate(Q, one.job_id)
                await broker.hasten(Q, one.job_id)
                for place in Place:
                    await broker.jobs(Q, place, limit=1)
                await broker.purge(Q, PRIORITIES, delayed=True)
                page = await broker.journal.read(Q, "dead", after="0-0", count=1)
                assert page is not None
                await broker.call(scripts.REQUEUE.command(broker.keys(Q), letter=page.last, edited=""))
                await broker.call(scripts.DROP.command(broker.keys(Q), letter=page.last))
                await broker.journal.trim(Q, "journal", upto="9999999999999-0", primary="")
                standing = await _waiting_schedule(broker, Q)
                assert (await broker.call(_firing(broker.keys(Q), standing, due_ms=0)))[0] == 1
                await broker.timetable.look(Q, ["s"])
                await broker.timetable.drop(Q, "s", version=1)
                (record, *_), _ = await broker.timetable.records(Q, limit=1)
                await broker.timetable.note([record])
                await broker.timetable.end(Q, "s", version=2)
                await worker.leave()
                assert (await broker.stats(Q)).drift == 0

            async def is_up() -> bool:
                error = await raised(lambda: broker.call(["SET", "probe", "1"]))
                if error is not None and "CLUSTERDOWN" not in str(error):
                    raise error
                return error is None

            await eventually(is_up)
            await whole_life()


CALLS = (
    *("declare", "register", "enqueue", "settle", "reap", "beat", "promote", "janitor"),
    *("forget", "cancel running", "cancel ready", "cancel delayed", "hasten", "purge", "requeue", "drop", "trim"),
    *("fire", "fire later", "begin", "end", "unwait", "note"),
)


@pytest.mark.parametrize("call", CALLS)
async def test_f42_a_key_of_a_wrong_type_leaves_no_partial_state(
    make_broker: MakeBroker, raw: "redis.asyncio.Redis", namespace: str, call: str
) -> None:
    """A script that meets a key of a wrong type fails before its first write: nothing has changed."""
    broken = 0
    own_keys = ("producer", "dedupe", "noted")
    for n, field in enumerate([*QueueKeys.__dataclass_fields__, *own_keys]):
        if field == "tag":
            continue
        queue = f"q{n}"
        broker = make_broker(history=True)
        command = await _prepared(broker, queue, call)
        keys = broker.keys(queue)
        key = getattr(keys, field) if field in QueueKeys.__dataclass_fields__ else getattr(keys, field)("p")
        await raw.delete(key)
        await (raw.rpush(key, "x") if field in own_keys else raw.set(key, "x"))
        before = await dump(raw, namespace)

        (reply,) = await broker.call_each([command])

        if isinstance(reply, ResponseError):
            broken += 1
            assert "WRONGTYPE" in str(reply), (field, reply)
            assert await dump(raw, namespace) == before, f"{call} with {field} broken"
    assert broken >= 1


async def _prepared(broker: RedisStreamsBroker, queue: str, call: str) -> list[Value]:
    """A queue with a job in every place, and a command that is about to change it."""
    keys = broker.keys(queue)
    options = {"queue": queue, "unique_key": None}
    await run(broker, DEAD, job(0, queue=queue, unique_key="dead"))
    worker = await broker.join([queue])
    running = [job(n, **{**options, "unique_key": f"r{n}"}, priority=p) for n, p in enumerate(PRIORITIES)]
    plain = [job(9, queue=queue, priority=p) for p in PRIORITIES]
    await enqueue(broker, *running, *plain)
    taken = await take(worker, 8)
    ready = job(queue=queue, unique_key="q")
    delayed = job(queue=queue, unique_key="d")
    await enqueue(broker, ready)
    await enqueue(broker, delayed, run_at_ms=broker_due(worker.now_ms()))
    page = await broker.journal.read(queue, "dead", after="0-0", count=1)
    assert page is not None
    outcomes = [COMPLETED, RELEASED, DEAD, RETRY_NOW, Snoozed(9), Cancelled(), Expired(), COMPLETED]
    settlements = [
        Settlement(delivery=each, outcome=outcome, type="t", result_ttl_ms=600_000)
        for each, outcome in zip(taken, outcomes, strict=True)
    ]
    await broker.cancel(queue, taken[1].job_id)
    if call == "reap":
        await worker.leave()
    items = [
        *(new_id(), "0 0 0 1 60000 digest 1 lock", b"{}"),
        *(new_id(), "1 +1000 5 0 1000 - 0 ", b"{}"),
        *(new_id(), "2", b"{}"),
    ]
    standing = await _waiting_schedule(broker, queue)
    facts = {"consumer": worker.name, "history": True, "journal_max": 10, "keep_payload": 100}
    commands: dict[str, Callable[[], list[Value]]] = {
        "declare": lambda: scripts.DECLARE.command(keys, epoch="e", version=1),
        "register": lambda: scripts.REGISTER.command(keys, consumer="c", lease_ms=1_000, facts="{}"),
        "enqueue": lambda: scripts.ENQUEUE.command(
            keys,
            producer=keys.producer("p"),
            number=1,
            remember_ms=60_000,
            more_keys=[keys.dedupe("p")],
            more_args=items,
        ),
        "settle": lambda: settle_command(keys, settlements, fence="alive", **facts),
        "reap": lambda: settle_command(keys, settlements, fence="dead", **facts),
        "beat": lambda: scripts.BEAT.command(
            keys, consumer=worker.name, lease_ms=99_000, more_args=[taken[0].job_id, b'{"done":1}']
        ),
        "promote": lambda: scripts.PROMOTE.command(keys, limit=100, max_bytes=10_000),
        "janitor": lambda: scripts.JANITOR.command(keys, lease_ms=1_000, fresh_ms=0),
        "forget": lambda: scripts.FORGET.command(keys, consumer=worker.name, leaving=1),
        "cancel running": lambda: scripts.CANCEL.command(keys, id=taken[0].job_id, line="[]"),
        "cancel ready": lambda: scripts.CANCEL.command(keys, id=ready.id, line="[]"),
        "cancel delayed": lambda: scripts.CANCEL.command(keys, id=delayed.id, line="[]"),
        "hasten": lambda: scripts.HASTEN.command(keys, id=delayed.id),
        "purge": lambda: scripts.PURGE.command(keys, ranks="0123", with_delayed=1, limit=100, skip=0),
        "requeue": lambda: scripts.REQUEUE.command(keys, letter=page.last, edited=""),
        "drop": lambda: scripts.DROP.command(keys, letter=page.last),
        "trim": lambda: scripts.TRIM.command(
            keys, shipped=keys.journal, upto="9999999999999-0", limit=10, journal=1, primary=""
        ),
        "fire": lambda: _firing(keys, standing, due_ms=0),
        "fire later": lambda: _firing(keys, standing, due_ms=worker.now_ms() + 5_000),
        "begin": lambda: scripts.BEGIN.command(keys, name="s", version=2, at_ms=1, waiting="-", job="-"),
        "end": lambda: scripts.END.command(keys, name="s", version=2),
        "unwait": lambda: scripts.UNWAIT.command(keys, name="s", version=1, kept=10),
        "note": lambda: scripts.NOTE.command(
            keys, noted=keys.noted("p"), kept=10, known_ms=60_000, more_args=["s", "1 run asked 1 1 1 -"]
        ),
    }
    return commands[call]()


async def _waiting_schedule(broker: RedisStreamsBroker, queue: str) -> Standing:
    """A schedule whose first job has ended, and whose next two ticks wait for it."""
    every_hour = Schedule.of("s", "@hourly", job(queue=queue, unique_key=None), overlap="queue")
    begun = await broker.timetable.begin(queue, "s", version=1, at_ms=1_000)
    steps = [Step(fires=True, reason=Reason.ON_TIME, tick_ms=n, first_ms=n) for n in (2_000, 3_000, 4_000)]
    fired = await broker.timetable.fire(every_hour, begun, steps)
    assert fired.standing is not None
    assert fired.standing.job_id is not None
    await broker.cancel(queue, fired.standing.job_id)
    return fired.standing


def _firing(keys: QueueKeys, seen: Standing, *, due_ms: int) -> list[Value]:
    """Fires the first of the ticks that wait, skips one, and fires another."""
    return scripts.FIRE.command(
        keys,
        name="s",
        seen=f"{seen.version} {seen.last_ms}",
        seen_first=seen.waiting[0],
        overlap="allow",
        max_waiting=10,
        rank=2,
        ttl_ms=1_000,
        kept=10,
        more_args=[
            *("waited", "waited", seen.waiting[0], seen.waiting[0], 1, new_id(), due_ms, b"{}"),
            *("step", "missed", 5_000, 5_000, 1, "", "", ""),
            *("step", "on_time", 6_000, 6_000, 1, new_id(), due_ms, b"{}"),
        ],
    )


def broker_due(now_ms: int) -> int:
    """Soon enough to be due when the script runs, late enough to be delayed when enqueued."""
    return now_ms + 5


async def test_f36_scripts_are_loaded_again_whenever_they_are_lost(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis"
) -> None:
    """After SCRIPT FLUSH, the next call of each script brings its source along and goes on."""
    await raw.script_flush()
    worker = await broker.join([Q])
    heartbeat = worker.heartbeat()
    for n in range(20):
        await raw.script_flush()
        await enqueue(broker, job(n, priority=Priority.HIGH))
        await raw.script_flush()
        heartbeat.beat({})
        await raw.script_flush()
        await settle(worker, (COMPLETED, RETRY_NOW)[n % 2], await take_one(worker))
        await raw.script_flush()
        await broker.promote(Q)
        await raw.script_flush()
        await broker.reap(Q)
    await raw.script_flush()
    stats = await broker.stats(Q)
    heartbeat.close()

    assert stats.enqueued == 20
    assert stats.drift == 0


async def test_f36_scripts_lost_all_the_time_under_load_lose_nothing(
    broker: RedisStreamsBroker, raw: "redis.asyncio.Redis"
) -> None:
    """Scripts flushed without a pause under load: every job is enqueued, taken and settled once."""
    flushing = asyncio.create_task(_flush_for_ever(raw))
    worker = await broker.join([Q])
    for n in range(30):
        await asyncio.gather(*(enqueue(broker, job(n)) for _ in range(5)))
        taken = await take(worker, 5)
        await settle(worker, COMPLETED, *taken)
    flushing.cancel()

    stats = await broker.stats(Q)
    assert (stats.completed, stats.live, stats.drift) == (150, 0, 0)


async def _flush_for_ever(raw: "redis.asyncio.Redis") -> None:
    while True:
        await raw.script_flush()
