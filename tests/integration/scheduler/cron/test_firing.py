"""Schedules that fire while things happen to them: several schedulers, edits, moves, outages."""

import asyncio
from collections import Counter
from datetime import timedelta

from jobqueue.app import JobQueue
from jobqueue.context import current_job
from jobqueue.job import Job
from jobqueue.schedule import TICK_HEADER, Overlap
from jobqueue.tick import Decision, Reason, TickRecord
from tests.integration.scheduler.cron.timeline import (
    EVERY_SECOND,
    check_each_once,
    check_without_gap,
    fired,
    fires,
    now_ms,
    records,
    schedule,
)
from tests.integration.scheduler.test_shipping import scheduling
from tests.integration.worker.scene import Scene
from testutil.eventually import eventually


async def test_three_schedulers_and_a_worker_run_one_job_per_tick(bare: Scene) -> None:
    ran: Counter[str] = Counter()

    @bare.registry.task("t")
    async def handler() -> None:
        ran[current_job().job.headers[TICK_HEADER]] += 1

    queue = bare.queue()
    await queue.schedules.upsert("s", EVERY_SECOND, handler.job(), seconds=True)
    async with scheduling(queue, bare.queue(), bare.queue()), bare.working():
        await fires(queue, 4)
        await queue.schedules.remove("s")
        found = await records(queue)
        await bare.ended(queue, len(found))

    assert set(ran.values()) == {1}
    assert len(ran) == len(found)
    check_each_once(found)
    check_without_gap(schedule(), found)


async def test_a_tick_fires_by_one_version_however_often_it_is_edited(bare: Scene) -> None:
    """Three schedulers on a schedule of every second; each edit changes what the job says."""
    queue, editor = bare.queue(), bare.queue()
    edits: list[tuple[int, int]] = []
    async with scheduling(queue, bare.queue(), bare.queue()):
        n = 0
        while len(await fired(queue)) < 5:
            status = await editor.schedules.save(schedule(job=Job("t", {"n": (n := n + 1)})))
            edits.append((status.version, await now_ms(editor)))
        found = await records(queue)

    assert n > 10
    check_each_once(found)
    check_without_gap(schedule(), found)
    by_version = dict(edits)
    for each in found:
        # The next version's edit had not returned before this one fired.
        returned_ms = by_version.get(each.version + 1)
        assert returned_ms is None or each.at_ms <= returned_ms, each
        assert await _payload(queue, each) == {"n": each.version}


async def _payload(queue: JobQueue, record: TickRecord) -> dict[str, object]:
    assert record.job_id is not None
    found = await queue.parts.broker.locate("default", record.job_id)
    assert found is not None
    return found.job.payload


async def test_a_schedule_that_moves_to_another_queue_fires_each_tick_on_one_of_them(bare: Scene) -> None:
    queue, editor = bare.queue(), bare.queue()
    places = ["one", "two", "three"]
    await editor.schedules.save(schedule(job=Job("t", queue="one")))
    async with scheduling(queue, bare.queue(), bare.queue()):
        for n in range(1, 7):
            await fires(queue, n)
            await editor.schedules.save(schedule(job=Job("t", queue=places[n % 3])))
        found = await records(queue)

    found = sorted(found, key=lambda record: record.tick_ms)
    assert len({each.queue for each in found}) == 3
    check_each_once(found)
    check_without_gap(schedule(), found)


async def test_a_paused_schedule_has_no_ticks_and_makes_up_for_none_when_resumed(bare: Scene) -> None:
    queue = bare.queue()
    await queue.schedules.save(schedule(misfire="all"))
    await queue.schedules.save(schedule("other"))
    async with scheduling(queue, bare.queue()):
        await fires(queue, 2)
        paused = await queue.schedules.pause("s")
        before = await records(queue)
        others = len(await fired(queue, "other"))
        await fires(queue, others + 3, "other")
        assert await records(queue) == before
        resumed = await queue.schedules.resume("s")
        await fires(queue, len(before) + 1)
    first = (await records(queue))[len(before)]

    assert (paused.next_at, paused.state, resumed.state) == (None, "paused", "active")
    assert first.tick_ms > resumed.changed_at.timestamp() * 1000
    assert first.reason is Reason.ON_TIME


async def test_one_that_was_removed_and_is_made_again_begins_anew(bare: Scene) -> None:
    queue = bare.queue()
    await queue.schedules.save(schedule(misfire="all"))
    await queue.schedules.save(schedule("other"))
    async with scheduling(queue, bare.queue()):
        await fires(queue, 2)
        await queue.schedules.remove("s")
        before = await records(queue)
        others = len(await fired(queue, "other"))
        await fires(queue, others + 2, "other")
        again = await queue.schedules.save(schedule(misfire="all"))
        await fires(queue, len(before) + 2)
    found = await records(queue)

    assert again.version == 3
    assert found[: len(before)] == before
    assert found[len(before)].tick_ms > again.created_at.timestamp() * 1000
    check_each_once(found)


async def test_ticks_are_skipped_while_the_job_before_has_not_ended(bare: Scene) -> None:
    go_on = asyncio.Event()

    @bare.registry.task("t")
    async def handler() -> None:
        await go_on.wait()

    queue = bare.queue()
    await queue.schedules.save(schedule(job=handler.job(), overlap=Overlap.SKIP))
    async with scheduling(queue, bare.queue()), bare.working():
        await eventually(lambda: _skipped(queue, 2), within_s=30)
        assert len(await fired(queue)) == 1
        go_on.set()
        first, second, *_ = await fires(queue, 2)
    found = await records(queue)

    check_each_once(found)
    check_without_gap(schedule(), found)
    # Later ones may be skipped, too, while the worker ends.
    skipped = [each for each in found if each.decision is Decision.SKIPPED and each.tick_ms < second.tick_ms]
    assert {(each.reason, each.job_id) for each in skipped} == {(Reason.OVERLAP, first.job_id)}


async def _skipped(queue: JobQueue, count: int) -> bool:
    return sum(each.decision is Decision.SKIPPED for each in await records(queue)) >= count


async def test_ticks_wait_for_the_job_before_and_fire_one_after_the_other(bare: Scene) -> None:
    go_on, running, most = asyncio.Event(), 0, 0

    @bare.registry.task("t")
    async def handler() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1

    queue = bare.queue()
    await queue.schedules.save(schedule(job=handler.job(), overlap=Overlap.QUEUE))
    async with scheduling(queue, bare.queue()), bare.working(concurrency=5):
        await eventually(lambda: _waiting(queue, 2), within_s=30)
        status = await queue.schedules.pause("s")
        assert (len(await fired(queue)), status.waiting) == (1, status.waiting)
        waiting = status.waiting
        go_on.set()
        await queue.schedules.resume("s")
        await fires(queue, 1 + waiting)
    found = await fired(queue)

    assert most == 1
    assert [each.tick_ms for each in found] == sorted(each.tick_ms for each in found)
    assert [each.reason for each in found][1 : 1 + waiting] == [Reason.WAITED] * waiting
    check_each_once(await records(queue))


async def _waiting(queue: JobQueue, count: int) -> bool:
    return (await queue.schedules.get("s")).waiting >= count


async def test_ticks_that_wait_are_dropped_when_the_schedule_is_removed(bare: Scene) -> None:
    queue = bare.queue()
    await queue.schedules.save(schedule(overlap=Overlap.QUEUE))
    async with scheduling(queue):
        await eventually(lambda: _waiting(queue, 2), within_s=30)
        status = await queue.schedules.remove("s")
    found = await records(queue)
    waited = [each.tick_ms for each in found if each.decision is Decision.WAITING]

    assert status.waiting == 0
    assert [each.tick_ms for each in found if each.reason is Reason.ENDED] == waited


async def test_ticks_that_wait_move_along_to_another_queue(bare: Scene) -> None:
    queue = bare.queue()
    await queue.schedules.save(schedule(overlap=Overlap.QUEUE))
    async with scheduling(queue):
        await eventually(lambda: _waiting(queue, 2), within_s=30)
    waited = [each.tick_ms for each in await records(queue) if each.decision is Decision.WAITING]
    moved = await queue.schedules.save(schedule(job=Job("t", queue="new"), overlap=Overlap.QUEUE))
    async with scheduling(queue):
        await eventually(lambda: _fired_waited(queue), within_s=30)
    found = await records(queue)

    assert moved.waiting >= len(waited)
    first = next(each for each in found if each.reason is Reason.WAITED)
    assert (first.queue, first.tick_ms) == ("new", waited[0])
    check_each_once(found)


async def _fired_waited(queue: JobQueue) -> bool:
    return any(each.reason is Reason.WAITED for each in await records(queue))


async def test_jitter_delays_the_job_and_not_the_tick(bare: Scene) -> None:
    queue = bare.queue()
    wanted = schedule(jitter=timedelta(hours=1))
    await queue.schedules.save(wanted)
    async with scheduling(queue):
        first = (await fires(queue, 1))[0]
    assert first.job_id is not None
    found = await queue.parts.broker.locate("default", first.job_id)

    assert found is not None
    assert found.due_ms == wanted.due_ms(first.tick_ms)
