"""Random steps on a real broker and on the model; after each, the two must agree in everything that can be asked."""

import asyncio
import itertools
from collections.abc import Awaitable
from typing import Any, TypeVar

import redis.asyncio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobqueue.broker.base import Found, Place
from jobqueue.broker.dead_letters import RedisDeadLetters
from jobqueue.broker.invariants import check_queue
from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.errors import DeadLetterNotFound, InvalidJob, LeaseLost
from jobqueue.job import PRIORITIES, JobState
from jobqueue.outcome import COMPLETED
from jobqueue.repository.base import LetterFilter
from tests.faults.machine_scene import (
    LEASE,
    MAX_CRASHES,
    MOST_WORKERS,
    OUTCOMES,
    Q,
    Worker,
    batches,
    facts_of,
    ids,
    letter_facts,
    outcomes,
    picks,
    settlement,
    submission,
    submissions,
)
from tests.faults.model import Model

_namespaces = itertools.count(1)
_Value = TypeVar("_Value")


class QueueMachine(RuleBasedStateMachine):
    """Set *url* on a subclass. Every example has a namespace and an event loop of its own."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.broker = RedisStreamsBroker(
            self.url, namespace=f"machine{next(_namespaces)}", lease=LEASE, max_crashes=MAX_CRASHES, history=True
        )
        self.letters = RedisDeadLetters(self.broker)
        self.keys = self.broker.keys(Q)
        self.raw = redis.asyncio.Redis.from_url(self.url, decode_responses=True)
        self.model = Model(MAX_CRASHES)
        self.workers: list[Worker] = []

    def do(self, call: Awaitable[_Value]) -> _Value:
        async def bounded() -> _Value:
            async with asyncio.timeout(30):
                return await call

        return self.loop.get_loop().run_until_complete(bounded())

    def worker(self, pick: int) -> Worker:
        return self.workers[pick % len(self.workers)]

    # producers

    @initialize()
    def begin(self) -> None:
        self.join()

    @rule(batch=batches)
    def enqueue_and_more(self, batch: list[dict[str, Any]]) -> None:
        self.enqueue(batch)

    @rule(batch=batches)
    def enqueue(self, batch: list[dict[str, Any]]) -> None:
        made = [submission(each) for each in batch]
        expected = self.model.enqueue(made, [each["number"] for each in batch])
        assert self.do(self.broker.enqueue(made)) == expected

    # workers

    @precondition(lambda self: len(self.model.leases) < MOST_WORKERS)
    @rule()
    def join(self) -> None:
        worker = Worker(self.do(self.broker.join([Q])))
        self.workers.append(worker)
        self.model.leases[worker.name] = True
        fenced = [worker for worker in self.workers if worker.name not in self.model.leases]
        for worker in fenced[:-1]:
            self.workers.remove(worker)
            self.do(worker.close())

    @rule(pick=picks, want=st.integers(1, 6))
    def fetch(self, pick: int, want: int) -> None:
        """Also by a worker that has been reaped and does not know it yet. Whoever finds the queue paused resumes it."""
        worker = self.worker(pick)
        if self.model.paused:
            assert self.do(worker.consumer.fetch(want, skip=[Q], wait=False)) == []
            self.do(self.broker.resume(Q))
            self.model.paused = False
        taken = self.do(worker.consumer.fetch(want, wait=False))
        ready = self.model.ready()
        assert [each.job_id for each in taken] == [job.id for job in ready[: len(taken)]]
        assert len(taken) <= want
        assert bool(taken) == bool(ready)
        for delivery, job in zip(taken, ready, strict=False):
            assert facts_of(delivery) == facts_of(job)
            assert delivery.rank == job.priority.rank
        self.model.take([each.job_id for each in taken], worker.name)
        worker.running += taken

    @rule(pick=picks, want=st.integers(1, 6), outcomes=outcomes, again=st.booleans())
    def work(self, pick: int, want: int, outcomes: list[Any], again: bool) -> None:
        self.fetch(pick, want)
        if any(worker.running for worker in self.workers):
            self.settle(pick, outcomes, again)

    @precondition(lambda self: any(worker.running for worker in self.workers))
    @rule(pick=picks, outcomes=outcomes, again=st.booleans())
    def settle(self, pick: int, outcomes: list[Any], again: bool) -> None:
        """Several deliveries in one call; with *again*, one that is settled already among them."""
        worker = [worker for worker in self.workers if worker.running][
            pick % sum(bool(w.running) for w in self.workers)
        ]
        batch = list(zip(worker.running, outcomes, strict=False))
        old = [(each, outcomes[0]) for each in worker.settled[-1:] if again]
        call = worker.consumer.settle([settlement(*each) for each in [*old, *batch]])
        if worker.name not in self.model.leases:
            assert isinstance(self.failure(call), LeaseLost)
            return
        self.do(call)
        for delivery, outcome in sorted(batch, key=lambda each: each[1] is not COMPLETED):
            self.model.settle(delivery.job_id, outcome)
            worker.running.remove(delivery)
            worker.settled.append(delivery)

    @precondition(lambda self: any(worker.settled for worker in self.workers))
    @rule(pick=picks, outcome=st.sampled_from(OUTCOMES))
    def settle_again(self, pick: int, outcome: Any) -> None:
        """What is settled stays settled, whatever is said of it later."""
        settled = [(worker, each) for worker in self.workers for each in worker.settled]
        worker, delivery = settled[pick % len(settled)]
        failure = self.failure(worker.consumer.settle([settlement(delivery, outcome)]))
        assert (failure is None) == (worker.name in self.model.leases)

    @rule(pick=picks)
    def adopt(self, pick: int) -> None:
        worker = self.worker(pick)
        mine = self.do(worker.consumer.adopt())
        assert sorted(each.job_id for each in mine) == sorted(job.id for job in self.model.held_by(worker.name))

    @rule(pick=picks)
    def beat(self, pick: int) -> None:
        worker = self.worker(pick)
        (beat,) = worker.heartbeat.beat({})
        assert beat.alive == (worker.name in self.model.leases)
        if beat.alive:
            self.model.leases[worker.name] = True
            assert beat.paused == self.model.paused
            assert set(beat.cancel) == {job.id for job in self.model.live.values() if job.asked_to_stop}

    @rule(pick=picks)
    def lose_lease(self, pick: int) -> None:
        worker = self.worker(pick)
        if worker.name in self.model.leases:
            self.do(self.raw.zadd(self.keys.workers, {worker.name: 1}, xx=True))
            self.model.leases[worker.name] = False

    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        """Perhaps with jobs in hand: those are a reaper's business."""
        worker = self.worker(pick)
        self.do(worker.consumer.leave())
        self.model.leases.pop(worker.name, None)
        self._somebody_is_alive()

    @rule()
    def reap(self) -> None:
        self.do(self._no_amnesty())
        assert self.do(self.broker.reap(Q)) == self.model.reap()
        self._somebody_is_alive()

    def _somebody_is_alive(self) -> None:
        if not self.model.leases:
            self.join()

    async def _no_amnesty(self) -> None:
        """As if a reaper had been here a moment ago."""
        seconds, micros = await self.raw.time()
        now_ms = seconds * 1000 + micros // 1000
        await self.raw.hset(self.keys.meta, mapping={"janitor_ms": now_ms, "beat_ms": now_ms, "amnesty_ms": 0})

    # operators

    @precondition(lambda self: self.model.delayed())
    @rule(pick=picks, count=st.integers(1, 3))
    def promote(self, pick: int, count: int) -> None:
        waiting = [job.id for job in self.model.delayed()]
        due = [*waiting[pick % len(waiting) :], *waiting][: min(count, len(waiting))]
        self.do(self.raw.zadd(self.keys.delayed, {job_id: n for n, job_id in enumerate(due, start=1)}, xx=True))
        next_due = self.do(self.broker.promote(Q))
        self.model.promote(due)
        assert (next_due is None) == (not self.model.delayed())

    @rule(job_id=ids)
    def hasten(self, job_id: str) -> None:
        assert self.do(self.broker.hasten(Q, job_id)) == self.model.hasten(job_id)

    @precondition(lambda self: self.model.delayed())
    @rule(pick=picks)
    def hasten_delayed(self, pick: int) -> None:
        delayed = self.model.delayed()
        self.hasten(delayed[pick % len(delayed)].id)

    @rule(job_id=ids)
    def cancel(self, job_id: str) -> None:
        assert self.do(self.broker.cancel(Q, job_id)) == self.model.cancel(job_id)

    @precondition(lambda self: any(job.holder for job in self.model.live.values()))
    @rule(pick=picks)
    def cancel_running(self, pick: int) -> None:
        running = [job.id for job in self.model.live.values() if job.holder]
        self.cancel(running[pick % len(running)])

    @rule(priorities=st.lists(st.sampled_from(PRIORITIES), unique=True, max_size=2), delayed=st.booleans())
    def purge(self, priorities: list[Any], delayed: bool) -> None:
        gone = self.do(self.broker.purge(Q, priorities, delayed=delayed))
        assert gone == self.model.purge(priorities, delayed=delayed)

    @rule()
    def pause(self) -> None:
        self.do(self.broker.pause(Q))
        self.model.paused = True

    @rule(job_id=ids)
    def requeue(self, job_id: str) -> None:
        letter = self.model.newest_letter(job_id)
        if letter is None and job_id not in self.model.live:
            assert isinstance(self.failure(self.letters.requeue(job_id)), DeadLetterNotFound)
        elif letter is None:
            assert not self.do(self.letters.requeue(job_id))
        elif not self.model.may_requeue(letter):
            assert isinstance(self.failure(self.letters.requeue(job_id)), InvalidJob)
        else:
            assert self.do(self.letters.requeue(job_id)) == self.model.requeue(letter)

    @precondition(lambda self: self.model.letters)
    @rule(pick=picks)
    def requeue_a_letter(self, pick: int) -> None:
        self.requeue(self.model.letters[pick % len(self.model.letters)].job.id)

    @precondition(lambda self: any(letter.job.unique_key for letter in self.model.letters))
    @rule(pick=picks, drawn=submissions)
    def requeue_beside_a_successor(self, pick: int, drawn: dict[str, Any]) -> None:
        """Another job is asked for with the letter's unique key; if it is queued, the letter has to wait."""
        keyed = [letter.job for letter in self.model.letters if letter.job.unique_key]
        dead = keyed[pick % len(keyed)]
        self.enqueue([{**drawn, "unique_key": dead.unique_key}])
        self.requeue(dead.id)

    @rule(job_id=ids)
    def delete_letter(self, job_id: str) -> None:
        letter = self.model.newest_letter(job_id)
        assert self.do(self.letters.delete(job_id)) == (letter is not None)
        if letter is not None:
            self.model.delete(letter)

    @rule()
    def flush_scripts(self) -> None:
        self.do(self.raw.script_flush())

    @rule(job_id=ids)
    def locate(self, job_id: str) -> None:
        found, job = self.do(self.broker.locate(Q, job_id)), self.model.live.get(job_id)
        assert (found is None) == (job is None)
        if found is not None and job is not None:
            seen = (found.state, found.attempt, found.worker, found.last_error, found.cancel_requested)
            assert seen == (job.state, job.attempt, job.holder, job.last_error, job.asked_to_stop)
            assert (found.job.priority, found.job.unique_key) == (job.priority, job.unique_key)

    @rule(limit=st.integers(1, 5))
    def jobs(self, limit: int) -> None:
        queued, running, delayed = [self.do(self._shown(place, limit)) for place in Place]
        assert [each.job_id for each in queued] == [job.id for job in self.model.ready()]
        for shown, expected in (
            (running, [job for job in self.model.live.values() if job.holder]),
            (delayed, self.model.delayed()),
        ):
            assert len(shown) == len(expected)
            assert {(each.job_id, each.state, each.attempt, each.worker, each.cancel_requested) for each in shown} == {
                (job.id, job.state, job.attempt, job.holder, job.asked_to_stop) for job in expected
            }

    async def _shown(self, place: Place, limit: int) -> list[Found]:
        shown, after = await self.broker.jobs(Q, place, limit=limit)
        while after is not None:
            page, after = await self.broker.jobs(Q, place, limit=limit, after=after)
            assert page
            shown += page
        return shown

    # what must be so after every step

    @invariant()
    def counters_agree(self) -> None:
        stats, model = self.do(self.broker.stats(Q)), self.model
        ready = [job.priority for job in model.ready()]
        assert stats.drift == 0
        assert stats.ready == {priority: ready.count(priority) for priority in PRIORITIES}
        assert stats.running == sum(job.state is JobState.RUNNING for job in model.live.values())
        assert (stats.delayed, stats.live, stats.dead) == (len(model.delayed()), len(model.live), len(model.letters))
        assert (stats.paused, stats.workers) == (model.paused, sum(model.leases.values()))
        counters = ("enqueued", "completed", "died", "cancelled", "expired", "requeued", "purged")
        assert {name: getattr(stats, name) for name in counters} == {name: model.count[name] for name in counters}

    @invariant()
    def contents_agree(self) -> None:
        keys, model = self.keys, self.model
        pipe = self.raw.pipeline(transaction=False)
        pipe.hkeys(keys.roster).hkeys(keys.jobs).zrange(keys.delayed, 0, -1).smembers(keys.cancel).hgetall(keys.unique)
        for stream in keys.streams:
            pipe.xrange(stream)
        roster, indexed, delayed, asked, locks, *streams = self.do(pipe.execute())
        assert {*model.leases} <= {*roster} <= {*model.leases, *(job.holder for job in model.live.values())}
        assert set(indexed) == set(model.live)
        assert set(delayed) == {job.id for job in model.delayed()}
        assert asked == {job.id for job in model.live.values() if job.asked_to_stop}
        assert locks == {job.unique_key: job.id for job in model.live.values() if job.unique_key}
        there = sorted((job for job in model.live.values() if not job.delayed), key=lambda job: job.turn)
        for priority, entries in zip(PRIORITIES, streams, strict=True):
            assert [fields["i"] for _, fields in entries] == [job.id for job in there if job.priority is priority]
        stored, _ = self.do(self.letters.list(LetterFilter(queue=Q), limit=1_000))
        assert [letter_facts(each.letter) for each in reversed(stored)] == [
            letter_facts(each) for each in model.letters
        ]

    def teardown(self) -> None:
        try:
            if self.workers:
                self.reap()
                self.counters_agree()
                assert self.do(check_queue(self.broker, Q)) == []
        finally:
            self.do(self._close())
            self.loop.close()

    async def _close(self) -> None:
        for worker in self.workers:
            await worker.close()
        await self.broker.close()
        await self.raw.aclose()

    def failure(self, call: Awaitable[object]) -> BaseException | None:
        try:
            self.do(call)
        except Exception as error:
            return error
        return None
