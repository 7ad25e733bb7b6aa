"""A producer process of the plant: `python -m testutil.chaos.produce`, configured by the environment.

It enqueues at a steady rate, again where the outcome is unknown, cancels, brings dead letters back, and
edits schedules. SIGUSR1: begin nothing new, end what was begun, and end.
"""

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jobqueue.app import JobQueue
from jobqueue.broker.base import EnqueueResult
from jobqueue.cli.lifeline import hold_on
from jobqueue.cli.log import configure_logging
from jobqueue.cli.loop import new_loop
from jobqueue.config import Settings
from jobqueue.errors import (
    Backpressure,
    BrokerError,
    DeadLetterNotFound,
    EnqueueUncertain,
    IdempotencyConflict,
    InvalidJob,
    JobQueueError,
)
from jobqueue.job import Job, JobState
from jobqueue.repository.base import LetterFilter
from testutil.chaos.editor import Editor, edit_now_and_then
from testutil.chaos.history import Answer, Call, Writer, now
from testutil.chaos.mix import Batch, Plan, plans

_IN_FLIGHT = 48
_RESENDS = 5
_RESEND_PAUSE_S = 0.3
_REQUEUE_EVERY_S = 1.5
_REQUEUES = 3
_RESULT_TTL = {"huge": timedelta(seconds=20)}


class Producer:
    """One producer's calls, each written down before it is sent and after it was answered."""

    def __init__(self, queue: JobQueue, writer: Writer) -> None:
        self._queue = queue
        self._writer = writer
        self._numbers = itertools.count(1)

    async def carry_out(self, plan: Plan | Batch, answered: Callable[[], None]) -> None:
        """Do what the plan says; *answered* is called when its first enqueue has been."""
        try:
            if isinstance(plan, Batch):
                await self._enqueue_many(plan)
                return
            job, options = _job(plan), _options(plan)
            for _ in range(_RESENDS):
                if await self._enqueue(plan, job, options) != "uncertain":
                    break
                await asyncio.sleep(_RESEND_PAUSE_S)
        finally:
            answered()
        if plan.again_after is not None:
            await asyncio.sleep(plan.again_after)
            await self._enqueue(plan, job, options)
        if plan.cancel_after is not None:
            await asyncio.sleep(plan.cancel_after)
            await self._cancel(job)

    async def _enqueue(self, plan: Plan, job: Job, options: dict[str, Any]) -> str:
        number = self._call("enqueue", job, plan, options)
        try:
            handle = await self._queue.enqueue(job, **options)
        except (IdempotencyConflict, EnqueueUncertain, JobQueueError) as error:
            answer = _refusal(error)
            self._answer(number, "enqueue", job.id, answer, note=str(error)[:200])
            return answer
        self._answer(number, "enqueue", job.id, "new" if handle.created else "exists", as_id=handle.id)
        return "new"

    async def _enqueue_many(self, batch: Batch) -> None:
        """Enqueue many by one call, again while their fate is unknown."""
        jobs = [_job(plan) for plan in batch.plans]
        for _ in range(_RESENDS):
            numbers = [self._call("enqueue", job, plan, {}) for job, plan in zip(jobs, batch.plans, strict=True)]
            try:
                results: list[EnqueueResult] = await self._queue.enqueue_many(jobs)
            except JobQueueError as error:
                # Some of its round trips may have been made before the one that failed.
                for number, job in zip(numbers, jobs, strict=True):
                    self._answer(number, "enqueue", job.id, "uncertain", note=str(error)[:200])
                await asyncio.sleep(_RESEND_PAUSE_S)
                continue
            for number, job, result in zip(numbers, jobs, results, strict=True):
                self._answer(number, "enqueue", job.id, result.status.value, as_id=result.job_id)
            return

    async def _cancel(self, job: Job) -> None:
        number = next(self._numbers)
        self._writer.write(Call(at=now(), n=number, op="cancel", id=job.id, queue=job.queue))
        try:
            state = await self._queue.cancel(job.id, queue=job.queue)
        except JobQueueError as error:
            self._answer(number, "cancel", job.id, "failed", note=str(error)[:200])
            return
        answer = {JobState.CANCELLED: "cancelled", JobState.RUNNING: "running"}.get(state, "none") if state else "none"
        self._answer(number, "cancel", job.id, answer)

    async def requeue_some(self, rng: random.Random) -> None:
        """Bring some of the newest dead letters back, as an operator would."""
        try:
            letters, _ = await self._queue.dead_letters.list(LetterFilter(), limit=30)
        except JobQueueError:
            return
        for letter in rng.sample(list(letters), min(_REQUEUES, len(letters))):
            await self._requeue(letter.letter.job_id, letter.letter.queue)

    async def _requeue(self, job_id: str, queue: str) -> None:
        number = next(self._numbers)
        self._writer.write(Call(at=now(), n=number, op="requeue", id=job_id, queue=queue))
        try:
            done = await self._queue.dead_letters.requeue(job_id)
        except (DeadLetterNotFound, InvalidJob) as error:
            self._answer(number, "requeue", job_id, "refused", note=str(error)[:200])
        except JobQueueError as error:
            self._answer(number, "requeue", job_id, "failed", note=str(error)[:200])
        else:
            self._answer(number, "requeue", job_id, "requeued" if done else "not")

    def _call(self, op: str, job: Job, plan: Plan, options: dict[str, Any]) -> int:
        number = next(self._numbers)
        run_at: datetime | None = options.get("run_at")
        at = now()
        due = at + plan.delay.total_seconds() if plan.delay else run_at.timestamp() if run_at else 0.0
        self._writer.write(
            Call(
                at=at,
                n=number,
                op=op,
                id=job.id,
                queue=job.queue,
                type=job.type,
                due=due,
                key=options.get("idempotency_key", ""),
                unique=job.unique_key or "",
                expires=job.expires is not None,
                durability=options.get("durability", ""),
            )
        )
        return number

    def _answer(self, number: int, op: str, job_id: str, answer: str, *, as_id: str = "", note: str = "") -> None:
        self._writer.write(Answer(at=now(), n=number, op=op, id=job_id, answer=answer, as_id=as_id, note=note))


def _job(plan: Plan) -> Job:
    payload = {"until": now() + plan.snooze_s} if plan.snooze_s else plan.payload
    return Job(
        plan.task,
        payload,
        queue=plan.queue,
        priority=plan.priority,
        expires=plan.expires,
        unique_key=plan.unique,
        result_ttl=_RESULT_TTL.get(plan.task),
    )


def _options(plan: Plan) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if plan.delay is not None:
        options["delay"] = plan.delay
    if plan.run_at_in is not None:
        options["run_at"] = datetime.now(UTC) + plan.run_at_in
    if plan.keyed:
        options["idempotency_key"] = os.urandom(8).hex()
    if plan.durability != "local":
        options["durability"] = plan.durability
    return options


def _refusal(error: JobQueueError) -> str:
    match error:
        case IdempotencyConflict():
            return "conflict"
        case EnqueueUncertain():
            return "uncertain"
        case Backpressure() | InvalidJob():
            return "refused"
        case BrokerError():
            return "failed"
        case _:
            return "uncertain"


async def produce(
    queue: JobQueue,
    writer: Writer,
    *,
    seed: str,
    rate: float,
    durability: tuple[str, ...],
    schedules: tuple[str, ...] = (),
) -> None:
    """Work at *rate* jobs a second until SIGUSR1 or SIGTERM, then end what was begun."""
    producer = Producer(queue, writer)
    stop = asyncio.Event()
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    room = asyncio.Semaphore(_IN_FLIGHT)
    tasks: set[asyncio.Task[None]] = set()

    requeuing = asyncio.create_task(_requeue_now_and_then(producer, random.Random(f"{seed}/requeue")))
    editing = asyncio.create_task(edit_now_and_then(Editor(queue, writer, seed), seed, schedules))
    begun, started = 0, time.monotonic()
    for plan in plans(seed, durability):
        if stop.is_set():
            break
        ahead = begun / rate - (time.monotonic() - started)
        if ahead > 0:
            await asyncio.sleep(ahead)
        elif ahead < -1:
            started -= ahead  # what could not be sent while Redis was away is not made up for
        begun += len(plan.plans) if isinstance(plan, Batch) else 1
        await room.acquire()
        tasks.add(task := asyncio.create_task(producer.carry_out(plan, room.release)))
        task.add_done_callback(tasks.discard)
    requeuing.cancel()
    editing.cancel()
    await asyncio.gather(*tasks, requeuing, editing, return_exceptions=True)


async def _requeue_now_and_then(producer: Producer, rng: random.Random) -> None:
    while True:
        await asyncio.sleep(_REQUEUE_EVERY_S * rng.uniform(0.5, 1.5))
        await producer.requeue_some(rng)


async def _run(settings: Settings) -> None:
    environment = os.environ
    member, generation = environment["CHAOS_MEMBER"], environment["CHAOS_GENERATION"]
    writer = Writer(Path(environment["CHAOS_FOLDER"]) / f"{member}.{generation}.jsonl")
    async with JobQueue.from_settings(settings) as queue:
        await produce(
            queue,
            writer,
            seed=f"{environment['CHAOS_SEED']}/{member}/{generation}",
            rate=float(environment["CHAOS_RATE"]),
            durability=tuple(environment["CHAOS_DURABILITY"].split(",")),
            schedules=tuple(filter(None, environment.get("CHAOS_SCHEDULES", "").split(","))),
        )


def main() -> None:
    hold_on()
    settings = Settings.load()
    configure_logging(settings.log, long_running=True)
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(_run(settings))


if __name__ == "__main__":
    main()
