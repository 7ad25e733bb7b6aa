"""One incarnation of a worker: one consumer, from its registration to its end.

Four loops, owned by one task group: fetch, settle, watch, and the lease's thread. The story of a job
here: `_fetch` takes it, `_start` gives it a slot, `_run` runs it, `_finish` frees the slot and hands
the outcome to the settler.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from jobqueue import crash
from jobqueue.broker.base import Beat, Consumer, Delivery, Settlement
from jobqueue.clock import Clock
from jobqueue.errors import BrokerError, BrokerUnavailable, LeaseLost
from jobqueue.middleware.metrics import Metrics
from jobqueue.outcome import COMPLETED, RELEASED, Completed, Crashed, Dead, Failure, Outcome, Retrying, Snoozed
from jobqueue.worker.buffer import Buffer
from jobqueue.worker.execution import Execution, Run, Stop
from jobqueue.worker.lease import LeaseKeeper
from jobqueue.worker.settler import Settler
from jobqueue.worker.timing import record_times

_log = structlog.get_logger("jobqueue.worker")

# Read ahead what ends within this long at the present rate; what then waits for two ticks is given back.
_READ_AHEAD_S = 0.008
_MOST_READ_AHEAD = 400
_MOST_TAKEN_AT_ONCE = 500
_FEW = 16
_WATCH_S = 0.05
_LOGGED_CHARS = 200
_BURST_LOOK_S = 0.1
_MOST_UNSETTLED = 2_000
_TAKE_STOCK_S = 60.0
_HURRIED_S = 0.5
_PAUSE_AFTER_ERROR_S = 0.2
_LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a pool allows itself."""

    concurrency: int
    lease: timedelta
    shutdown_timeout: timedelta
    cancel_grace: timedelta
    max_block: timedelta
    max_crashes: int


class Incarnation:
    """A consumer at work. `live` returns when it has been stopped, and raises LeaseLost when it was reaped."""

    def __init__(
        self,
        consumer: Consumer,
        execution: Execution,
        limits: Limits,
        *,
        clock: Clock,
        metrics: Metrics,
        observe: Callable[[Sequence[Settlement]], None] | None,
        burst: bool,
    ) -> None:
        self.consumer = consumer
        self._execution = execution
        self._limits = limits
        self._monotonic = clock.monotonic
        self._loop = asyncio.get_running_loop()
        self._metrics = metrics
        self._observe = observe
        self._burst = burst
        self._settler = Settler(consumer, self._settled)
        self._buffer = Buffer(consumer.queues, max_crashes=limits.max_crashes)
        self._held: set[Delivery] = set()
        self._runs: set[Run] = set()
        self._left_behind: set[asyncio.Task[None]] = set()
        self._free = limits.concurrency
        self._filling = False
        self._alone = False
        self._finished_count = 0
        self._rate, self._rated_at = 0.0, clock.monotonic()
        self._room = asyncio.Event()
        self._room.set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._active = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._paused: frozenset[str] = frozenset()
        self._asked_at: dict[str, float] = {}
        self._reopened = 0
        self._stock_due = clock.monotonic() + _TAKE_STOCK_S
        self._oriented = asyncio.Event()
        self._lease = LeaseKeeper(
            consumer.heartbeat(),
            lease_s=limits.lease.total_seconds(),
            max_block_s=limits.max_block.total_seconds(),
            clock=clock,
            awake=self._awake,
            progress=self._progress,
            heard=self._heard,
            lost=self._lose,
        )

    @property
    def running(self) -> int:
        """Handlers running now."""
        return len(self._runs)

    def stop(self) -> None:
        """Take no more jobs, finish those that run, and end."""
        self._stopping.set()

    def hurry(self) -> None:
        """Do not wait for running jobs any longer: give them back."""
        self._hurried.set()

    async def live(self) -> None:
        """Work until stopped.

        Raises:
            LeaseLost: reaped; every handler has been cancelled and nothing more will be settled.
        """
        self._lease.start()
        try:
            async with asyncio.TaskGroup() as loops:
                fetching = loops.create_task(self._fetch())
                others = [loops.create_task(loop) for loop in (self._settler.run(), self._watch(), self._watch_lease())]
                await self._stopping.wait()
                await _cancel([fetching])
                await self._wind_up()
                await _cancel(others)
        except* LeaseLost as lost:
            raise LeaseLost(str(lost.exceptions[0])) from lost
        finally:
            await self._end_runs()
            await self._lease.stop()
            await self.consumer.close()

    # Fetching

    async def _fetch(self) -> None:
        # Not before the first beat has told which queues are paused.
        await self._oriented.wait()
        pause = _PAUSE_AFTER_ERROR_S
        while not self._stopping.is_set():
            try:
                if self._is_stock_due():
                    await self._take_stock()
                await self._fetch_once()
                pause = _PAUSE_AFTER_ERROR_S
            except LeaseLost:
                raise
            except BrokerError as error:
                # What the lost reply would have brought is ours already: it is asked for again.
                self._stock_due = 0.0
                _log.warning("fetch.failed", error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _fetch_once(self) -> None:
        await self._room.wait()
        if self._settler.unsettled > _MOST_UNSETTLED:
            # Nothing can be settled at present: what would be run now might have to be run again.
            await self._settler.drained()
            return
        if self._buffer.suspects:
            await self._run_alone()
            return
        ahead = self._read_ahead()
        want = min(self._free + ahead - len(self._buffer.waiting), _MOST_TAKEN_AT_ONCE)
        if want < 1 or (self._free == 0 and len(self._buffer.waiting) * 2 >= ahead):
            self._room.clear()
            return
        self._settler.flush()
        slot_free = self._free > 0
        taken = await self.consumer.fetch(want, skip=self._paused, wait=slot_free and not self._burst)
        if taken:
            crash.point("after_fetch")
            surplus = _surplus(taken, want)
            await self._hear_of_pauses(taken)
            self._admit(taken[: len(taken) - len(surplus)], ahead)
            if surplus:
                self._held.update(surplus)
                self._release(surplus)
            if len(taken) < _FEW:
                # Few jobs start sooner than the next read is sent; of many, the next are on their way meanwhile.
                await asyncio.sleep(0)
            return
        if slot_free and self._burst:
            await self._end_burst()
        elif self._free == 0:
            # Nothing to read ahead: the next slot that falls free asks again.
            self._room.clear()

    async def _hear_of_pauses(self, taken: Sequence[Delivery]) -> None:
        """No job is started on news older than a beat of a worker at work: one that sleeps beats less often."""
        if not self._lease.is_old():
            return
        now = self._monotonic()
        old = {each.queue for each in taken if self._lease.is_old(self._asked_at.get(each.queue))}
        if old:
            paused = await self.consumer.paused(old)
            self._paused = self._paused - old | paused  # a beat may have told of others meanwhile
            self._asked_at.update(dict.fromkeys(old, now))

    def _read_ahead(self) -> int:
        """How many jobs will end within a few milliseconds, at the present rate."""
        now = self._monotonic()
        elapsed = now - self._rated_at
        if elapsed > _READ_AHEAD_S / 2:
            self._rate = (self._rate + self._finished_count / elapsed) / 2
            self._rated_at, self._finished_count = now, 0
        return min(int(self._rate * _READ_AHEAD_S), _MOST_READ_AHEAD)

    def _admit(self, deliveries: Sequence[Delivery], ahead: int) -> None:
        if not deliveries:
            return
        self._held.update(deliveries)
        self._buffer.admit(deliveries)
        if self._paused:
            self._release(self._buffer.take_paused(self._paused))
        self._fill()
        if len(self._buffer.waiting) > ahead:
            # COUNT counts per stream: of lower ones came what cannot start soon, and would run before
            # what still waits in the higher ones.
            self._release(self._buffer.take_beyond(ahead))

    def _is_stock_due(self) -> bool:
        return self.consumer.reopened != self._reopened or self._monotonic() >= self._stock_due

    async def _take_stock(self) -> None:
        """Run what the broker says is ours, and we know nothing of: a reply was lost, or our settlement forgotten.

        A server that took the place of the one that confirmed it may not have it; nobody else would find the job.
        """
        self._reopened = self.consumer.reopened  # asking may connect again: then it is asked once more
        found = await self._unheard_of()
        await self._hear_of_pauses(found)
        self._admit(found, 0)
        self._stock_due = self._monotonic() + _TAKE_STOCK_S

    async def _unheard_of(self) -> list[Delivery]:
        # What is known before, too: it may be settled while the answer comes in, page by page.
        known = {each.receipt for each in self._held}
        return await self.consumer.adopt(known)

    async def _end_burst(self) -> None:
        if self._runs or len(self._buffer.waiting) or self._buffer.suspects:
            # What runs may enqueue more, and wait for it: go on looking.
            with suppress(TimeoutError):
                async with asyncio.timeout(_BURST_LOOK_S):
                    await self._quiet.wait()
            return
        await self._settler.drained()
        if not self._is_stock_due():  # settling may have connected again
            self.stop()

    async def _run_alone(self) -> None:
        """Run a job that may kill this process with nothing beside it, and nothing else of ours behind it.

        All the rest is given back first, other suspects too: whatever this worker still held would be blamed.
        """
        self._alone = True
        try:
            self._release(self._buffer.take_all_but_one())
            await self._quiet.wait()
            await self._settler.drained()
            suspect = self._buffer.suspects.popleft()
            _log.warning("job.run_alone", job_id=suspect.job_id, crashes=suspect.crashes)
            self._start(suspect, self._monotonic(), self.consumer.now_ms())
            await self._quiet.wait()
        finally:
            self._alone = False
            self._fill()

    # Running

    def _fill(self) -> None:
        """Give every free slot a job. Slots that fall free in one turn of the loop are filled together."""
        self._filling = False
        waiting = self._buffer.waiting
        if waiting and not self._alone and not self._stopping.is_set():
            now, now_ms = self._monotonic(), self.consumer.now_ms()
            while self._free > 0 and waiting:
                self._start(waiting.popleft(), now, now_ms)
        if not waiting:
            self._settler.flush()
            self._room.set()
        elif len(waiting) * 2 < self._rate * _READ_AHEAD_S:
            self._room.set()

    def _start(self, delivery: Delivery, now: float, now_ms: int) -> None:
        run = self._execution.prepare(delivery, now_ms)
        if isinstance(run, tuple):
            type_name, outcome = run
            self._settler.add(Settlement(delivery, outcome, type_name, now_ms))
            return
        run.started_ms = now_ms
        run.started = now
        run.deadline = now + run.timeout_s
        self._free -= 1
        if not self._runs:
            self._quiet.clear()
            self._active.set()
        self._runs.add(run)
        run.work = self._loop.create_task(self._run(run))

    async def _run(self, run: Run) -> None:
        if self._lease.gone:
            return  # it is somebody else's by now; `_end_runs` puts it away
        outcome: Outcome = RELEASED
        try:
            crash.point("before_run")
            outcome = await self._execution.attempt(run)
            crash.point("after_run")
        finally:
            if not run.settled:
                self._finish(run, outcome)

    def _finish(self, run: Run, outcome: Outcome) -> None:
        """Free the slot for the next job, and hand the outcome on."""
        run.settled = True
        self._runs.discard(run)
        self._free += 1
        self._finished_count += 1
        if run.stop is not Stop.FENCED:
            ms = (self._monotonic() - run.started) * 1000
            envelope = run.envelope
            self._settler.add(
                Settlement(
                    run.delivery,
                    outcome,
                    envelope.type,
                    run.started_ms,
                    ms,
                    envelope.result_ttl_ms,
                    envelope.payload,
                )
            )
        if not self._filling:
            self._filling = True
            self._loop.call_soon(self._fill)
        if not self._runs:
            self._quiet.set()

    # Settling

    def _release(self, deliveries: Iterable[Delivery]) -> None:
        """Give back what has not been started."""
        now_ms = self.consumer.now_ms()
        for delivery in deliveries:
            self._settler.add(Settlement(delivery, RELEASED, "", now_ms))
        self._settler.flush()

    def _settled(self, batch: Sequence[Settlement]) -> None:
        self._held.difference_update([settlement.delivery for settlement in batch])
        sums: dict[tuple[str, str, type[Outcome]], tuple[int, float]] = {}
        for settlement in batch:
            outcome = settlement.outcome
            key = (settlement.delivery.queue, settlement.type, outcome.__class__)
            n, ms = sums.get(key, (0, 0.0))
            sums[key] = (n + 1, ms + settlement.duration_ms)
            if outcome is not COMPLETED and not isinstance(outcome, Completed):
                _log_outcome(settlement)
        for (queue, type_name, kind), (n, ms) in sums.items():
            self._metrics.count(queue, type_name, kind.__name__.lower(), ms / 1000, n)
        if self._metrics.timed:
            record_times(self._metrics, batch)
        if self._observe is not None:
            self._observe(batch)

    # Watching

    async def _watch(self) -> None:
        """Deadlines, handlers that ignore their cancellation, and jobs that wait too long for a slot."""
        while True:
            if not self._runs:
                self._active.clear()
                await self._active.wait()
            await asyncio.sleep(_WATCH_S)
            now = self._monotonic()
            if self._lease.overdue(now):
                self._lose("the broker did not confirm it in time")
            grace = self._limits.cancel_grace.total_seconds()
            for run in list(self._runs):
                if run.stop is None and now >= run.deadline:
                    run.ask_to_stop(Stop.TIMEOUT, now)
                elif run.stop is not None and (_ended(run) or now >= run.stop_at + grace):
                    self._conclude(run)
            self._release_stuck()
            if self._is_stock_due():
                # Also with every slot taken: what is found then is given back, for others to run.
                self._room.set()

    def _release_stuck(self) -> None:
        """Give back what was read ahead and has waited for two ticks: the pace has dropped, or others overtake it."""
        stuck = self._buffer.take_stuck()
        if stuck:
            self._rate = 0.0
            self._release(stuck)

    def _conclude(self, run: Run) -> None:
        """End a run that was asked to stop: one cancelled before it began, or one that ignores it."""
        if not _ended(run):
            self._leave_behind(run)
        self._finish(run, self._execution.stopped(run))

    def _leave_behind(self, run: Run) -> None:
        """A handler that ignores its cancellation keeps its task or thread, but not its slot, nor its say."""
        self._metrics.leaked_handlers += 1
        _log.error("handler.left_behind", job_id=run.delivery.job_id, type=run.envelope.type, stop=str(run.stop))
        if run.work is not None:
            run.work.cancel()  # a last request: it may have swallowed only the first
            self._left_behind.add(run.work)
            run.work.add_done_callback(self._left_behind.discard)

    async def _watch_lease(self) -> None:
        raise LeaseLost(f"{self.consumer.name} lost its lease: {await self._lost}")

    def _heard(self, beats: list[Beat]) -> None:
        self._paused = frozenset(beat.queue for beat in beats if beat.paused)
        self._oriented.set()
        asked = {job_id for beat in beats for job_id in beat.cancel}
        if asked:
            now = self._monotonic()
            for run in self._runs:
                if run.delivery.job_id in asked:
                    run.ask_to_stop(Stop.CANCEL, now)

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    def _awake(self) -> bool:
        """Whether something could be cancelled, or a pause may end. Called from the lease's thread."""
        return bool(self._runs or self._paused)

    def _progress(self) -> dict[str, dict[str, bytes]]:
        """What handlers have published since the last beat. Called from the lease's thread."""
        published: dict[str, dict[str, bytes]] = {}
        for run in tuple(self._runs):
            progress = run.context.take_progress() if run.context is not None else None
            if progress is not None:
                published.setdefault(run.delivery.queue, {})[run.delivery.job_id] = progress
        return published

    # Ending

    async def _wind_up(self) -> None:
        """Give back what has not started, let running jobs finish, give back the rest, deregister."""
        crash.point("before_release")
        self._release(self._buffer.take_all())
        if self._runs:
            _log.info("worker.draining", running=len(self._runs))
        await self._unless_hurried(self._drain(), self._limits.shutdown_timeout.total_seconds())
        await self._stop_runs(Stop.SHUTDOWN, grace_s=min(1.0, self._limits.cancel_grace.total_seconds()))
        # With the broker away this goes on until the lease is lost, or somebody hurries.
        await self._unless_hurried(self._leave(), None)

    async def _drain(self) -> None:
        """Give back what a fetch that was cut off has taken: it need not wait for what runs. Let that finish."""
        with suppress(BrokerError):
            unheard_of = await self._unheard_of()
            self._held.update(unheard_of)
            self._release(unheard_of)
        await self._quiet.wait()

    async def _leave(self) -> None:
        pause = _PAUSE_AFTER_ERROR_S
        while True:
            try:
                # A fetch that was cut off may have taken something after all.
                self._release(await self._unheard_of())
                await self._settler.drained()
                crash.point("before_leave")
                await self.consumer.leave()
                return
            except LeaseLost:
                raise
            except BrokerUnavailable as error:
                _log.warning("leave.failed", error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            except BrokerError as error:
                _log.warning("worker.left_without_word", error=str(error))
                return

    async def _unless_hurried(self, what: Coroutine[Any, Any, object], seconds: float | None) -> None:
        """Wait for *what*, at most *seconds*; a little longer only, once hurried."""
        doing, hurried = asyncio.create_task(what), asyncio.create_task(self._hurried.wait())
        try:
            await asyncio.wait([doing, hurried], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if hurried.done() and not doing.done():
                await asyncio.wait([doing], timeout=_HURRIED_S)
            if doing.done():
                doing.result()
        finally:
            await _cancel([doing, hurried])

    async def _stop_runs(self, why: Stop, *, grace_s: float) -> None:
        now = self._monotonic()
        for run in list(self._runs):
            run.ask_to_stop(why, now)
        works = [run.work for run in self._runs if run.work is not None]
        if works:
            await asyncio.wait(works, timeout=grace_s)
        for run in list(self._runs):
            self._conclude(run)

    async def _end_runs(self) -> None:
        """After a lost lease, or an error: nothing goes on and nothing is settled."""
        self._buffer.take_all()
        for run in self._runs:
            run.stop = None if run.stop is None else Stop.FENCED
        await self._stop_runs(Stop.FENCED, grace_s=min(1.0, self._limits.cancel_grace.total_seconds()))


def _surplus(taken: Sequence[Delivery], want: int) -> Sequence[Delivery]:
    """What lower streams gave below one that gave all that was asked of it, and may have more.

    COUNT counts per stream. Slots that fell free since the read was sent would have room for it.
    """
    for n in range(len(taken) - want):
        first, last = taken[n], taken[n + want - 1]
        if (first.queue, first.rank) == (last.queue, last.rank):
            return taken[n + want :]
    return ()


def _ended(run: Run) -> bool:
    return run.work is not None and run.work.done()


async def _cancel(tasks: Sequence["asyncio.Task[object]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _log_outcome(settlement: Settlement) -> None:
    delivery, outcome = settlement.delivery, settlement.outcome
    facts = {"job_id": delivery.job_id, "type": settlement.type, "queue": delivery.queue, "attempt": delivery.attempt}
    match outcome:
        case Retrying(delay_ms=delay_ms, failure=failure):
            _log.warning("job.retrying", **facts, delay_ms=delay_ms, error=_in_short(failure))
        case Dead(reason=reason, failure=failure):
            _log.error("job.dead", **facts, reason=reason.value, error=_in_short(failure))
        case Crashed():
            _log.error("job.crashed", **facts)
        case Snoozed(deferral=True, delay_ms=delay_ms, reason=why):
            _log.warning("task.unknown", **facts, times=delivery.deferrals + 1, delay_ms=delay_ms, error=why)
        case _:
            _log.debug("job.settled", **facts, outcome=type(outcome).__name__.lower())


def _in_short(failure: Failure) -> str:
    """An error on one line; the whole of it, with its traceback, is in the history."""
    message = " ".join(failure.message.split())
    return f"{failure.error_class}: {message[:_LOGGED_CHARS]}" if message else failure.error_class
