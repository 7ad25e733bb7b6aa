"""Carrying out outcomes: one `match`, and what is written of a job that has ended."""

from collections.abc import Iterable
from typing import Any

import msgspec

from jobqueue.broker.base import Delivery, Settlement
from jobqueue.broker.entry import OUTCOME_NAMES, failure_json, failure_of, kept_payload
from jobqueue.job import PRIORITIES
from jobqueue.outcome import (
    Cancelled,
    Completed,
    Crashed,
    Dead,
    DeadReason,
    Expired,
    Outcome,
    Released,
    Retrying,
    Snoozed,
)
from jobqueue.record import ENDS, DeadLetter, Execution
from jobqueue.testing.memory.store import MemoryQueue, Store


def settle(store: Store, queue: MemoryQueue, settlements: Iterable[Settlement], worker: str) -> None:
    """Carry out the outcomes of deliveries that are still *worker*'s."""
    executions = []
    for settlement in settlements:
        taken = settlement.delivery
        current = queue.held.get(worker, {}).get(taken.job_id)
        if current is None or current.receipt != taken.receipt:
            continue
        outcome = _settle(store, queue, settlement, worker)
        if settlement.type or not isinstance(outcome, Released):
            executions.append(execution_of(store, settlement, outcome, worker))
    if executions and store.history:
        queue.journal[store.entry_id().decode()] = executions


def _settle(store: Store, queue: MemoryQueue, settlement: Settlement, worker: str) -> Outcome:
    taken, outcome, now = settlement.delivery, settlement.outcome, store.clock.now_ms()
    del queue.held[worker][taken.job_id], queue.taken_ms[taken.job_id]
    stop = taken.job_id in queue.asked
    queue.asked.discard(taken.job_id)
    queue.progress.pop(taken.job_id, None)
    if stop and not isinstance(outcome, Completed | Dead | Expired):
        outcome = Cancelled()
    match outcome:
        case Retrying(delay_ms=delay_ms, failure=failure):
            again = _again(taken, attempt=taken.attempt + 1, last_error=failure.error_class)
            store.put(queue, again, due_ms=now + delay_ms)
        case Snoozed(delay_ms=delay_ms, deferral=deferral):
            store.put(queue, _again(taken, deferrals=taken.deferrals + deferral), due_ms=now + delay_ms)
        case Released():
            store.put(queue, taken, due_ms=now)
        case Crashed(final=False):
            counts = {"attempt": taken.attempt + 1, "crashes": taken.crashes + 1}
            store.put(queue, _again(taken, last_error="WorkerDied", **counts), due_ms=now)
        case _:
            _end(store, queue, settlement, outcome, worker)
    return outcome


def _again(taken: Delivery, **changes: Any) -> Delivery:
    return msgspec.structs.replace(taken, **changes)


def _end(store: Store, queue: MemoryQueue, settlement: Settlement, outcome: Outcome, worker: str) -> None:
    taken = settlement.delivery
    queue.forget(taken)
    ended = "dead" if isinstance(outcome, Dead | Crashed) else OUTCOME_NAMES[type(outcome)]
    queue.counted[ended] += 1
    if ended == "dead":
        letter = _letter(taken, outcome, store.entry_id(), worker)
        queue.dead[letter.entry_id] = letter
    if settlement.result_ttl_ms:
        until = store.clock.now_ms() + settlement.result_ttl_ms
        queue.results[taken.job_id] = (until, _result(ended, outcome))


def _letter(taken: Delivery, outcome: Outcome, entry_id: bytes, worker: str) -> DeadLetter:
    assert isinstance(outcome, Dead | Crashed)
    return DeadLetter(
        entry_id=entry_id.decode(),
        queue=taken.queue,
        priority=PRIORITIES[taken.rank],
        job_id=taken.job_id,
        body=taken.body,
        reason=outcome.reason.value if isinstance(outcome, Dead) else DeadReason.CRASHED.value,
        error_class=outcome.failure.error_class,
        error_message=outcome.failure.message,
        traceback=outcome.failure.traceback,
        attempts=taken.attempt,
        crashes=taken.crashes + isinstance(outcome, Crashed),
        generation=taken.generation,
        unique_key=taken.unique_key,
        worker=worker,
        died_ms=int(entry_id.partition(b"-")[0]),
    )


def _result(ended: str, outcome: Outcome) -> bytes:
    value = outcome.result_json if isinstance(outcome, Completed) else None
    failure = getattr(outcome, "failure", None)
    error = failure_json(failure) if failure is not None else None
    return b'{"outcome":"%b","result":%b,"error":%b}' % (ended.encode(), value or b"null", error or b"null")


def execution_of(store: Store, settlement: Settlement, outcome: Outcome, worker: str) -> Execution:
    """The record of one attempt, as history keeps it."""
    taken = settlement.delivery
    name = "dead" if isinstance(outcome, Crashed) and outcome.final else OUTCOME_NAMES[type(outcome)]
    failure = failure_of(settlement) if outcome is settlement.outcome else None
    return Execution(
        job_id=taken.job_id,
        queue=taken.queue,
        type=settlement.type,
        priority=PRIORITIES[taken.rank],
        generation=taken.generation,
        attempt=taken.attempt,
        outcome=name,
        worker=worker,
        queued_ms=taken.queued_ms,
        started_ms=settlement.started_ms,
        duration_ms=round(settlement.duration_ms, 3),
        error_class=failure.error_class if failure else None,
        error_message=failure.message if failure else None,
        traceback=failure.traceback if failure else None,
        payload=kept_payload(settlement, store.keep_payload) if name in ENDS else None,
    )
