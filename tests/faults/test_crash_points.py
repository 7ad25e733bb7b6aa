"""Every crash point of the product, under every operation that passes it: a process dies there by its own SIGKILL,
healthy ones take over, and `CrashScene.close` finds every promise kept.

What a test asserts beyond that is what exactly is done twice, and what is not.
"""

import asyncio
import signal
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from jobqueue import crash
from jobqueue.registry import Task
from jobqueue.repository.base import LetterFilter, LetterState, StoredLetter
from tests.faults import test_schedule_crashes as schedules
from tests.faults.crash_app import FLAKY_ATTEMPTS, doomed, flaky, hold, later, mendable, ok
from tests.faults.crash_scene import BRIEF, WITHIN_S, CrashScene
from testutil.eventually import eventually
from testutil.proxy import fault_proxy

OPERATIONS: dict[str, Task[..., Any]] = {"run": ok, "retry": flaky, "dead": doomed}
POINTS_OF = {
    "an enqueue": ["before_enqueue_send", "after_enqueue_send"],
    "a run": ["after_join", "after_fetch", "before_run", "after_run", "before_settle_send", "after_settle_send"],
    "a shutdown": ["before_release", "before_leave"],
    "a promotion": ["after_promote"],
    "a reaping": ["before_reap", "after_reap_page"],
    "a shipping": ["after_journal_read", "before_commit", "after_commit", "after_trim"],
    "a requeue": ["before_requeue_enqueue", "after_requeue_enqueue"],
}
PAGE = 200  # jobs that a reaper gives back, and a promoter makes ready, at once


def test_every_point_is_passed_here_or_by_schedules() -> None:
    passed = [name for names in (*POINTS_OF.values(), *schedules.POINTS.values()) for name in names]

    assert sorted(passed) == sorted(each.name for each in crash.POINTS)


# An enqueue


@pytest.mark.parametrize("delay", ["0s", "1h"])
@pytest.mark.parametrize("point", POINTS_OF["an enqueue"])
async def test_f01_a_producer_that_dies_queues_its_job_once_or_not_at_all(
    crashes: CrashScene, point: str, delay: str
) -> None:
    """A producer killed around its enqueue has queued the job once or not at all; sent again, it is there once."""
    job = ok.job()
    options = ("-q", "sent", "--idempotency-key", "once", "--delay", delay)
    call = ("enqueue", *options, job.type, job.payload_json.decode())
    await crashes.died(crashes.run(*call, crash_at=point), point)
    sent = int(point == "after_enqueue_send")
    assert (await crashes.queue.stats("sent")).enqueued == sent

    await crashes.ended(crashes.run(*call))
    stats = await crashes.queue.stats("sent")
    assert (stats.enqueued, stats.live, stats.drift) == (1, 1, 0)


# A run: fetched, run, settled


@dataclass(frozen=True, slots=True)
class Victim:
    """How far a worker came with a job before it died."""

    took_it: bool = True
    ran_it: bool = True
    settled_it: bool = False

    def history(self, operation: str) -> list[str]:
        """The outcomes of all attempts of the job, whoever made them."""
        known: list[str] = []
        while not known or known[-1] in ("crashed", "retrying"):
            lost = not known and self.took_it and not self.settled_it
            known.append("crashed" if lost else _outcome(operation, len(known) + 1))
        return known

    def starts(self, operation: str) -> tuple[list[int], list[int]]:
        """The attempts in which its handler began: in the worker that died, and in the one after it."""
        attempts = list(range(1, len(self.history(operation)) + 1))
        if not self.took_it:
            return [], attempts
        return attempts[:1] if self.ran_it else [], attempts[1:]


def _outcome(operation: str, attempt: int) -> str:
    if operation == "retry":
        return "retrying" if attempt < FLAKY_ATTEMPTS else "completed"
    return {"run": "completed", "dead": "dead"}[operation]


async def crash_and_recover(scene: CrashScene, point: str, victim: Victim) -> None:
    """One armed worker per operation, each with one job and a queue of its own; then a healthy one for all."""
    jobs = {name: (await scene.enqueue(name, task.job()))[0] for name, task in OPERATIONS.items()}
    victims = {name: scene.worker(name, crash_at=point) for name in jobs}
    for process in victims.values():
        await scene.died(process, point)
    # Not before: what a scheduler made ready again could still go to one that is about to die.
    scene.scheduler()
    healthy = scene.worker(*jobs)
    stats = await scene.all_over(*jobs)

    for name, job in jobs.items():
        before, after = victim.starts(name)
        told = [(each.pid, each.attempt) for each in scene.starts(job)]
        assert told == [
            *((victims[name].pid, attempt) for attempt in before),
            *((healthy.pid, attempt) for attempt in after),
        ]
        assert await scene.history(job) == victim.history(name)
        assert stats[name].completed + stats[name].died == 1


async def test_f40_a_worker_that_dies_before_its_first_job_costs_nothing(crashes: CrashScene) -> None:
    """Killed after it registered: its consumer is taken away, and the job is not blamed."""
    await crash_and_recover(crashes, "after_join", Victim(took_it=False, ran_it=False))


@pytest.mark.parametrize("point", ["after_fetch", "before_run"])
async def test_f12_a_job_taken_and_not_started_is_run_by_another_worker(crashes: CrashScene, point: str) -> None:
    """Killed between fetch and start, with no other traffic on the queue: another worker runs the job, once."""
    await crash_and_recover(crashes, point, Victim(ran_it=False))


async def test_f13_a_job_whose_worker_dies_under_it_is_run_again(crashes: CrashScene) -> None:
    """Killed in the middle of a handler: the job runs again at the next attempt, its crash is counted."""
    go_on = crashes.folder / "go on"
    (job,) = await crashes.enqueue("run", hold.job(str(go_on)))
    victim = crashes.worker("run", **BRIEF)
    await eventually(lambda: crashes.starts(job), within_s=WITHIN_S)
    victim.kill()
    go_on.touch()
    crashes.scheduler()  # not before: it would reap a worker that stands still
    healthy = crashes.worker("run")
    await crashes.all_over("run")

    assert [(each.pid, each.attempt) for each in crashes.starts(job)] == [(victim.pid, 1), (healthy.pid, 2)]
    assert await crashes.history(job) == ["crashed", "completed"]


@pytest.mark.parametrize("point", ["after_run", "before_settle_send"])
async def test_f14_a_job_that_ran_and_was_not_settled_runs_again(crashes: CrashScene, point: str) -> None:
    """Killed after the side effect and before the settlement: the job runs again, same id, next attempt."""
    await crash_and_recover(crashes, point, Victim())


async def test_f15_a_settlement_that_was_carried_out_stands(crashes: CrashScene) -> None:
    """Killed right after the settlement was carried out: nothing is run or settled again."""
    await crash_and_recover(crashes, "after_settle_send", Victim(settled_it=True))


@pytest.mark.parametrize("point", ["before_settle_send", "after_settle_send"])
async def test_f14_f15_every_other_end_of_a_run_is_settled_once(crashes: CrashScene, point: str) -> None:
    """Killed around the settlement of a cancelled, an expired and a snoozed job: each ends once, as it was to."""
    (stopped,) = await crashes.enqueue("stopped", hold.job(str(crashes.folder / "never")))
    (expired,) = await crashes.enqueue("expired", ok.job().replace(expires=timedelta(milliseconds=1)))
    (snoozed,) = await crashes.enqueue("snoozed", later.job(str(crashes.folder / "snoozed once")))
    jobs = {job.queue: job for job in (stopped, expired, snoozed)}
    victims = [crashes.worker(name, crash_at=point) for name in jobs]
    await eventually(lambda: crashes.starts(stopped), within_s=WITHIN_S)
    await crashes.queue.cancel(stopped.id)
    for process in victims:
        await crashes.died(process, point)
    crashes.scheduler()  # not before, as in `crash_and_recover`
    crashes.worker(*jobs)
    stats = await crashes.all_over(*jobs)

    settled = point == "after_settle_send"
    assert await crashes.history(stopped) == ["cancelled"]
    assert await crashes.history(expired) == (["expired"] if settled else ["crashed", "expired"])
    assert await crashes.history(snoozed) == ["snoozed" if settled else "crashed", "completed"]
    assert (stats["stopped"].cancelled, stats["expired"].expired, stats["snoozed"].completed) == (1, 1, 1)
    assert [len(crashes.starts(job)) for job in (stopped, expired, snoozed)] == [1, 0, 2]


async def test_f15_a_settlement_whose_reply_was_never_read_stands(crashes: CrashScene, redis_url: str) -> None:
    """Killed with the settlement sent and its reply on the way: nothing is run or settled again."""
    async with fault_proxy(redis_url) as proxy:
        (job,) = await crashes.enqueue("run", ok.job())
        proxy.swallow_reply(settle_sha())
        victim = crashes.worker("run", REDIS_URL=proxy.url, **BRIEF)
        await eventually(lambda: proxy.faults, within_s=WITHIN_S)
        victim.kill()
        crashes.scheduler()
        healthy = crashes.worker("run")
        await crashes.all_over("run")

        assert [(each.pid, each.attempt) for each in crashes.starts(job)] == [(victim.pid, 1)]
        assert await crashes.history(job) == ["completed"]
        assert healthy.poll() is None


def settle_sha() -> bytes:
    from jobqueue.broker import scripts

    return scripts.SETTLE.sha.encode()


# A shutdown


@pytest.mark.parametrize("point", ["before_release", "before_leave"])
async def test_f21_a_worker_that_dies_while_it_shuts_down_loses_nothing(crashes: CrashScene, point: str) -> None:
    """Killed in the middle of its own shutdown under load: what it held comes back, what it gave back runs once."""
    go_on = crashes.folder / "go on"
    victim = crashes.worker("held", "busy", crash_at=point, WORKER_SHUTDOWN_TIMEOUT="50ms")
    (held,) = await crashes.enqueue("held", hold.job(str(go_on)))
    busy = await crashes.enqueue("busy", *(ok.job(1) for _ in range(600)))
    await eventually(lambda: crashes.starts(held) and len(crashes.starts(*busy)) > 100, within_s=WITHIN_S)
    victim.send_signal(signal.SIGTERM)
    await crashes.died(victim, point)
    go_on.touch()
    crashes.scheduler()  # not before: it would reap a worker that stands still
    healthy = crashes.worker("held", "busy")
    stats = await crashes.all_over("held", "busy")

    # What is given back was no attempt.
    lost, attempt = ("crashed", 2) if point == "before_release" else ("released", 1)
    assert [(each.pid, each.attempt) for each in crashes.starts(held)] == [(victim.pid, 1), (healthy.pid, attempt)]
    assert await crashes.history(held) == [lost, "completed"]
    assert (stats["held"].completed, stats["busy"].completed) == (1, len(busy))
    runs = Counter(each.job_id for each in crashes.starts(*busy))
    by_the_healthy = Counter(each.job_id for each in crashes.starts(*busy) if each.pid == healthy.pid)
    assert runs.keys() == {job.id for job in busy}
    assert max(by_the_healthy.values()) == 1
    if point == "before_leave":
        assert max(runs.values()) == 1


# A promotion


@pytest.mark.parametrize(("many", "passing"), [(1, 1), (3 * PAGE, 2)], ids=["one", "between two batches"])
@pytest.mark.parametrize("by", ["scheduler", "worker"])
async def test_f67_a_promoter_that_dies_promotes_each_job_once(
    crashes: CrashScene, by: str, many: int, passing: int
) -> None:
    """Killed right after a batch was promoted, before the next: every due job is promoted exactly once."""
    jobs = await crashes.enqueue("due", *(ok.job() for _ in range(many)), delay=timedelta(milliseconds=1))
    point = f"after_promote:{passing}"
    victim = crashes.scheduler(crash_at=point) if by == "scheduler" else crashes.worker("due", crash_at=point)
    await crashes.died(victim, "after_promote")
    left = (await crashes.queue.stats("due")).delayed
    crashes.scheduler()
    healthy = crashes.worker("due")
    stats = await crashes.all_over("due")

    assert left == max(0, many - passing * PAGE)
    assert stats["due"].completed == many
    runs = Counter(each.job_id for each in crashes.starts())
    # Twice at most, and only what a worker was running when it died of its own promoting.
    assert runs.keys() == {job.id for job in jobs}
    assert {job_id: n for job_id, n in runs.items() if n > 1}.keys() <= run_by(crashes, victim.pid)
    assert max(Counter(each.job_id for each in crashes.starts() if each.pid == healthy.pid).values()) == 1


def run_by(scene: CrashScene, pid: int) -> set[str]:
    return {each.job_id for each in scene.starts() if each.pid == pid}


# A reaping


@pytest.mark.parametrize("point", ["before_reap", "after_reap_page"])
@pytest.mark.parametrize("buried", [False, True], ids=["queued again", "buried"])
async def test_a_reaper_that_dies_gives_each_job_back_once(crashes: CrashScene, point: str, buried: bool) -> None:
    """Killed before a dead worker's jobs were given back, or with one page done: another reaper does the rest."""
    go_on, many = crashes.folder / "go on", PAGE + 3 if point == "after_reap_page" else 3
    most: dict[str, Any] = {"JOBQUEUE_MAX_CRASHES": "1" if buried else "100"}
    jobs = await crashes.enqueue("held", *(hold.job(str(go_on)) for _ in range(many)))
    victim = crashes.worker("held", concurrency=many, **BRIEF)
    await eventually(lambda: len(crashes.starts()) == many, within_s=WITHIN_S)
    reaper = crashes.scheduler(crash_at=point, **most)
    victim.send_signal(signal.SIGSTOP)
    await crashes.queue.cancel(jobs[0].id)
    victim.kill()
    await crashes.died(reaper, point)
    left = (await crashes.queue.stats("held")).running
    go_on.touch()
    crashes.scheduler(**most)
    healthy = crashes.worker("held", **most)
    stats = (await crashes.all_over("held"))["held"]

    assert left == (many if point == "before_reap" else many - PAGE)
    again = [each.job_id for each in crashes.starts() if each.pid == healthy.pid]
    if buried:
        assert (stats.died, stats.cancelled, again) == (many - 1, 1, [])
    else:
        assert (stats.completed, stats.cancelled) == (many - 1, 1)
        assert Counter(again) == {job.id: 1 for job in jobs[1:]}


# A shipping


@pytest.mark.parametrize("point", POINTS_OF["a shipping"])
async def test_f71_f72_a_shipper_that_dies_ships_each_row_once(crashes: CrashScene, point: str) -> None:
    """Killed anywhere between the read from Redis, the commit in Postgres and the trim: every row is there once."""
    ended = [*(ok.job() for _ in range(3)), *(doomed.job() for _ in range(2))]
    jobs = await crashes.enqueue("ended", *ended)
    await crashes.ended(crashes.worker_until_empty("ended"))
    committed = point in ("after_commit", "after_trim")
    # Dead letters go first. Where the first shipper has not committed them, the second passes the point with them, too.
    for passing in (1, 1 if committed else 2):
        await crashes.died(crashes.scheduler(crash_at=f"{point}:{passing}"), point)
    left = await crashes.queue.stats("ended")
    crashes.scheduler()
    await crashes.all_over("ended")

    # The second shipper has trimmed what the first had committed, and committed what it had not.
    assert (left.dead, left.journal > 0) == (0, point != "after_trim")
    assert [await crashes.history(job) for job in jobs] == [["completed"]] * 3 + [["dead"]] * 2
    assert {each.letter.job_id for each in await letters(crashes)} == {job.id for job in jobs[3:]}


async def letters(scene: CrashScene) -> list[StoredLetter]:
    found, _ = await scene.queue.dead_letters.list(LetterFilter(state=None), limit=100)
    return list(found)


# A requeue


@pytest.mark.parametrize("point", POINTS_OF["a requeue"])
async def test_f77_a_requeue_that_dies_halfway_queues_the_job_once(
    crashes: CrashScene, database_url: str, point: str
) -> None:
    """Killed halfway, by hand and again in the scheduler that finishes it, and clicked twenty times more: one run."""
    mended = crashes.folder / "mended"
    (job,) = await crashes.enqueue("ended", mendable.job(str(mended)))
    await crashes.ended(crashes.worker_until_empty("ended"))
    await crashes.died(crashes.run("dlq", "retry", "--yes", job.id, crash_at=point), point)
    (letter,) = await letters(crashes)
    mended.touch()
    # Where it was queued it has now run and ended: no live job is left that would tell a second one apart.
    await crashes.ended(crashes.worker_until_empty("ended"))
    await make_old(database_url)
    await crashes.died(crashes.scheduler(crash_at=point), point)
    await make_old(database_url)
    clicks = await asyncio.gather(*(crashes.queue.dead_letters.requeue(job.id) for _ in range(20)))
    crashes.scheduler()
    crashes.worker("ended")
    stats = (await crashes.all_over("ended"))["ended"]
    (after,) = await letters(crashes)

    assert letter.state == LetterState.REQUEUEING
    assert after.state == LetterState.REQUEUED
    assert sum(clicks) == 1
    assert (stats.enqueued, stats.requeued, stats.died, stats.completed) == (2, 1, 1, 1)
    assert [each.attempt for each in crashes.starts(job)] == [1, 1]


@pytest.mark.parametrize("point", POINTS_OF["a requeue"])
async def test_f77_an_edited_requeue_that_dies_halfway_queues_the_edited_job_once(
    crashes: CrashScene, database_url: str, point: str
) -> None:
    """An edit that dies halfway is finished by the scheduler with the edited payload: one run, with that."""
    broken, mended = crashes.folder / "broken", crashes.folder / "mended"
    mended.touch()
    (job,) = await crashes.enqueue("ended", mendable.job(str(broken)))
    await crashes.ended(crashes.worker_until_empty("ended"))
    payload = mendable.job(str(mended)).payload_json.decode()
    await crashes.died(crashes.run(job.id, payload, module="tests.faults.edit_app", crash_at=point), point)
    (letter,) = await letters(crashes)
    await make_old(database_url)
    crashes.scheduler()
    crashes.worker("ended")
    stats = (await crashes.all_over("ended"))["ended"]
    (after,) = await letters(crashes)

    assert (letter.state, after.state) == (LetterState.REQUEUEING, LetterState.REQUEUED)
    assert (stats.enqueued, stats.requeued, stats.died, stats.completed) == (2, 1, 1, 1)
    assert [each.attempt for each in crashes.starts(job)] == [1, 1]


async def make_old(database_url: str) -> None:
    """As if the requeue had been left a minute ago."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("UPDATE jobqueue.dead_letters SET requeued_at = requeued_at - interval '1 minute'")
    finally:
        await connection.close()
